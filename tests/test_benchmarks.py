"""Benchmark programs: what they make by a short cut is what the toolkit itself makes."""

import jax

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
