"""The segmenters' benchmarks: FLOPs as counted by hand elsewhere, rows of a tiny step and of tiny images."""

import jax
import jax.numpy as jnp
import pytest

torch = pytest.importorskip("torch", reason="the peers need PyTorch (extra: peers)")

from benchmarks import segment, semi_step
from benchmarks.lib import semi_candidates
from benchmarks.lib.networks import segmenter_flops
from jaxqc.semi import history

torch.set_num_threads(1)  # the networks are small here, and other test processes share the cores
QUICK = "--rounds 2 --seconds .01 --encoder vit_tiny14 --classes 3 --peer eager --budget 5"


@pytest.mark.parametrize(
    ("encoder", "size", "giga"),
    [("dinov2_vits14", 224, 16.1), ("dinov2_vits14", 518, 114.0), ("dinov2_vitb14", 378, 187.7),
     ("dinov2_vitb14", 518, 384.6)],
)  # fmt: skip
def test_flops_are_those_counted_by_hand(encoder: str, size: int, giga: float) -> None:
    assert segmenter_flops(encoder, 40, size) == pytest.approx(giga * 1e9, rel=0.01)


def test_all_models_held_take_part() -> None:
    queue = history.empty({"a": jnp.zeros(2)}, 4)
    push = jax.jit(history.push)
    for count in range(4):
        places, weights, k = semi_candidates.all_held(queue, jax.random.key(0), 3)
        assert (places.tolist(), int(k)) == ([0, 1, 2], min(count, 3))
        assert float(weights.sum()) == pytest.approx(1)
        queue = push(queue, {"a": jnp.ones(2)})


@pytest.mark.slow
def test_rows_of_a_step() -> None:
    args = semi_step.parse([*QUICK.split(), "--batch", "2", "--size", "28", "--past", "0", "3", "--devices", "1"])
    rows = {row["name"]: row for row in semi_step.run(args)}
    step, given = rows["jaxqc step"], rows["jaxqc step, views given"]
    assert {"compile_s", "memory_mb", "share", "vs_reference", "vs_eager", "mfu"} <= set(step)
    assert given["vs_eager"] > 0
    assert step["model_gflops"] == given["model_gflops"]
    forward = segmenter_flops("vit_tiny14", 3, 28)
    assert forward is not None
    assert step["model_gflops"] == pytest.approx(forward * 2 * 10 / 1e9)
    assert rows["past models: 3"]["model_gflops"] == pytest.approx(forward * 2 * 13 / 1e9)
    assert any(name.startswith("torch reference: eager two passes") for name in rows)


@pytest.mark.slow
def test_rows_of_images() -> None:
    rows = segment.run(segment.parse([*QUICK.split(), "--side", "70", "--long-side", "0", "42"]))
    ours = [row for row in rows if row["name"] == "jaxqc"]
    assert [row["input"] for row in ours] == [70, 42]
    assert ours[0]["vs_full"] == 1
    assert all({"vs_eager", "mfu", "compile_s"} <= set(row) for row in ours)
