"""Every entry of NETWORKS: a new one is tested by being there."""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.lib.networks import random_variables
from jaxqc.config import AugmentConfig, ModelConfig, OptimConfig, Phase, TrainConfig
from jaxqc.errors import UserError
from jaxqc.fields import from_dict, to_dict
from jaxqc.nn.fold import fold_batch_norm
from jaxqc.saliency.forward import infer
from jaxqc.saliency.method import make_method
from jaxqc.saliency.model import Model
from jaxqc.saliency.networks import NETWORKS, build
from jaxqc.training.optim import flatten, make_optimizer
from jaxqc.training.state import TrainState
from jaxqc.training.step import make_step
from jaxqc.types import AXIS

CLASSES = ("In", "Pa", "Sc")
WIDTH = 0.25
QUICK = {"xla_backend_optimization_level": 1}


class Case:
    """A network, narrow, with variables of which none is at its neutral value."""

    def __init__(self, name: str) -> None:
        self.name, self.network = name, NETWORKS[name]
        self.side = -(-32 // self.network.multiple) * self.network.multiple
        self.module = build(self.network, len(CLASSES), WIDTH)
        self.variables = random_variables(self.module, varied=True, side=self.side)
        self.images = np.random.default_rng(3).normal(size=(3, self.side, self.side, 3)).astype(np.float32)
        self.config = TrainConfig(
            model=ModelConfig(name, WIDTH),
            optim=OptimConfig(lr=1.0, momentum=0.0, weight_decay=0.0, warmup_epochs=0.0, schedule="constant", clip=0.0),
            augment=AugmentConfig(flip_horizontal=False),
            phases=(Phase(1, self.side, 2),),
            eval_size=self.side,
        )


LIGHT = ("minet", "tscarnet")
"""Networks that compile in seconds. The others go this way in `make test-all`; what is theirs alone has quick tests in
tests/models and tests/saliency/test_losses.py."""


def marked(*quick: str) -> list[Any]:
    """All networks, of which only `quick` ones are quick."""
    return [pytest.param(name, marks=() if name in quick else pytest.mark.slow) for name in sorted(NETWORKS)]


PROVEN = marked("minet")
"""One network is folded quickly. TSCARNet's folded outputs are compared with its golden ones by
tests/test_old_folders.py, and its objective trains the tiny network of tests/support/tiny_run.py."""


@pytest.fixture(scope="module", params=marked(*LIGHT))
def case(request) -> Case:
    return Case(request.param)


@pytest.fixture(scope="module")
def inference(case: Case) -> Any:
    """The compiled pass of the network as it is trained."""
    run = partial(infer, case.module, maps=case.network.maps)
    return jax.jit(run).lower(case.variables, case.images).compile(QUICK)


def test_shapes(case: Case) -> None:
    n, side = 2, 2 * case.side
    image = jnp.zeros((n, side, side, 3))
    apply = lambda aux: jax.eval_shape(lambda v: case.module.apply(v, image, aux=aux), case.variables)
    few, all_ = apply(False), apply(True)
    assert few["map"].shape == (n, side, side)
    assert few.items() <= all_.items()
    assert set(case.network.maps) <= set(few)
    assert {value.dtype for value in all_.values()} == {np.dtype("float32")}
    assert {len(value.shape) and value.shape[0] for value in all_.values()} == {n}
    if "class" in few:
        assert few["class"].shape == (n, len(CLASSES))


@pytest.mark.parametrize("case", PROVEN, indirect=True)
def test_outputs_are_finite_and_in_range(case: Case, inference: Any) -> None:
    found = inference(case.variables, case.images)
    for name, value in found.items():
        assert np.isfinite(value).all(), name
        assert (value.min(), value.max()) >= (0, 0), name
        assert value.max() <= 1, name
        assert np.std(value) > 0, f"{name} says nothing"
    if "class" in found:
        np.testing.assert_allclose(found["class"].sum(-1), 1, atol=1e-5)


@pytest.mark.parametrize("case", PROVEN, indirect=True)
def test_folded_batch_norm_changes_nothing(case: Case, inference: Any) -> None:
    folded = build(case.network, len(CLASSES), WIDTH, folded=True)
    variables = fold_batch_norm(case.variables, case.network.epsilon)
    run = jax.jit(partial(infer, folded, maps=case.network.maps)).lower(variables, case.images).compile(QUICK)
    found = run(variables, case.images)
    for name, value in inference(case.variables, case.images).items():
        np.testing.assert_allclose(found[name], value, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("case", PROVEN, indirect=True)
def test_an_image_does_not_see_its_batch(case: Case, inference: Any) -> None:
    others = np.stack([case.images[0], case.images[2] * 3, case.images[1] + 1])
    one, two = (inference(case.variables, images) for images in (case.images, others))
    for name, value in one.items():
        np.testing.assert_allclose(two[name][0], value[0], atol=1e-5, err_msg=name)


@pytest.fixture(scope="module")
def training(case: Case) -> tuple[Any, Any, Any]:
    """The loop's own step of plain gradient descent with rate 1, a state and a batch for it, for one device."""
    method = make_method(case.config, CLASSES, 0.44, 0.21, 0.1)
    optimizer = make_optimizer(case.config.optim)
    params = case.variables["params"]
    model_state = {name: tree for name, tree in case.variables.items() if name != "params"}
    zero = jnp.zeros((), jnp.int32)
    state = TrainState(zero, params, model_state, optimizer.init(flatten(params)), zero)
    rng, shape = np.random.default_rng(4), (2, case.side, case.side)
    batch = {
        "image": rng.integers(0, 256, (*shape, 1), np.uint8),
        "mask": (rng.uniform(size=shape) < 0.3).astype(np.uint8),
        "label": np.array([1, -1], np.int32),
        "weight": np.ones(2, np.float32),
    }
    step = make_step(method, optimizer, lambda step: jnp.ones(()), case.side)
    mapped = jax.jit(jax.vmap(step, (0, 0, None), axis_name=AXIS))
    return mapped, *jax.tree.map(lambda x: jnp.asarray(x)[None], (state, batch))


@pytest.mark.parametrize("case", PROVEN, indirect=True)
def test_the_objective_has_a_gradient(case: Case, training: tuple[Any, Any, Any]) -> None:
    """As far as tracing says; the numbers are a test of their own, which compiles for minutes."""
    step, state, batch = training
    after, logs = jax.eval_shape(step, state, batch, jax.random.key(0))
    shapes = lambda tree: [(x.shape, x.dtype) for x in jax.tree.leaves(tree)]
    assert jax.tree.structure(after) == jax.tree.structure(state)
    assert shapes(after) == shapes(state)
    assert {"loss", "grad_norm", "lr", "bad"} < set(logs), "an objective logs its parts"
    assert set(shapes(logs)) == {((1,), np.dtype("float32"))}


@pytest.mark.slow
def test_a_step_moves_the_parameters(training: tuple[Any, Any, Any]) -> None:
    """With rate 1 the change is the gradient."""
    step, state, batch = training
    after, logs = step.lower(state, batch, jax.random.key(0)).compile(QUICK)(state, batch, jax.random.key(0))
    assert logs["bad"] == 0
    assert np.isfinite(logs["loss"])
    assert logs["grad_norm"] > 0
    moved = jax.tree.map(lambda new, old: np.abs(new - old).max(), after.params, state.params)
    sizes = np.asarray(jax.tree.leaves(moved))
    assert np.isfinite(sizes).all()
    assert (sizes > 0).mean() > 0.9, "a unit whose inputs are all negative has no gradient, but few are so"
    for path, value in jax.tree_util.tree_leaves_with_path(after.model_state):
        assert np.isfinite(value).all(), jax.tree_util.keystr(path)


def test_other_sizes_are_refused_by_name(case: Case) -> None:
    multiple = case.network.multiple
    if multiple == 1:
        pytest.skip("takes any size")
    size = case.side + 1
    with pytest.raises(UserError, match=f"eval_size={size} is not a multiple of {multiple}; the next one is"):
        make_method(dataclasses.replace(case.config, eval_size=size), CLASSES, 0.44, 0.21, 0.1)
    model = Model(case.variables, case.config, {"classes": CLASSES, "mean": 0.44, "std": 0.21})
    with pytest.raises(UserError, match=f"size: {size} is not a multiple of {multiple}"):
        model.predict(np.zeros((case.side, case.side), np.uint8), size=size)
    padded = jax.eval_shape(lambda x: model.prepare(x, 0), np.zeros((1, size, case.side - 1, 1), np.uint8))
    assert padded.shape[1] % multiple == padded.shape[2] % multiple == 0


def test_the_objective_is_plain_values(case: Case) -> None:
    objective = case.network.objective
    assert from_dict(to_dict(objective), type(objective)) == objective
    assert type(objective).__dataclass_params__.frozen
