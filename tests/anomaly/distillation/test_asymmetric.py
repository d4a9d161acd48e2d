"""A student of a flow: its size, loss and map against NumPy, what it sees, the edges of its teacher's convolutions."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.anomaly.detectors import Ast
from jaxqc.anomaly.detectors.asymmetric import AST_FLOW
from jaxqc.anomaly.detectors.base import BackboneConfig
from jaxqc.anomaly.features import load_backbone
from jaxqc.anomaly.flow.network import flow_of
from jaxqc.anomaly.flow.subnets import Perceptron
from jaxqc.anomaly.parts import divide
from jaxqc.anomaly.training import train_state
from jaxqc.data.readers import open_dataset
from jaxqc.errors import UserError
from jaxqc.fields import validate
from jaxqc.training.checkpoint import steps_in
from tests.anomaly.distillation.test_members import nearly_equal
from tests.support.drawn import drawn
from tests.support.ended import ended_at_save


def test_the_student_is_as_large_as_published():
    """But for biases before batch norms, which change nothing, and a factor that its authors never use."""
    x = (jax.ShapeDtypeStruct((1, 4, 4, 336), jnp.float32),)
    shapes = jax.eval_shape(Ast().on(BackboneConfig()).network(((4, 4, 304),)).init, jax.random.key(0), x)
    assert sum(x.size for x in jax.tree.leaves(shapes["params"])) == 81_421_617 - 8 * 1024 - 1


def test_loss_and_map_are_numpys(recipe, rng):
    backbone = replace(recipe.backbone, layers=(2,))
    pair = Ast(replace(AST_FLOW, blocks=(1,), width=8, condition=8), width=8, blocks=1).on(backbone)
    method = pair.method(load_backbone(backbone), 48)
    ((side, _, channels),) = method.shapes
    x = rng.normal(size=(2, side, side, channels)).astype(np.float32)
    where = ((jnp.zeros((1, 1, side, 4)), jnp.zeros((1, side, 1, 4))),)
    flow = drawn(flow_of(pair.config.flow, method.shapes), (x,), where)["params"]
    method = method.after({"teacher": {"params": flow}})
    variables = {**jax.jit(method.init)(jax.random.key(0)), **method.frozen()}
    z = np.asarray(jax.jit(pair.said)(flow, (x,))[0])
    angle = np.arange(side)[:, None] / np.array([1.0, 100.0])
    waves = np.stack([np.sin(angle), np.cos(angle)], -1).reshape(side, 4)
    shown = np.concatenate([x, np.broadcast_to(waves, (2, side, side, 4)),
                            np.broadcast_to(waves[:, None], (2, side, side, 4))], -1).astype(np.float32)  # fmt: skip
    own = {name: variables[name] for name in ("params", "batch_stats")}
    student = np.asarray(jax.jit(pair.network(method.shapes).apply)(own, (shown,))["layer1"])
    cells = ((z.astype(np.float64) - student) ** 2).mean(-1)
    losses = jax.jit(method.losses)(variables, {"image": np.zeros(2), "features/x0": x, "features/z0": z})
    np.testing.assert_allclose(losses, cells.mean((1, 2)), rtol=1e-4)
    state = pair.trained(jax.device_get(variables))
    maps, scores = jax.jit(lambda state, x: pair.score(state, (x,), (side, side)))(state, x)
    np.testing.assert_allclose(maps, cells, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(scores, cells.max((1, 2)), rtol=1e-3)


def test_beyond_the_border_the_outermost_cells_repeat(rng):
    """A constant image stays constant, positions and all; zeros around it would show."""
    network = Perceptron(4, (5,), 3, edge=True)
    x, where = (jnp.ones((1, 4, 4, 3)),), ((jnp.ones((1, 1, 4, 2)),),)
    variables = drawn(network, x, where)
    (y,) = network.apply(variables, x, where)
    np.testing.assert_allclose(y, np.broadcast_to(y[:, :1, :1], y.shape), rtol=1e-5)
    (start,) = network.apply(network.init(jax.random.key(0), x, where), x, where)
    assert not np.asarray(start).any()


@pytest.mark.misuse
def test_a_teacher_without_a_grid_is_refused(recipe):
    for flow, words in (
        (replace(AST_FLOW, scales=(1, 2)), r"detector\.flow: pool=none, scales=\(1, 2\): a student needs the image's"),
        (replace(AST_FLOW, clamp=0.0), r"detector\.flow: clamp=0\.0 must be above 0"),
    ):
        with pytest.raises(UserError, match=words):
            validate(replace(recipe, detector=Ast(flow)))


@pytest.mark.slow
@pytest.mark.parametrize(("ended", "of"), [(1, "training_teacher"), (3, "training")])
def test_teacher_and_student_go_on_where_they_were_ended(ended, of, recipe, boards, tmp_path, monkeypatch):
    """The state after an end within either training is that of one sitting; of eight devices it is nearly that."""
    backbone = replace(recipe.backbone, layers=(1,))
    training = replace(Ast().training, epochs=4.0, batch=8, evaluate_every_epochs=2.0, checkpoint_every_epochs=2.0)
    detector = Ast(replace(AST_FLOW, blocks=(1,), width=8, condition=8, training=training), 8, 1, training=training)
    config = validate(replace(recipe, detector=detector, backbone=backbone))
    parts, _ = divide(open_dataset(boards), config.data, config.seed)
    train = lambda name, devices=1: train_state(
        replace(config, devices=devices), config.ready, load_backbone(backbone), parts,
        tmp_path / name / "training", [], False,
    )  # fmt: skip
    whole, about = train("whole")
    assert about["stages"]["teacher"]["step"] == about["step"] == 4
    with ended_at_save(monkeypatch, ended), pytest.raises(KeyboardInterrupt):
        train("ended")
    assert steps_in(tmp_path / "ended" / of / "checkpoints") == [2]
    again, _ = train("ended")
    for a, b in zip(*map(jax.tree.leaves, (whole, again)), strict=True):
        np.testing.assert_array_equal(a, b)
    if of == "training":
        jax.tree.map(nearly_equal, whole, train("eight", 8)[0])
