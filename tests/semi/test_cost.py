"""What a step computes: passes by the definition of each member, and what the log tells of it."""

import jax
import jax.numpy as jnp
import pytest

from jaxqc.errors import UserError
from jaxqc.semi.cost import forward_flops, passes, step_flops
from jaxqc.semi.method import SemiMethod
from jaxqc.semi.objective import Network
from jaxqc.semi.recipe import PRESETS, SemiTrainConfig, preset

LINEAR = Network(lambda p, x: x @ p["w"], lambda p, f, size: (f @ p["v"]) @ p["v"].T)


def start(key: jax.Array) -> dict[str, jax.Array]:
    return {"w": jnp.zeros((3, 5)), "v": jax.random.normal(key, (5, 2))}


@pytest.mark.parametrize(
    ("name", "drawn", "encoded", "decoded"),
    [
        ("supervised", 0, 3, 3),
        ("supervised_ema", 0, 3, 3),
        ("fixmatch", 0, 1 + 3 * 2, 1 + 3 * 2),
        ("unimatch_v2", 0, 1 + 3 * 3, 1 + 3 * 3),  # semi.md: 1 teacher + 3 · 3 student
        ("mvpmatch", 2, 1 + 2 + 3 * 3, 1 + 2 + 3 * 3),
        ("history_only", 0.5, 1.5 + 3 * 3, 1.5 + 3 * 3),
        (
            "unimatch_v1",
            0,
            3 * 4,
            3 * 5,
        ),  # labelled, two views, the weak one; decoded twice, once with dropped channels
        ("prevmatch", 3, 3 + 3 * 4, 3 + 3 * 5),
        ("cps", 0, 2 * (1 + 3 * 2), 2 * (1 + 3 * 2)),
    ],
)
def test_passes(name: str, drawn: float, encoded: float, decoded: float) -> None:
    assert passes(preset(name), drawn) == (encoded, decoded)


def test_every_member_is_here() -> None:
    assert {case[0] for case in test_passes.pytestmark[0].args[1]} >= set(PRESETS) - {"tiers_only"}


def test_the_pace_of_a_run() -> None:
    given = preset("mvpmatch"), ("a", "b"), LINEAR, start
    flops = step_flops(given[0], LINEAR, start, 80, 1.5)
    row = SemiMethod(*given).pace(4e6, 80, 2, {"drawn": 1.5})
    assert row == {"model_tflops": pytest.approx(4e6 * flops / 1e12, rel=1e-3)}
    share = SemiMethod(*given, peak_tflops=100).pace(4e6, 80, 2, {"drawn": 1.5})["mfu"]
    assert share == pytest.approx(row["model_tflops"] / 200, rel=1e-3)
    no_step = SemiMethod(*given).pace(4e6, 80, 1, {"drawn": None})  # of a line whose steps were all skipped
    assert no_step["model_tflops"] == pytest.approx(4e6 * step_flops(given[0], LINEAR, start, 80) / 1e12, rel=1e-3)


def test_a_peak_is_a_rate() -> None:
    with pytest.raises(UserError, match=r"peak_tflops=-1\.0 must be TFLOP/s of a device"):
        SemiTrainConfig(peak_tflops=-1.0).check("here")


def test_flops_of_a_step() -> None:
    encoder, decoder = 2 * 64 * 15, 2 * 64 * 20
    assert forward_flops(LINEAR, start, 8) == (encoder, decoder)
    assert step_flops(preset("unimatch_v1"), LINEAR, start, 8) == 12 * encoder + 15 * decoder
    assert step_flops(preset("mvpmatch"), LINEAR, start, 8, 1.5) == 11.5 * (encoder + decoder)
