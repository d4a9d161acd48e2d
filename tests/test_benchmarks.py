"""Benchmark programs: what they make by a short cut is what the toolkit itself makes."""

import sys

import jax
import pytest

from benchmarks import inspect_images, semi_members
from benchmarks.lib.common import interleave
from benchmarks.lib.networks import with_command
from benchmarks.step import Bench
from jaxqc.config import ModelConfig, OptimConfig, Phase, TrainConfig
from jaxqc.training import state
from jaxqc.training.parallel import make_parallel


@pytest.mark.misuse  # the benchmark hands over a part of a method
def test_the_steps_state_is_that_of_a_run():
    config = TrainConfig(
        model=ModelConfig(name="minet"), optim=OptimConfig(name="adamw"), phases=(Phase(epochs=1, size=32, batch=2),)
    )
    bench = Bench(config, make_parallel(devices=1), images=4)
    real = jax.eval_shape(lambda key: state.create(bench.method, bench.optimizer, key), jax.random.key(0))
    made = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), bench.state())
    assert made == real


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["network", "gaussian"])
def test_inspections_stages_run_with_both_kinds_of_model(kind):
    small = ["--model", "minet", "--images", "12", "--side", "48", "--size", "64", "--batch", "4", "--rounds", "1"]
    rows = inspect_images.run(inspect_images.parse(["--kind", kind, *small]))
    assert [row["name"] for row in rows] == ["read", "decode", "score", "judge", "keep", "inspect"]
    assert all(row["images_per_s"] > 0 for row in rows)


def test_each_turn_begins_with_a_call_that_is_not_timed_and_rounds_differ_in_their_order():
    calls = []
    candidates = {name: (lambda name=name: calls.append(name)) for name in ("ours", "theirs", "another")}
    timings = interleave(candidates, rounds=5, seconds=0.0, warmup=1)
    once = ["ours", "theirs", "another"] * 2  # the very first call, and the one that tells how many go into a turn
    assert calls[:6] == once
    turns = calls[6::2]
    assert calls[7::2] == turns
    rounds = [tuple(turns[i : i + 3]) for i in range(0, 15, 3)]
    assert all(sorted(names) == sorted(candidates) for names in rounds)
    assert len({names[names.index("ours") - 1] for names in rounds}) > 1, (
        "each follows the same other one in all rounds"
    )
    assert all(len(timing.seconds) == 5 and timing.calls == 1 for timing in timings.values())


def test_a_rows_command_names_no_place_of_this_machine(monkeypatch):
    arguments = ["--part", "fit", "--peer-python", "/a/place/bin/python", "--json", "/b/rows.jsonl"]
    monkeypatch.setattr(sys, "argv", ["/c/benchmarks/fit.py", *arguments])
    assert with_command([{"ms": 1}]) == [{"ms": 1, "command": "python -m benchmarks.fit --part fit --peer-python PATH"}]


@pytest.mark.slow
def test_rows_of_the_members() -> None:
    tiny = "--encoder vit_tiny14 --size 28 --batch 2 --classes 3 --hidden 8 --rounds 2 --seconds .01"
    rows = semi_members.run(semi_members.parse([*tiny.split(), "--methods", "unimatch_v2", "ps_mt", "--chunk", "1"]))
    assert [(row["name"], row["encoder"], row["decoder"]) for row in rows] == [
        ("unimatch_v2", 10, 10),
        ("ps_mt", 8, 20),
    ]
    assert rows[0]["ratio"] == 1
    assert rows[1]["ratio"] == pytest.approx(rows[1]["ms"] / rows[0]["ms"])
    assert all(row["memory_mb"] > 10 for row in rows)
