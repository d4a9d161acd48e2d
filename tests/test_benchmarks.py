"""Benchmark programs: what they make by a short cut is what the toolkit itself makes."""

import jax
import pytest

from benchmarks import inspect_images
from benchmarks.step import Bench
from jaxqc.config import ModelConfig, OptimConfig, Phase, TrainConfig
from jaxqc.training import state
from jaxqc.training.parallel import make_parallel


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
    pytest.importorskip("cv2", reason="jaxqc[inspect] (OpenCV) is not installed")
    small = ["--model", "minet", "--images", "12", "--side", "48", "--size", "64", "--batch", "4", "--rounds", "1"]
    rows = inspect_images.run(inspect_images.parse(["--kind", kind, *small]))
    assert [row["name"] for row in rows] == ["read", "decode", "score", "judge", "keep", "inspect"]
    assert all(row["images_per_s"] > 0 for row in rows)
