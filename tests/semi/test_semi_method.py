"""Inference on images of any size, and the method on two devices with a tiny network that learns."""

import re
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.errors import UserError
from jaxqc.semi import inference
from jaxqc.semi.method import SemiMethod
from jaxqc.semi.network import EncoderDecoder, halves_of
from jaxqc.semi.recipe import preset
from jaxqc.types import AXIS

POINTWISE = EncoderDecoder(lambda p, image: image, lambda p, features, size: features @ p)
"""Knows nothing of neighbours: whatever way an image is cut, each pixel's answer is the same."""


@pytest.mark.parametrize(
    ("height", "width", "side", "expected"),
    [(518, 518, 0, (518, 518)), (360, 480, 0, (364, 476)), (5, 30, 0, (14, 28)), (518, 518, 384, (378, 378)),
     (360, 480, 384, (294, 378)), (200, 200, 392, (392, 392))],
)  # fmt: skip
def test_fitting_sizes(height: int, width: int, side: int, expected: tuple[int, int]) -> None:
    assert inference.fitting(height, width, side=side) == expected


@pytest.mark.parametrize(("window", "stride"), [(8, 4), (12, 12), (16, 8), (40, 40)])
def test_sliding_window_covers_every_pixel(window: int, stride: int, rng: np.random.Generator) -> None:
    image, params = rng.normal(size=(2, 18, 25, 3)).astype(np.float32), rng.normal(size=(3, 4)).astype(np.float32)
    run = jax.jit(lambda p, x: inference.sliding_window(POINTWISE, p, x, window, stride, 4))
    np.testing.assert_allclose(run(params, image), jax.nn.softmax(image @ params), atol=1e-5)


def test_sliding_window_averages_windows() -> None:
    seen_first = EncoderDecoder(
        lambda p, x: x, lambda p, x, size: jnp.stack([x[..., 0] - x[:, :1, :1, 0], 0 * x[..., 0]], -1)
    )
    image = np.arange(12, dtype=np.float32).reshape(1, 1, 12, 1).repeat(4, 1)
    got = np.asarray(inference.sliding_window(seen_first, None, image, 8, 4, 4))[0, 0, :, 0]
    sigmoid = lambda x: 1 / (1 + np.exp(-x))
    expected = [
        sigmoid(i) if i < 4 else sigmoid(i - 4) if i >= 8 else (sigmoid(i) + sigmoid(i - 4)) / 2 for i in range(12)
    ]
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_a_window_takes_what_the_network_takes() -> None:
    """A network need not take the whole image: only windows are ever multiples of its patches."""

    def encode(p: Any, x: jax.Array) -> jax.Array:
        assert x.shape[1] % 4 == x.shape[2] % 4 == 0
        return x

    patches = EncoderDecoder(encode, lambda p, features, size: features @ p)
    found = inference.sliding_window(patches, np.ones((3, 2)), np.zeros((1, 18, 25, 3), np.float32), 8, 4, 4)
    assert found.shape == (1, 18, 25, 2)


def test_windows_that_cannot_be() -> None:
    image = np.zeros((1, 20, 20, 3), np.float32)
    with pytest.raises(UserError, match=re.escape("window=20, stride=8: a multiple of 14")):
        inference.sliding_window(POINTWISE, np.ones((3, 2)), image, 20, 8)
    with pytest.raises(UserError, match="20 x 10 pixels is smaller than a patch of 14"):
        inference.sliding_window(POINTWISE, np.ones((3, 2)), image[:, :10], 28, 14)


def test_whole_image_at_its_own_size_is_one_pass(rng: np.random.Generator) -> None:
    image, params = rng.normal(size=(1, 28, 42, 3)).astype(np.float32), rng.normal(size=(3, 4)).astype(np.float32)
    np.testing.assert_allclose(
        inference.whole_image(POINTWISE, params, image), jax.nn.softmax(image @ params), rtol=1e-5
    )
    flat = np.broadcast_to(np.float32([0.1, 0.5, 0.9]), (1, 30, 45, 3))
    for side in (0, 20):
        got = inference.whole_image(POINTWISE, params, flat, side=side)
        np.testing.assert_allclose(got, jax.nn.softmax(flat @ params), rtol=1e-4)


