"""PNI's parts against NumPy: the convolution without its centre, restricted distances, places, the published map."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.anomaly.detectors.base import BackboneConfig
from jaxqc.anomaly.detectors.retrieval import Neighbourhood, Pni
from jaxqc.anomaly.ops.neighbours import nearest_allowed
from jaxqc.anomaly.retrieval.neighbourhood import Around, Guess, Neighbourly, at_places
from jaxqc.errors import UserError
from jaxqc.nn.conv import Norm
from jaxqc.nn.fold import fold_batch_norm


def test_the_network_has_the_published_parameters():
    """But for nine times 2,048 biases before batch norm."""
    cells = jax.ShapeDtypeStruct((1, 9, 9, 1024), jnp.float32)
    params = jax.eval_shape(Guess(2048, 2048, 4, 0.5).init, jax.random.key(0), cells)["params"]
    assert sum(x.size for x in jax.tree.leaves(params)) == 205_578_240 - 9 * 2048
    assert params["around"]["kernel"].size == 167_772_160


def test_the_first_layer_is_a_product_with_the_neighbours_alone(rng):
    x = rng.normal(size=(1, 6, 5, 3)).astype(np.float32)
    kernel = rng.normal(size=(24, 3, 4)).astype(np.float32)
    variables = {"params": {"kernel": kernel, "bias": np.zeros(4, np.float32)}}
    found = Around(4, 2, Norm(folded=True)).apply(variables, x)
    padded = np.pad(x[0], ((2, 2), (2, 2), (0, 0)))
    for row, column in np.ndindex(6, 5):
        box = padded[row : row + 5, column : column + 5].reshape(25, 3)
        neighbours = np.delete(box, 12, 0)  # the cell itself
        wanted = np.maximum(neighbours.ravel() @ kernel.reshape(-1, 4), 0)
        np.testing.assert_allclose(found[0, row, column], wanted, rtol=1e-4, atol=1e-5)


def test_distances_are_to_the_nearest_that_is_allowed(rng):
    queries, bank = rng.normal(size=(7, 4)).astype(np.float32), rng.normal(size=(20, 4)).astype(np.float32)
    kinds, allowed = np.arange(20) % 5, rng.random((7, 5)) < 0.4
    allowed[:, 0] |= ~allowed.any(1)
    apart = np.linalg.norm(queries[:, None] - bank, axis=-1)
    wanted = np.where(allowed[:, kinds], apart, np.inf).min(1)
    np.testing.assert_allclose(nearest_allowed(queries, bank, kinds, allowed), wanted, rtol=1e-5)


def test_places_allow_what_is_seen_about_them(rng):
    numbers = rng.integers(0, 3, (4, 5, 6))
    found = at_places(numbers, 3, 1)
    for y, x in np.ndindex(5, 6):
        box = numbers[:, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
        share = np.array([(box == word).mean() for word in range(3)])
        np.testing.assert_array_equal(found[y, x], share > 1 / 6)


def test_the_map_is_the_published_one_but_for_a_constant(rng):
    """½ Σ over both sources of -ln max γ exp(-γ d) is γ times ours - ln γ; every cell allows a word."""
    config = Pni(width=4, patch=1, reach=1, hidden=5, sigma=0.0, temperature=0.3)
    detector, gamma = Neighbourly(config, BackboneConfig()), 0.99
    layer = rng.normal(size=(2, 3, 4, 4)).astype(np.float32)
    bank, words = rng.normal(size=(12, 4)).astype(np.float32), np.arange(12) % 6
    network = Guess(5, 6, 1, 0.5)
    params = fold_batch_norm(jax.jit(network.init)(jax.random.key(1), layer))["params"]
    places = rng.random((3, 4, 6)) < 0.3
    places[..., 0] = True
    embedded = detector.embed((layer,), None)
    np.testing.assert_allclose(embedded, layer, atol=1e-6)
    score = jax.jit(detector.score, static_argnums=2)
    maps, scores = score(Neighbourhood(params, bank, words, places), embedded, (3, 4))
    logits = jax.jit(Guess(5, 6, 1, 0.5, Norm(folded=True)).apply)({"params": params}, layer) / 0.3
    share = np.exp(logits - np.max(logits, -1, keepdims=True))
    near = share / share.sum(-1, keepdims=True) > 0.5 / 6
    apart = np.linalg.norm(layer[..., None, :] - bank, axis=-1)
    published = sum(
        -np.log(np.where(allowed[..., words], gamma * np.exp(-gamma * apart), 0).max(-1)) / 2
        for allowed in (near, np.broadcast_to(places, near.shape))
    )
    np.testing.assert_allclose(gamma * np.asarray(maps) - np.log(gamma), published, rtol=1e-4)
    np.testing.assert_allclose(scores, np.asarray(maps).max((1, 2)), rtol=1e-6)


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(UserError, match="patch=4 must be an odd number"):
        Pni(patch=4).check("detector")
