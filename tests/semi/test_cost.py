"""A step's work: passes as the loss of each member makes them, and the log's words on it."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest

from jaxqc.errors import UserError
from jaxqc.semi.cost import forward_flops, passes, step_flops
from jaxqc.semi.method import SemiMethod
from jaxqc.semi.network import EncoderDecoder
from jaxqc.semi.objective import semi_loss
from jaxqc.semi.recipe import PRESETS, SemiTrainConfig, preset
from jaxqc.semi.setting import Setting

LINEAR = EncoderDecoder(lambda p, x: x @ p["w"], lambda p, f, size: (f @ p["v"]) @ p["v"].T)


def start(key: jax.Array) -> dict[str, jax.Array]:
    return {"w": jnp.zeros((3, 5)), "v": jax.random.normal(key, (5, 2))}


def seen(name: str) -> tuple[int, int]:
    """Numbers of images that encoder and decoder see in a step of two labelled and two unlabelled ones, as the loss
    is traced, a past model's pass twice (for its shape, and in the loop's body)."""
    counts = [0, 0]

    def encode(params: Any, image: jax.Array) -> jax.Array:
        counts[0] += len(image)
        return image @ params["w"]

    def decode(params: Any, features: jax.Array, size: tuple[int, int]) -> jax.Array:
        counts[1] += len(features)
        return features @ params["w"]

    def represent(params: Any, features: jax.Array, size: tuple[int, int]) -> tuple[jax.Array, jax.Array]:
        return decode(params, features, size), jnp.ones((len(features), 4, 4, config.contrast.width))

    config, weak = preset(name), jnp.ones((2, 8, 8, 3))
    network = EncoderDecoder(encode, decode, represent)
    method = SemiMethod(config, ("a", "b", "c"), network, lambda key: {"w": jnp.eye(3)})
    params = method.init(jax.random.key(0))["params"]
    batch = {"image": weak, "mask": jnp.zeros((2, 8, 8), jnp.int32), "weak": weak, "valid": jnp.ones((2, 8, 8), bool)}
    if config.views:
        batch |= {"strong": jnp.stack([weak] * config.views), "inside": jnp.zeros((config.views, 2, 8, 8), bool)}
    extra = method.init_extra(params)
    counts[:] = 0, 0
    jax.eval_shape(lambda: semi_loss(Setting(config, method.network), params, extra, batch, jax.random.key(1)))
    return counts[0], counts[1]


@pytest.mark.parametrize("name", PRESETS)
def test_passes_are_those_of_the_loss(name: str) -> None:
    """Forward passes are the traced ones; the backward pass doubles those of images that the student learns from."""
    config = preset(name)
    traced = [n / 2 - 2 * (config.history.length > 0) for n in seen(name)]
    frozen = config.unlabelled and not (config.labels == "self" and config.perturbation == "weak")
    frozen = frozen * config.students * config.teachers + {"u2pl": 2, "pixcon": 1}.get(name, 0)  # a second look
    # Teachers' decoders see noisy features before and after the step, and pass back to it in the second pass alone.
    noisy = (0, 2 * config.teachers * (config.views + config.noise.labelled) if config.noise.eps else 0)
    expected = tuple(3 * (n - frozen - m) + frozen + 1.5 * m for n, m in zip(traced, noisy, strict=True))
    assert passes(config) == expected


def test_past_models_label_without_learning() -> None:
    base = passes(preset("mvpmatch"))
    assert base == (10, 10), "1 teacher + 3 · 3 student"
    assert passes(preset("mvpmatch"), 1.5) == (base[0] + 1.5, base[1] + 1.5)


def test_the_pace_of_a_run() -> None:
    given = preset("mvpmatch"), ("a", "b"), LINEAR, start
    flops = step_flops(given[0], forward_flops(LINEAR, start, 80), 1.5)
    row = SemiMethod(*given).pace(4e6, 80, 2, {"drawn": 1.5})
    assert row == {"model_tflops": pytest.approx(4e6 * flops / 1e12, rel=1e-3)}
    share = SemiMethod(*given, peak_tflops=100).pace(4e6, 80, 2, {"drawn": 1.5})["mfu"]
    assert share == pytest.approx(row["model_tflops"] / 200, rel=1e-3)
    no_step = SemiMethod(*given).pace(4e6, 80, 1, {"drawn": None})  # of a line whose steps were all skipped
    assert no_step["model_tflops"] == pytest.approx(
        4e6 * step_flops(given[0], forward_flops(LINEAR, start, 80)) / 1e12, rel=1e-3
    )


def test_a_peak_is_a_rate() -> None:
    with pytest.raises(UserError, match=r"peak_tflops=-1\.0 must be TFLOP/s of a device"):
        SemiTrainConfig(peak_tflops=-1.0).check("here")


def test_flops_of_a_step() -> None:
    encoder, decoder = 2 * 64 * 15, 2 * 64 * 20
    assert forward_flops(LINEAR, start, 8) == (encoder, decoder)
    assert step_flops(preset("unimatch_v1"), (encoder, decoder)) == 12 * encoder + 15 * decoder
    assert step_flops(preset("mvpmatch"), (encoder, decoder), 1.5) == 11.5 * (encoder + decoder)
