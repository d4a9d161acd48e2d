"""Codes that go through a memory or are drawn, and the maps that are made of the latter."""

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.anomaly.detectors.base import BackboneConfig
from jaxqc.anomaly.detectors.reconstruction_codes import VaeAttention, VaeGmm, VaeProjection
from jaxqc.anomaly.detectors.reconstruction_parts import DescentConfig
from jaxqc.anomaly.detectors.reconstruction_players import AnoGan
from jaxqc.anomaly.features import load_backbone
from jaxqc.anomaly.reconstruction.attention import attention
from jaxqc.anomaly.reconstruction.density import improbable
from jaxqc.anomaly.reconstruction.detector import Reconstructed
from jaxqc.anomaly.reconstruction.networks import network
from jaxqc.anomaly.reconstruction.objective import Rebuilding
from jaxqc.anomaly.reconstruction.search import projected
from jaxqc.data.dataset import ArrayDataset
from jaxqc.errors import UserError
from jaxqc.export.onnx import convert
from jaxqc.graph import Graph
from jaxqc.models.autoencoder import Chain, ChainSpec
from jaxqc.models.memory import Memory
from tests.support.drawn import drawn


def test_a_memory_gives_what_its_definition_gives(rng):
    slots, codes = rng.normal(size=(5, 3)), rng.normal(size=(2, 2, 2, 3))
    codes[0, 0, 0] = 0  # equal weights, all below the least one
    mixed, out = jax.jit(lambda z: Memory(5, 0.3).apply({"params": {"slots": jnp.float32(slots)}}, z))(codes)
    wanted, entropies, used = np.zeros(codes.shape), np.zeros(2), set()
    for place in np.ndindex(2, 2, 2):
        weights = np.exp(slots @ codes[place])
        weights /= weights.sum()
        kept = np.where(weights > 0.3, weights, 0)
        if not kept.any():
            kept = np.where(weights == weights.max(), weights, 0)
        kept /= kept.sum()
        wanted[place] = kept @ slots
        entropies[place[0]] -= sum(w * np.log(w) for w in kept if w) / 4
        used |= set(np.flatnonzero(kept))
    np.testing.assert_allclose(mixed, wanted, atol=1e-5)
    np.testing.assert_allclose(out["entropy"], entropies, atol=1e-5)
    assert out["used"] == len(used)


def test_a_memory_of_one_slot_gives_it_whatever_is_seen(rng):
    z = rng.normal(size=(2, 4)).astype(np.float32)
    (mixed, out), variables = jax.jit(Memory(1, 0.9).init_with_output)(jax.random.key(0), z)
    np.testing.assert_array_equal(mixed, np.broadcast_to(variables["params"]["slots"], (2, 4)))
    assert np.abs(variables["params"]["slots"]).max() <= 0.5
    assert out["entropy"].max() == 0
    lone = jnp.zeros((6, 4)).at[0].set(1e3)  # collapsed: all codes take the one slot that they agree with
    _, out = Memory(6).apply({"params": {"slots": lone}}, jnp.abs(z) + 1)
    assert out["used"] == 1


def test_a_projection_of_a_linear_network_is_that_by_hand(rng):
    matrix, x = rng.normal(size=(6, 6)) / 3, rng.uniform(size=(2, 1, 2, 3))
    rebuild = lambda y: (y.reshape(2, 6) @ jnp.float32(matrix)).reshape(2, 1, 2, 3)
    found = jax.jit(lambda x: projected(rebuild, x, DescentConfig(7, 0.5, 0.05)))(x.astype(np.float32))
    start, away = x.reshape(2, 6), np.eye(6) - matrix
    y = start.copy()
    for _ in range(7):
        apart = y @ away
        y = np.clip(y - 0.5 * (2 * apart @ away.T + 0.05 * np.sign(y - start)) * apart**2, 0, 1)
    np.testing.assert_allclose(found.reshape(2, 6), y, atol=1e-5)


def test_a_density_is_that_of_the_good_images_alone(rng):
    """Half the squared Mahalanobis distance of code and error, in units of each; padding is no image."""
    config = replace(VaeGmm(width=1 / 16, latent=3), widths=(32,), kernels=(4,), strides=(2,))
    method = Rebuilding(config, load_backbone(BackboneConfig("pixels", layers=(1,))), 8)
    variables = {**drawn(network(config), jnp.zeros((1, 8, 8, 3))), **method.frozen()}
    images = rng.integers(0, 256, (13, 8, 8, 3), np.uint8)
    data = ArrayDataset("tiny", (), tuple(map(str, range(13))), images, images[..., 0], np.zeros(13, np.int32))
    found = method.gathered(variables, data, 5)["density"]
    out = jax.jit(method._answer(variables))(images / np.float32(255))
    errors = np.square(np.asarray(out["rebuilt"]) - images / 255).mean((1, 2, 3))
    rows = np.concatenate([out["mean"], errors[:, None]], 1).astype(np.float64)
    own = (rows - rows.mean(0)) / rows.std(0)
    apart = own @ np.linalg.inv(own.T @ own / 13 + 1e-3 * np.eye(4))
    np.testing.assert_allclose(improbable(found, np.float32(rows)), 0.5 * (apart * own).sum(1), rtol=1e-3)


@pytest.mark.parametrize(
    ("config", "refused"),
    [
        (VaeProjection(), "steps of descent"),
        (AnoGan(), "steps of descent"),
        (VaeAttention(), "weighs a map by a gradient"),
        (VaeGmm(), ""),
    ],
)
def test_a_score_by_gradients_is_no_onnx_file(config, refused):
    reason = Reconstructed(config, BackboneConfig("pixels", layers=(1,))).refuses_onnx
    assert bool(reason) == bool(refused)
    with pytest.raises(UserError, match=refused or "onnx|--size"):
        convert(Graph("anomaly", lambda weights, images: {}, {}, 0, 0, refuses_onnx=reason), 0, Path("unwritten.onnx"))


def test_attention_is_that_of_every_position_by_hand(rng):
    network = Chain(ChainSpec((4, 6), (4, 4), (2, 2), latent=3, variational=True, norm=False))
    x = rng.uniform(size=(2, 16, 16, 3)).astype(np.float32)
    variables = jax.jit(network.init)(jax.random.key(0), x)
    answer = lambda x, **more: network.apply(variables, x, **more)
    each = lambda shift: (lambda out: (out["mean"].sum(), out["map"]))(answer(x, shift=(1, shift)))
    whole = jax.grad(each, has_aux=True)
    both = jax.jit(lambda shift: (attention(answer, x, 1, 4), whole(shift)))
    found, (slope, shown) = both(jnp.zeros((2, 8, 8, 4)))
    by_hand = np.abs(np.einsum("nk,nabk->nab", np.asarray(slope).mean((1, 2)), shown))
    np.testing.assert_allclose(found, by_hand, rtol=1e-4, atol=1e-6)
