"""The family of patches: settings and sides that are refused, and the map about its mean."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from jaxqc.anomaly.detectors.base import BackboneConfig
from jaxqc.anomaly.detectors.patches import MEMBERS, AnoVit, CentredNetwork, InTra, PatchesConfig, VtAdl
from jaxqc.anomaly.detectors.reconstruction import LossWeights
from jaxqc.anomaly.features import load_backbone
from jaxqc.errors import UserError

PIXELS = BackboneConfig("pixels", layers=(1,))


@pytest.mark.misuse
@pytest.mark.parametrize(
    ("config", "said"),
    [
        (PatchesConfig(dim=20), "multiple of heads"),
        (PatchesConfig(dim=24, heads=8), "multiple of 16"),
        (AnoVit(side=12), "power of 2"),
        (InTra(near=1), "all of its window"),
        (VtAdl(side=32), "64 pixels"),
        (InTra(nll=1.0), "capsule alone"),
        (InTra(dropout=1.0), "share"),
        (InTra(loss=LossWeights()), "nothing compares"),
        (InTra(loss=LossWeights(l2=1.0, kl=1.0)), "no.* such a term"),
        (AnoVit(loss=LossWeights(l2=1.0, entropy=1.0)), "loss.entropy=1.0: no.* such a term"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(config, said):
    with pytest.raises(UserError, match=said):
        config.check("recipe")


@pytest.mark.misuse
def test_sides_that_a_network_does_not_take_are_refused():
    pixels = load_backbone(PIXELS)
    for config, size, said in ((InTra(), 96, "112 at least"), (AnoVit(), 100, "multiple of 16"), (VtAdl(), 256, "512")):
        config.check("recipe")
        with pytest.raises(UserError, match=said):
            config.on(PIXELS).method(pixels, size)
    with pytest.raises(UserError, match=r"--backbone\.name pixels"):
        InTra().on(BackboneConfig("filters", layers=(1,))).method(pixels, 128)
    assert set(MEMBERS) == {"intra", "anovit", "vt_adl"}


@pytest.mark.slow
def test_a_map_is_the_squared_difference_from_the_mean_of_good_images(rng):
    config = InTra(side=4, dim=8, heads=2, layers=1, hidden=8, near=2, map="l2", loss=LossWeights(l2=1.0))
    detector = config.on(PIXELS)
    x = rng.uniform(size=(3, 8, 8, 3)).astype(np.float32)
    method = detector.method(load_backbone(PIXELS), 8)
    params = jax.jit(method.init)(jax.random.key(0))["params"]
    state = detector.trained({"params": params})
    grids = jax.jit(detector.grids)(state, x)
    rebuilt = np.asarray(jax.jit(detector.rebuilt)(state, x))
    np.testing.assert_allclose(grids[0], np.square(rebuilt - x).mean(-1), rtol=1e-4, atol=1e-7)
    settled = detector.placed(state, (np.mean(grids[0], 0),))
    assert isinstance(settled, CentredNetwork)
    maps, scores = jax.jit(lambda state, x: detector.score(state, x, (8, 8)))(settled, x)
    expected = np.square(grids[0] - np.mean(grids[0], 0))
    np.testing.assert_allclose(maps, expected, rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(scores, expected.max((1, 2)), rtol=1e-4)
    assert replace(config, centred=False).on(PIXELS).placed is None