class Tiny(nn.Module):
    """A convolution and a linear head."""

    def setup(self) -> None:
        self.stem, self.head = nn.Conv(8, (3, 3)), nn.Dense(2)

    def encode(self, image: Any) -> Any:
        return (nn.relu(self.stem(image)),)

    def decode(self, features: Any, size: tuple[int, int]) -> Any:
        return self.head(features[0])

    def __call__(self, image: Any) -> Any:
        return self.decode(self.encode(image), image.shape[1:3])


def squares(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Dark images with a bright square, and where it is."""
    image, mask = rng.integers(0, 60, (n, 12, 12, 3)), np.zeros((n, 12, 12), np.uint8)
    for i in range(n):
        top, left = rng.integers(0, 7, 2)
        image[i, top : top + 5, left : left + 5] += 150
        mask[i, top : top + 5, left : left + 5] = 1
    return image.astype(np.uint8), mask


@pytest.mark.parametrize("name", ["mvpmatch", pytest.param("cps", marks=pytest.mark.slow)])
def test_learns_on_two_devices(name: str, rng: np.random.Generator) -> None:
    config, module = preset(name), Tiny()
    start = lambda key: module.init(key, jnp.zeros((1, 12, 12, 3)))["params"]
    method = SemiMethod(config, ("plate", "square"), halves_of(module), start, multiple=1)

    def step(params: Any, extra: Any, batch: Any, i: Any) -> Any:
        key = jax.random.fold_in(jax.random.key(0), i)
        keys = jax.random.split(jax.random.fold_in(key, jax.lax.axis_index(AXIS)), 2)
        prepared = method.prepare(batch, keys, 12, True)
        (loss, (_, logs, _)), grads = jax.value_and_grad(method.loss, has_aux=True)(params, {}, prepared, key, extra)
        grads = jax.lax.pmean(grads, AXIS)
        params = jax.tree.map(lambda p, g: p - 0.5 * g, params, grads)
        return params, method.after_step(extra, params, i), jax.lax.pmean({**logs, "loss": loss}, AXIS)

    run = jax.pmap(step, axis_name=AXIS, in_axes=(None, None, 0, None), out_axes=None, devices=jax.devices()[:2])
    push = jax.jit(method.after_evaluation)
    params: Any = jax.jit(method.init)(jax.random.key(1))["params"]
    extra = method.init_extra(params)
    logs = []
    for i in range(60):
        image, mask = squares(rng, 4)
        unlabeled, truth = squares(rng, 4)
        batch = {
            "image": image,
            "mask": mask,
            "unlabeled": unlabeled,
            "truth": truth,
            "valid": np.ones(mask.shape, bool),
        }
        params, extra, log = run(
            params, extra, jax.tree.map(lambda x: x.reshape(2, 2, *x.shape[1:]), batch), jnp.int32(i)
        )
        logs.append({k: float(v) for k, v in log.items()})
        if name == "mvpmatch" and i % 10 == 9:
            extra = push(extra, params, jnp.asarray(True))
    assert logs[-1]["loss_x"] < 0.5 * logs[0]["loss_x"]
    if name == "mvpmatch":
        assert logs[5]["drawn"] == 0
        assert logs[5]["loss_prev"] == 0
        assert 1 <= logs[-1]["drawn"] <= 3
        assert int(extra.history.count) == 6
    share = sum(logs[-1][k] for k in logs[-1] if k.endswith("_share"))
    right = sum(logs[-1][k] for k in logs[-1] if k.endswith("_right"))
    assert right / share > 0.9
    image, mask = squares(rng, 6)
    whole = {"image": image, "mask": mask, "weight": np.ones(6, np.float32)}
    variables = method.deployed({"params": params}, extra)
    result = method.summarize(jax.jit(method.update_metrics)(method.init_metrics(), variables, whole))
    assert result["miou"] > 0.7
    precision = {f"tier{i + 1}_precision" for i in range(len(config.tiers.bounds))}
    assert set(result) == {"miou", "pixel_accuracy", "plate/iou", "square/iou"} | precision
