"""A step of the training: its terms, what is painted, and the measure of pasted defects."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from jaxqc.anomaly.detectors.base import BackboneConfig
from jaxqc.anomaly.detectors.reconstruction import LossWeights, ReconstructionConfig
from jaxqc.anomaly.detectors.reconstruction_parts import MemoryConfig
from jaxqc.anomaly.features import load_backbone
from jaxqc.anomaly.reconstruction.objective import Rebuilding

CHAIN = ReconstructionConfig(
    widths=(4,), kernels=(4,), strides=(2,), up="transposed", norm=False, latent=3, variational=True,
    loss=LossWeights(l2=1.0, kl=2.0, entropy=0.5), corrupt="confetti", memory=MemoryConfig(4, 0.1),
)  # fmt: skip


def test_a_step_compares_with_the_image_before_it_was_painted(rng):
    method = Rebuilding(CHAIN, load_backbone(BackboneConfig("pixels", layers=(1,))), 16)
    params = jax.jit(method.init)(jax.random.key(0))["params"]
    batch = {"image": rng.integers(0, 256, (3, 16, 16, 3), np.uint8), "weight": np.array([1, 1, 0], np.float32)}
    keyed = {**batch, "key": jax.random.split(jax.random.key(1), 3)}
    step = jax.jit(jax.value_and_grad(method.loss, has_aux=True))
    (loss, (_, logs)), slope = step(params, method.frozen(), keyed, jax.random.key(2))
    assert loss == pytest.approx(float(logs["l2"] + 2 * logs["kl"] + 0.5 * logs["entropy"]), rel=1e-5)
    assert 1 <= logs["slots_used"] <= 4
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(slope))
    own = jax.jit(method.losses)({"params": params, **method.frozen()}, batch)
    out = jax.jit(method._answer({"params": params}))(batch["image"] / np.float32(255))
    squares = np.square(np.asarray(out["rebuilt"]) - batch["image"] / 255).mean((1, 2, 3))
    kl = 0.5 * (np.square(out["mean"]) + np.exp(out["spread"]) - out["spread"] - 1).sum(1) / (16 * 16 * 3)
    np.testing.assert_allclose(own, squares + 2 * kl + 0.5 * out["entropy"], rtol=1e-4)


def test_what_is_cached_is_what_no_step_changes():
    pixels = load_backbone(BackboneConfig("pixels", layers=(1,)))
    weighty = replace(pixels, variables={"kernel": np.ones(1)})
    assert Rebuilding(CHAIN, weighty, 16).features is None, "painted images are seen"
    assert Rebuilding(replace(CHAIN, corrupt="none"), pixels, 16).features is None, "pixels are at hand"
    assert Rebuilding(replace(CHAIN, corrupt="none"), weighty, 16).features is not None
