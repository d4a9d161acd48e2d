"""Savings that change nothing: cross entropy in chunks, features of a frozen encoder seen once; memory as planned."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.errors import UserError
from jaxqc.nn.resizing import resize_align_corners
from jaxqc.semi import objective
from jaxqc.semi.cost import passes
from jaxqc.semi.frozen import Frozen, init_frozen
from jaxqc.semi.method import SemiMethod
from jaxqc.semi.network import EncoderDecoder
from jaxqc.semi.recipe import preset
from jaxqc.semi.setting import Setting
from tests.semi.test_objective import QUICK, B, K, S, U, batch_of

C = 8


def decode(p: Any, features: Any, size: Any) -> Any:
    logits = features[0][:, ::2, ::2] @ p["head"] * 3
    return logits if size is None else resize_align_corners(logits, *size)


seen: list[int] = []


def encode(p: Any, image: Any) -> Any:
    seen.append(len(image))
    return (jnp.tanh(image @ p["encoder"]),)


NETWORK = EncoderDecoder(encode, decode)


def params_of(rng: np.random.Generator, lead: tuple[int, ...] = ()) -> Any:
    return {
        "encoder": rng.normal(size=(*lead, 3, C)).astype(np.float32),
        "head": rng.normal(size=(*lead, C, K)).astype(np.float32),
    }


def run(config: Any, student: Any, frozen: Any, batch: Any, compiled: bool = True) -> Any:
    loss = lambda s: objective.semi_loss(Setting(config, NETWORK, total_steps=9), s, frozen, batch, jax.random.key(1))
    both = jax.value_and_grad(loss, has_aux=True)
    return jax.jit(both, compiler_options=QUICK)(student) if compiled else jax.eval_shape(both, student)


def case(name: str, rng: np.random.Generator) -> Any:
    config = preset(name)
    batch = jax.tree.map(jnp.asarray, batch_of(config, rng))
    student = params_of(rng)
    frozen = init_frozen(config, student)
    teacher = params_of(rng, (2,) if config.teachers == 2 else ()) if frozen.teacher is not None else None
    clock = None if frozen.clock is None else jnp.int32(99)
    return config, batch, student, dataclasses.replace(frozen, teacher=teacher, clock=clock)


@pytest.mark.parametrize("name", ["unimatch_v2", "unimatch_v1"])
def test_chunks_change_nothing(name: str, rng: np.random.Generator) -> None:
    config, batch, student, frozen = case(name, rng)
    whole = run(config, student, frozen, batch)
    parts = run(dataclasses.replace(config, chunk=2), student, frozen, batch)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(b, a, rtol=2e-4, atol=1e-5), whole, parts)


@pytest.mark.parametrize("name", ["unimatch_v1", "mvpmatch", "ps_mt_released"])
def test_a_frozen_encoder_sees_the_weak_view_once(name: str, rng: np.random.Generator) -> None:
    """As with equal encoders of student, teacher and past models, of which only the head learns."""
    config, batch, student, frozen = case(name, rng)
    if frozen.teacher is not None:
        like = np.broadcast_to(student["encoder"], frozen.teacher["encoder"].shape)
        frozen = dataclasses.replace(frozen, teacher={**frozen.teacher, "encoder": like})
    if frozen.history is not None:
        from jaxqc.semi import history

        queue = history.empty(student, 8, jnp.float32)
        for _ in range(3):
            queue = history.push(queue, {**params_of(rng), "encoder": student["encoder"]})
        frozen = dataclasses.replace(frozen, history=queue)
    (loss, (logs, _)), gradient = run(config, student, frozen, batch)
    fixed = dataclasses.replace(config, freeze=True)
    (found, (others, _)), other = run(fixed, student, frozen, batch)
    assert float(found) == pytest.approx(float(loss), rel=1e-5)
    np.testing.assert_allclose(other["head"], gradient["head"], rtol=1e-4, atol=1e-6)
    assert not np.asarray(other["encoder"]).any()
    assert logs.keys() == others.keys()
    seen.clear()
    run(fixed, student, frozen, batch, compiled=False)
    assert sum(seen) == B + (config.views + 1) * U
    assert passes(fixed)[0] == config.views + 2


def test_nothing_of_a_frozen_encoder_moves(rng: np.random.Generator) -> None:
    config = preset("unimatch_v2", freeze=True)
    method = SemiMethod(config, ("a",) * K, NETWORK, lambda key: params_of(rng))
    student = jax.tree.map(jnp.asarray, params_of(rng))
    assert not np.asarray(method.rates(student)["encoder"]).any()
    extra = Frozen({**params_of(rng), "encoder": student["encoder"]})
    for step in range(1, 5):
        extra = method.after_step(extra, student, jnp.int32(step))
    np.testing.assert_array_equal(extra.teacher["encoder"], student["encoder"])


def test_memory_is_less_by_the_compilers_plan() -> None:
    """A backward pass with 40 classes needs one image's logits at full size, not those of all twelve."""
    side, classes = 64, 40
    shapes = {"encoder": (3, C), "head": (C, classes)}
    student = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()}
    like = lambda *shape, dtype=jnp.float32: jax.ShapeDtypeStruct(shape, dtype)
    image = like(4, side, side, 3)
    batch = {"image": image, "mask": like(4, side, side, dtype=jnp.int32), "weak": image,
             "strong": like(2, 4, side, side, 3), "inside": like(2, 4, side, side, dtype=jnp.bool_),
             "valid": like(4, side, side, dtype=jnp.bool_)}  # fmt: skip
    used = {}
    for chunk in (0, 1):
        config = preset("unimatch_v2", chunk=chunk)
        loss = lambda s, t, b, config=config: objective.semi_loss(
            Setting(config, NETWORK), s, Frozen(t), b, jax.random.key(0)
        )
        planned = jax.jit(jax.grad(loss, has_aux=True)).lower(student, student, batch).compile().memory_analysis()
        assert planned is not None
        used[chunk] = planned.temp_size_in_bytes
    print({name: f"{size / 1e6:.1f} MB" for name, size in used.items()})
    assert used[1] < 0.6 * used[0]
    assert U < S  # the module's sizes are the small ones


@pytest.mark.parametrize("name", ["u2pl", "pixcon", "allspark", "cps"])
def test_what_does_not_go_together_is_refused(name: str) -> None:
    for changes in ({"chunk": 1}, {"freeze": True}):
        with pytest.raises(UserError, match="needs one student, labels by confidence"):
            preset(name, **changes)
