"""Scores of rebuilt images: relative to what is usual at each place."""

import jax
import numpy as np

from jaxqc.anomaly.detectors.base import BackboneConfig
from jaxqc.anomaly.detectors.reconstruction import Networks, Rebuilder, ReconstructionConfig
from jaxqc.anomaly.detectors.reconstruction_members import ConvAe
from jaxqc.anomaly.reconstruction.detector import Reconstructed
from jaxqc.anomaly.reconstruction.networks import network
from jaxqc.anomaly.reconstruction.score import scored, usual


def test_a_rim_that_is_always_rebuilt_badly_does_not_hide_a_defect():
    config = ConvAe()
    good = np.full((20, 16, 16), 0.1) * np.random.default_rng(0).uniform(0.8, 1.2, (20, 1, 1))
    good[:, 0] *= 30.0
    defective = good.copy()
    defective[:, 8, 8] = 1.0
    place = usual(good.mean(0))
    absolute = [scored(config, grids, None, 16)[1] for grids in (good, defective)]
    relative = [scored(config, grids / place, None, 16)[1] for grids in (good, defective)]
    np.testing.assert_array_equal(*absolute)
    assert float(relative[0].max()) < 1.3 < 7.0 < float(relative[1].min())


def test_a_fit_of_before_scores_as_it_did_and_an_even_usual_difference_changes_nothing(rng):
    config = ReconstructionConfig(widths=(4,), kernels=(5,), strides=(2,))
    detector = Reconstructed(config, BackboneConfig("pixels", layers=(1,)))
    image = rng.uniform(size=(2, 16, 16, 3)).astype(np.float32)
    params = jax.jit(network(config, folded=True).init)(jax.random.key(0), image)["params"]
    states = Networks(params), Rebuilder(params, np.ones((1, 1)))
    old, new = jax.jit(lambda states, x: [detector.score(state, x, 16) for state in states])(states, image)
    for a, b in zip(old, new, strict=True):
        np.testing.assert_array_equal(a, b)
