"""GEOM and GOAD: copies and Dirichlet beside SciPy, the triplet beside NumPy, a step and what a fit keeps."""

import jax
import numpy as np
import pytest
from scipy.ndimage import shift
from scipy.optimize import minimize
from scipy.special import log_softmax
from scipy.stats import dirichlet

from jaxqc.anomaly.detectors import Geom, Goad
from jaxqc.anomaly.detectors.transformations import Transforming
from jaxqc.anomaly.one_class.transforms import Transforms, apart, likelihoods, network, triplet, unlikely
from jaxqc.anomaly.ops.dirichlet import fitted_dirichlet
from jaxqc.anomaly.ops.transforms import transformed
from jaxqc.errors import UserError
from jaxqc.types import AXIS


def test_copies_are_scipys(rng):
    image = rng.normal(size=(8, 8)).astype(np.float32)
    found = np.asarray(transformed(image[None, ..., None], ("flip", "shift", "turn")))[0, ..., 0]
    moves = [(y, x) for y in (0, 2, -2) for x in (0, 2, -2)]
    wanted = [
        np.rot90(shift(flipped, move, order=0, mode="reflect"), k)
        for flipped in (image, image[:, ::-1])
        for move in moves
        for k in range(4)
    ]
    np.testing.assert_array_equal(found, wanted)
    assert len(np.unique(found.reshape(72, -1), axis=0)) == 72


def test_the_dirichlet_distribution_is_the_likeliest(rng):
    shares = rng.dirichlet([0.3, 4.0, 1.5], size=(50, 3))
    logs = np.log(shares).astype(np.float32)
    kept = likelihoods(logs)
    alpha, plain = fitted_dirichlet(np.log(shares).mean(0), shares.mean(0)), np.zeros(50)
    np.testing.assert_allclose(kept["alpha"], alpha, rtol=1e-3)
    for i in range(3):
        cost = lambda log_alpha, own=shares[:, i]: -dirichlet.logpdf(own.T, np.exp(log_alpha)).mean()
        oracle = minimize(cost, np.zeros(3), tol=1e-10)
        np.testing.assert_allclose(alpha[i], np.exp(oracle.x), rtol=1e-3)
        plain += [dirichlet.logpdf(one, alpha[i]) / 3 for one in shares[:, i]]
    found = np.asarray(unlikely(logs, alpha.astype(np.float32)))
    np.testing.assert_allclose(np.ptp(found + plain), 0, atol=1e-4)  # but for a constant
    np.testing.assert_allclose([kept["middle"], kept["unit"]], [found.mean(), found.std()], rtol=1e-2)


def test_the_triplet_is_numpys(rng):
    distances = rng.random((3, 5, 5)).astype(np.float32)
    wanted = [np.mean([max(0.0, d[i, i] + 0.3 - np.delete(d[i], i).min()) for i in range(5)]) for d in distances]
    np.testing.assert_allclose(triplet(distances, 0.3), wanted, rtol=1e-5)


def test_the_loss_is_that_of_its_parts(rng):
    config = Goad(width=1 / 16, copies=Transforming(("turn",), pull=0.1))
    method, images = Transforms(config, 8), rng.integers(0, 256, (3, 8, 8, 3), np.uint8)
    variables = jax.eval_shape(method.init, jax.random.key(0))
    variables = jax.tree.map(lambda x: rng.random(x.shape, np.float32), variables)
    params, stats = variables["params"], {"batch_stats": variables["batch_stats"]}

    @jax.jit
    def both(params, stats, images):
        step = jax.vmap(method.loss, (None, None, 0, None), axis_name=AXIS)
        flat = transformed(images / 127.5 - 1, ("turn",)).reshape(12, 8, 8, 3)
        return step(params, stats, {"image": images[None]}, jax.random.key(0)), network(config).apply(
            {"params": params, **stats}, flat, True, mutable=["batch_stats"]
        )

    (cost, (_, logs)), ((features, logits), _) = both(params, stats, images)
    features, known = np.asarray(features).reshape(3, 4, -1), log_softmax(logits, -1).reshape(3, 4, 4)
    entropy = -known[:, range(4), range(4)].mean()
    pulled = np.mean(triplet(apart(features, features.mean(0)), 1.0))
    np.testing.assert_allclose(cost[0], entropy + 0.1 * pulled + 10 * np.square(features).mean(), rtol=1e-4)
    np.testing.assert_allclose(logs["distinguished"][0], (known.argmax(-1) == range(4)).mean(), rtol=1e-6)


def test_copies_that_cannot_be_are_refused():
    for copies in (Transforming(()), Transforming(("turn", "turn")), Transforming(("blur",))):
        with pytest.raises(UserError, match="give some of flip, shift and turn, each once"):
            Geom(copies=copies).check("detector")
