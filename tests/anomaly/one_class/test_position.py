"""Patch SVDD: patches drawn, a whole image seen as its patches, the product of nearest neighbours, collapse."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.anomaly.detectors import PatchSvdd
from jaxqc.anomaly.detectors.base import BackboneConfig
from jaxqc.anomaly.detectors.one_class import CutPaste, PatchBanks, Piecing, Placing
from jaxqc.anomaly.features import load_backbone
from jaxqc.anomaly.one_class import position
from jaxqc.anomaly.one_class.collapse import START
from jaxqc.anomaly.one_class.pairs import PLACES, drawn_pair
from jaxqc.errors import UserError
from jaxqc.models.patch_encoder import PatchEncoder
from jaxqc.types import AXIS
from tests.support.drawn import drawn

TINY = PatchSvdd(width=1 / 16, position=Placing(draws=2, bank=8))


@pytest.fixture(scope="module")
def params():
    """Weights of networks of a sixteenth of the width."""
    return drawn(position.Networks(1 / 16), jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32))["params"]


def test_a_whole_image_is_seen_as_its_patches_are(params, rng):
    image = rng.uniform(-0.5, 0.5, (1, 80, 64, 3)).astype(np.float32)
    net, own = PatchEncoder(1 / 16), {"params": params["encoder"]}
    small, large = jax.jit(net.apply)(own, image)
    for side, grid, every in ((32, small, 2), (64, large, 16)):
        each = [
            image[0, i : i + side, j : j + side] for i in range(0, 81 - side, every) for j in range(0, 65 - side, every)
        ]
        of = PatchEncoder.of_small if side == 32 else PatchEncoder.of_large
        found = jax.jit(lambda x, of=of: net.apply(own, x, method=of))(np.stack(each))
        np.testing.assert_allclose(found, grid.reshape(-1, 64), atol=2e-6)


def test_pairs_lie_as_their_number_says():
    keys = jax.random.split(jax.random.key(0), 500)
    draw = jax.jit(jax.vmap(lambda key: drawn_pair(key, 400, 400, 32)))
    places, direction = map(np.asarray, draw(keys))
    inside = ((places[:, 0] >= 32) & (places[:, 0] <= 400 - 64)).all(1)
    assert inside.mean() > 0.6
    beside, close = (places[inside, i] - places[inside, 0] for i in (1, 2))
    np.testing.assert_array_equal(np.sign(beside), np.asarray(PLACES)[direction[inside]])
    away = np.abs(beside).max(1)
    assert (away.min(), away.max()) == (24, 31)
    assert np.abs(close).max() == 1
    assert (np.abs(close).max(1) > 0).all()
    assert len(np.unique(direction)) == 8


def test_the_score_is_the_product_of_nearest_neighbours(params, rng):
    images = rng.uniform(0, 1, (2, 72, 64, 3)).astype(np.float32)
    banks = {name: rng.normal(size=(5, 64)).astype(np.float32) for name in ("small", "large")}
    state = PatchBanks(params["encoder"], **banks)
    maps, scores = jax.jit(lambda x: position.score(TINY, None, state, x, (72, 64)))(images)
    small, large = jax.jit(lambda x: position.features_of(TINY, params["encoder"], x - 0.5, 4))(images)
    expected = np.ones((2, 72, 64))
    for grid, bank, side, every in ((small, banks["small"], 32, 4), (large, banks["large"], 64, 16)):
        apart = np.sqrt(np.square(np.asarray(grid)[..., None, :] - bank).sum(-1)).min(-1)
        total, count = np.zeros((2, 72, 64)), np.zeros((72, 64))
        for i in range(grid.shape[1]):
            for j in range(grid.shape[2]):
                place = slice(every * i, every * i + side), slice(every * j, every * j + side)
                total[(slice(None), *place)] += apart[:, i, j, None, None]
                count[place] += 1
        bare = count == 0  # below the last large patch, whose row goes on
        expected *= np.where(bare, np.nan, total / np.maximum(count, 1))
    seen = np.isfinite(expected[0])
    assert seen.mean() > 0.8
    np.testing.assert_allclose(np.asarray(maps)[:, seen], expected[:, seen], rtol=1e-4)
    np.testing.assert_allclose(scores, np.asarray(maps).max((1, 2)), rtol=1e-6)


@pytest.mark.slow
def test_a_pull_that_is_too_strong_ends_the_run(params, rng):
    """Steps of plain gradient descent: the features become one, and the log line that says so is refused."""
    batch = {"image": rng.integers(0, 256, (2, 64, 64, 3), np.uint8)}
    method = position.Position(replace(TINY, position=replace(TINY.position, pull=1e3)), 64)

    def step(params, state, key, length):
        grads, (state, logs) = jax.grad(method.loss, has_aux=True)(
            params, state, {**batch, "key": jax.random.split(key, 2)}, key
        )
        scale = length / jnp.sqrt(sum(jnp.square(g).sum() for g in jax.tree.leaves(grads)))
        return jax.tree.map(lambda p, g: p - scale * g, params, grads), state, logs

    run = jax.jit(jax.vmap(step, (0, 0, None, None), axis_name=AXIS))
    own = jax.tree.map(lambda x: jnp.asarray(x)[None], (params, {START: {"first": np.zeros((), np.float32)}}))
    lines = []
    for i in range(200):
        *own, logs = run(*own, jax.random.key(i), 0.3 * 0.97**i)
        lines.append({"step": i + 1, **{name: float(x[0]) for name, x in logs.items()}})
    assert lines[0]["deviation_left"] == 1
    method.refuse(lines[0])
    with pytest.raises(UserError, match=r"step 200: the network collapsed: .*; lower detector\.position\.pull"):
        method.refuse(lines[-1])


def test_gaps_between_patches_are_refused():
    PatchSvdd(position=Placing(step=32)).check("recipe")
    with pytest.raises(UserError, match=r"recipe\.position: step=34 must be even, and at most 32"):
        PatchSvdd(position=Placing(step=34)).check("recipe")
    with pytest.raises(UserError, match=r"recipe\.pieces: step=65 leaves gaps between patches of 64 pixels"):
        CutPaste(pieces=Piecing(step=65)).check("recipe")


def test_images_smaller_than_a_patch_are_refused():
    pixels = BackboneConfig("pixels", layers=(1,))
    with pytest.raises(UserError, match=r"data\.size=48: patches are of 64 pixels"):
        TINY.on(pixels).method(load_backbone(pixels), 48)
    with pytest.raises(UserError, match=r"backbone\.name=resnet18: this detector sees the image itself"):
        TINY.on(BackboneConfig("resnet18")).method(load_backbone(pixels), 64)
