"""The mean of a network's variables over its steps, and a start from another run's."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.cli import main
from jaxqc.config import ModelConfig, TrainConfig
from jaxqc.errors import UserError
from jaxqc.fields import validate
from jaxqc.models.arrays import flatten
from jaxqc.saliency.method import make_method
from jaxqc.saliency.networks import start_of
from jaxqc.saliency.verify import verify
from jaxqc.training.checkpoint import load_variables, read, steps_in
from tests.support.tiny_run import plates, recipe, run_folder, tiny_network

__all__ = ["plates", "recipe", "run_folder", "tiny_network"]


def test_the_mean_forgets_its_start_and_then_keeps_its_share():
    method = make_method(TrainConfig(model=ModelConfig("tiny"), average=0.75), ("In",), 0.4, 0.2, 0.1)
    values = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    extra = method.init_extra({"a": values[0]}, {"batch_stats": {"m": -values[0]}})
    for step, value in enumerate(values[1:]):
        state = {"batch_stats": {"m": -value}}
        extra = jax.jit(method.after_step)(extra, {"a": value}, jnp.int32(step), state)
    # Plain means of 1 to 4 values, then a quarter of the new one.
    expected = 0.75 * values[1:5].mean(0) + 0.25 * values[5]
    used = method.deployed({"params": {}, "batch_stats": {}}, extra)
    np.testing.assert_allclose(used["params"]["a"], expected, atol=1e-6)
    np.testing.assert_allclose(used["batch_stats"]["m"], -expected, atol=1e-6)
    none = replace(method, average=0.0)
    assert none.init_extra({"a": values[0]}, {}) is None
    assert none.after_step(None, {"a": values[0]}, jnp.int32(0), {}) is None


@pytest.mark.slow
def test_a_run_is_measured_and_used_by_its_mean(tiny_network, plates, recipe, tmp_path):
    folder = tmp_path / "run"
    arguments = ["--config", str(recipe), "--data", str(plates), "--out", str(folder), "--quiet", "--average", "0.9"]
    assert main(["train", *arguments]) == 0
    flat, _ = read(folder / "checkpoints" / str(steps_in(folder / "checkpoints")[-1]))
    used = flatten(load_variables(folder, "last")[0])
    for path, value in used.items():
        kind = "teacher" if path[0] == "params" else "teacher_state"
        place = path[1:] if path[0] == "params" else path
        np.testing.assert_array_equal(value, flat["extra", kind, *place])
    trained = flat["params", "c1", "kernel"]
    assert not np.array_equal(trained, used["params", "c1", "kernel"])
    assert verify(folder).ok


def test_a_run_starts_from_another_ones_variables(run_folder):
    start = start_of(TrainConfig(model=ModelConfig("tiny", weights=str(run_folder))))
    kept = load_variables(run_folder, "best")[0]
    assert start is not None
    assert flatten(start).keys() == flatten(kept).keys()
    for path, value in flatten(kept).items():
        np.testing.assert_array_equal(flatten(start)[path], value)
    with pytest.raises(UserError, match=r"model\.weights: .* holds saliency tiny, width 1, and the recipe is of minet"):
        start_of(TrainConfig(model=ModelConfig("minet", weights=str(run_folder))))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (TrainConfig(average=1.0), r"average=1\.0 never moves"),
        (TrainConfig(average=-0.1), "average=-0.1.* not negative"),
        (TrainConfig(method="classifier", average=0.9), "average is a saliency network's"),
    ],
)
def test_an_average_that_is_none_is_refused(config, message):
    with pytest.raises(UserError, match=message):
        validate(config)
