"""PS-MT: two teachers that take turns, pixels weighed by confidence, a ramp, and noise that moves the answer."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.errors import UserError
from jaxqc.semi import noise, objective, teachers
from jaxqc.semi.cost import passes
from jaxqc.semi.forward import noisy
from jaxqc.semi.frozen import Frozen, after_step, init_frozen
from jaxqc.semi.recipe import NoiseConfig, SemiConfig, preset
from jaxqc.semi.setting import Setting
from jaxqc.types import AXIS
from tests.semi.test_objective import (
    NETWORK,
    QUICK,
    B,
    C,
    S,
    U,
    batch_of,
    dealt,
    decode,
    encode,
    entropy,
    network_params,
    of_eight,
    softmax,
)

EPOCH_STEPS = 2
RELEASED = preset("ps_mt_released")


def loss_of(config: SemiConfig) -> Any:
    """`(student, frozen, batch) → (loss, logs)`, compiled."""
    setting = Setting(config, NETWORK, epoch_steps=EPOCH_STEPS)

    def run(s: Any, f: Any, b: Any) -> Any:
        loss, (logs, _) = objective.semi_loss(setting, s, f, b, jax.random.key(2))
        return loss, logs

    return jax.jit(run, compiler_options=QUICK)


@pytest.fixture(scope="module")
def released() -> Any:
    return loss_of(RELEASED)


@pytest.mark.parametrize(("epoch", "ramp"), [(0, 0.0), (5, 0.0), (11, 0.75), (17, 1.5), (40, 1.5)])
def test_loss_equals_a_rendering(released: Any, epoch: int, ramp: float, rng: np.random.Generator) -> None:
    """Σ 1(c > .6) c CE / Σ 1(c > .6) of the teachers' mean, with CutMix, beside the labels' plain mean."""
    batch, student = batch_of(RELEASED, rng), network_params(rng)
    both = network_params(rng, (2,))
    both = jax.tree.map(lambda x: 0.4 * x, both)  # less sure: pixels above and below
    loss, logs = released(student, Frozen(both, None, jnp.int32(epoch * EPOCH_STEPS)), batch)
    each = [
        decode(p, encode(p, batch["weak"]), (S, S)) for p in (jax.tree.map(lambda x, i=i: x[i], both) for i in (0, 1))
    ]
    mean = softmax((each[0] + each[1]) / 2)
    confidence, label = mean.max(-1), mean.argmax(-1)
    inside = batch["inside"][0][..., None]
    mixed = [np.where(inside[..., 0], x[::-1], x) for x in (confidence, label, batch["valid"])]
    kept = (mixed[0] > 0.6) & mixed[2]
    assert 0.1 < kept.mean() < 0.9  # the case tells something
    logits = decode(student, encode(student, batch["strong"][0]), (S, S))
    loss_u = (mixed[0] * entropy(logits, mixed[1]))[kept].sum() / kept.sum()
    known = batch["mask"] != 255
    x = decode(student, encode(student, batch["image"]), (S, S))
    loss_x = entropy(x, np.where(known, batch["mask"], 0))[known].mean()
    assert float(logs["ramp"]) == pytest.approx(ramp, abs=1e-6)
    assert float(loss) == pytest.approx(loss_x + ramp * loss_u, rel=2e-4)


def test_no_confident_pixel_is_0(released: Any, rng: np.random.Generator) -> None:
    unsure = jax.tree.map(jnp.zeros_like, network_params(rng, (2,)))
    student = network_params(rng)
    loss, logs = released(student, Frozen(unsure, None, jnp.int32(99)), batch_of(RELEASED, rng))
    assert float(logs["loss_u"]) == 0
    assert float(loss) == float(logs["loss_x"])


@pytest.mark.parametrize("classes", [5, 9])
@pytest.mark.parametrize("epoch", [0.5, 1.0])
def test_the_resting_teacher_says_its_largest_classes(classes: int, epoch: float, rng: np.random.Generator) -> None:
    logits = rng.normal(size=(2, 3, classes)).astype(np.float32)
    lead, rest = (0, 1) if epoch < 1 else (1, 0)
    expected = logits.mean(0)
    for row in range(3):
        for small in np.argsort(logits[rest, row])[: max(0, classes - 7)]:
            expected[row, small] = logits[lead, row, small]
    np.testing.assert_allclose(teachers.common_logits(logits, epoch), expected, rtol=1e-6)


def test_teachers_take_turns_and_are_copies_while_warm(rng: np.random.Generator) -> None:
    config = dataclasses.replace(RELEASED, unsup=dataclasses.replace(RELEASED.unsup, warm_epochs=2.0))
    first, second = network_params(rng), network_params(rng)
    move = jax.jit(lambda f, s, step: after_step(config, f, s, step, EPOCH_STEPS))
    frozen = init_frozen(config, first)
    own = lambda frozen, i: np.asarray(frozen.teacher["head"][i])
    frozen = move(frozen, second, jnp.int32(0))
    assert np.array_equal(own(frozen, 0), second["head"])
    assert np.array_equal(own(frozen, 1), first["head"])
    assert int(frozen.clock) == 1
    frozen = move(frozen, first, jnp.int32(5))  # the third epoch
    np.testing.assert_allclose(own(frozen, 0), 0.996 * second["head"] + 0.004 * first["head"], rtol=1e-5)
    frozen = move(frozen, second, jnp.int32(7))
    np.testing.assert_allclose(own(frozen, 1), 0.996 * first["head"] + 0.004 * second["head"], rtol=1e-5)


def test_noise_goes_where_a_linear_decoder_moves_most(rng: np.random.Generator) -> None:
    """For z = f W the divergence has the Hessian W (diag q − q qᵀ) Wᵀ; its product with the step is the way."""
    f, w = rng.normal(size=(U, S, S, C)).astype(np.float32), rng.normal(size=(C, 4)).astype(np.float32)
    keys = jax.random.split(jax.random.key(3), U)
    found = np.asarray(jax.jit(lambda f: noise.adversarial(lambda x: x @ w, f, keys, 0.1, 2.0))(f))
    start = jax.vmap(lambda k: jax.random.uniform(jax.random.fold_in(k, 0), f.shape[1:], minval=-0.5, maxval=0.5))(keys)
    start = np.asarray(noise.unit_length(start), np.float64)
    q = softmax(f.astype(np.float64) @ w)
    hessian = np.einsum("bhwk,kl->bhwkl", q, np.eye(4)) - np.einsum("bhwk,bhwl->bhwkl", q, q)
    way = np.einsum("ck,bhwkl,dl,bhwd->bhwc", w, hessian, w, start)
    for own, expected in zip(found, way, strict=True):
        assert np.linalg.norm(own) == pytest.approx(2, rel=1e-5)
        assert (own * expected).sum() / np.linalg.norm(own) / np.linalg.norm(expected) > 0.999
    flat = noise.adversarial(lambda x: x @ np.zeros((C, 4)), f, keys, 0.1, 2.0)
    assert not np.asarray(flat).any()


def test_noise_is_added_and_nothing_is_learned_through_it(rng: np.random.Generator) -> None:
    config = dataclasses.replace(RELEASED, noise=NoiseConfig(eps=2.0))
    drawn = batch_of(config, rng), network_params(rng), network_params(rng, (2,))
    batch, student, both = jax.tree.map(jnp.asarray, drawn)
    frozen, key = Frozen(both, None, jnp.int32(99)), jax.random.key(2)
    setting = Setting(config, NETWORK, epoch_steps=EPOCH_STEPS)
    whole = lambda s: objective.semi_loss(setting, s, frozen, batch, key)[0]
    pieces = [encode(student, batch["image"]), encode(student, batch["strong"][0])]
    drop_key, _ = jax.random.split(key)
    moved = jax.jit(lambda pieces: noisy(config, NETWORK, both, pieces, (S, S), drop_key, None))(pieces)
    added = jax.tree.map(lambda a, b: np.concatenate([x - y for x, y in zip(a, b, strict=True)]),
                         [tuple(p[name] for p in moved) for name in ("map", "tokens")],
                         [tuple(p[name] for p in pieces) for name in ("map", "tokens")],
                         is_leaf=lambda x: isinstance(x, tuple))  # fmt: skip
    lengths = np.sqrt(sum(np.square(x.reshape(B + U, -1)).sum(1) for x in added))
    np.testing.assert_allclose(lengths, 2, rtol=1e-4)

    def fixed(s: Any) -> jax.Array:
        """The same loss, where the noise is given and not computed."""
        given = dict(zip(("map", "tokens"), added, strict=True))
        network = dataclasses.replace(NETWORK, decode=lambda p, f, size: decode(p, given_to(f, given), size))
        return objective.semi_loss(Setting(RELEASED, network, epoch_steps=EPOCH_STEPS), s, frozen, batch, key)[0]

    def given_to(f: Any, given: Any) -> Any:
        return {name: x + given[name] if len(x) == B + U else x for name, x in f.items()}

    both_ways = [jax.jit(jax.value_and_grad(f), compiler_options=QUICK)(student) for f in (whole, fixed)]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4), *both_ways)


def test_devices_are_one(rng: np.random.Generator) -> None:
    """Loss and gradient, with noise that is drawn by an image's place in the whole batch."""
    config = preset("ps_mt")
    n = min(4, jax.local_device_count())
    batch, student = of_eight(config, rng), network_params(rng)
    frozen = Frozen(network_params(rng, (2,)), None, jnp.int32(99))

    def step(axis: str | None) -> Any:
        def run(batch: Any) -> Any:
            setting = Setting(config, NETWORK, axis, epoch_steps=EPOCH_STEPS)
            loss = lambda s: objective.semi_loss(setting, s, frozen, batch, jax.random.key(7))[0]
            found = jax.value_and_grad(loss)(student)
            return found if axis is None else jax.lax.pmean(found, axis)

        return run

    one = jax.jit(step(None), compiler_options=QUICK)(batch)
    many = jax.pmap(step(AXIS), axis_name=AXIS, devices=jax.devices()[:n])(dealt(batch, n))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(b[0], a, rtol=1e-3, atol=1e-5), one, many)
    assert n > 1


def test_passes_are_the_pages(rng: np.random.Generator) -> None:
    assert passes(preset("ps_mt")) == (8, 20)
    assert passes(RELEASED) == (8, 8)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("ps_mt", {"labels": "self"}, "teachers=2: give 1, or 2 with labels='ema'"),
        ("mvpmatch", {"teachers": 2}, "teachers=2: give 1, or 2 with labels='ema' and history.length=0"),
        ("unimatch_v1", {"noise": NoiseConfig(eps=1.0)}, "noise.eps=1.0 needs labels='ema' and views"),
    ],
)
def test_what_does_not_go_together_is_refused(name: str, changes: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        preset(name, **changes)
