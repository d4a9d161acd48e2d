"""The queue of past models and the teacher: order, capacity, the draw's statistics, the mixture, the empty queue."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.semi import ema, history
from jaxqc.semi.losses import unsupervised_loss
from jaxqc.semi.tiers import tier_weight


def model(value: float) -> dict[str, Any]:
    return {"w": jnp.full((3, 4), float(value)), "b": jnp.arange(4.0) * value}


def filled(count: int, length: int, dtype: Any = jnp.float32) -> history.History:
    queue = history.empty(model(0), length, dtype)
    for i in range(count):
        queue = push(queue, model(i + 1.0))
    return queue


push = jax.jit(history.push, donate_argnums=0)
draw = jax.jit(history.draw, static_argnums=2)


def test_first_in_first_out_and_capacity() -> None:
    queue = filled(0, 3)
    for pushed in range(1, 9):
        queue = push(queue, model(float(pushed)))
        held = {float(w[0, 0]) for w in np.asarray(queue.params["w"])} - {0.0}
        assert held == {float(i) for i in range(max(1, pushed - 2), pushed + 1)}
        assert int(queue.count) == min(pushed, 3)
        assert int(queue.next) == pushed % 3
        np.testing.assert_array_equal(queue.params["b"][(pushed - 1) % 3], np.arange(4) * pushed)


def test_a_push_that_is_not_due_changes_nothing() -> None:
    queue = filled(2, 3)
    before = jax.device_get(queue)
    after = jax.device_get(jax.jit(history.push)(queue, model(9.0), jnp.asarray(False)))
    jax.tree.map(np.testing.assert_array_equal, jax.tree.leaves(after), jax.tree.leaves(before))


def test_models_are_kept_in_bfloat16_and_come_back_in_their_own_type() -> None:
    queue = push(
        history.empty({"w": jnp.zeros(2), "n": jnp.zeros((), jnp.int32)}, 2), {"w": jnp.full(2, 1 / 3), "n": 7}
    )
    assert queue.params["w"].nbytes == 2 * queue.params["w"].size
    like = {"w": jnp.zeros(2, jnp.float32), "n": jnp.zeros((), jnp.int32)}
    back = history.model_at(queue, jnp.int32(0), like)
    assert back["w"].dtype == jnp.float32
    np.testing.assert_allclose(back["w"], 1 / 3, rtol=2**-8)
    assert int(back["n"]) == 7


@pytest.mark.parametrize(("count", "most"), [(2, 3), (3, 20)])
def test_draw_is_uniform_without_replacement(count: int, most: int) -> None:
    queue = filled(count, 8)
    runs = 4000
    many = jax.jit(jax.vmap(lambda key: history.draw(queue, key, most)))
    places, weights, ks = (np.asarray(x) for x in many(jax.random.split(jax.random.key(1), runs)))
    limit = min(most, 8)
    expected = np.bincount(np.minimum(np.arange(1, limit + 1), count), minlength=limit + 1) / limit
    np.testing.assert_allclose(np.bincount(ks, minlength=limit + 1) / runs, expected, atol=0.03)
    taken = np.arange(limit)[None] < ks[:, None]
    assert (weights[~taken] == 0).all()
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-5)
    assert (places[taken] < count).all()
    for row, k in zip(places[:500], ks[:500], strict=True):
        assert len(set(row[:k])) == k
    share = np.bincount(places[taken], minlength=8) / taken.sum()
    np.testing.assert_allclose(share[:count], 1 / count, atol=0.02)


def test_weights_are_dirichlet() -> None:
    queue = filled(8, 8)
    _, weights, ks = (
        np.asarray(x) for x in jax.vmap(lambda k: draw(queue, k, 3))(jax.random.split(jax.random.key(2), 9000))
    )
    for k in (2, 3):
        w = weights[ks == k][:, :k]
        # Dirichlet(1, ..., 1) of k: means 1/k, variances (k − 1) / (k² (k + 1)).
        np.testing.assert_allclose(w.mean(0), 1 / k, atol=0.015)
        np.testing.assert_allclose(w.var(0), (k - 1) / (k**2 * (k + 1)), atol=0.006)
    np.testing.assert_allclose(weights[ks == 1], [[1, 0, 0]] * (ks == 1).sum(), rtol=1e-6)


@pytest.mark.parametrize("mix", ["logits", "probabilities"])
def test_mixture_equals_the_formula(mix: Any, rng: np.random.Generator) -> None:
    image = rng.normal(size=(2, 5, 3)).astype(np.float32)
    queue = history.empty(model(0), 4, jnp.float32)
    models = [{"w": rng.normal(size=(3, 4)), "b": rng.normal(size=4)} for _ in range(4)]
    for m in models:
        queue = push(queue, jax.tree.map(jnp.float32, m))

    def forward(p: Any) -> jax.Array:
        return image @ p["w"] + p["b"]

    mixed = jax.jit(lambda q, key: history.mixed_probability(q, forward, model(0), key, 3, mix))
    seen = set()
    for seed in range(12):
        key = jax.random.key(seed)
        probability, k = mixed(queue, key)
        places, weights, same = draw(queue, key, 3)
        assert int(k) == int(same)
        seen.add(int(k))
        total = np.zeros((2, 5, 4))
        for place, weight in zip(np.asarray(places)[: int(k)], np.asarray(weights)[: int(k)], strict=True):
            logits = image @ models[place]["w"] + models[place]["b"]
            total += weight * (logits if mix == "logits" else softmax(logits))
        expected = softmax(total) if mix == "logits" else total
        np.testing.assert_allclose(probability, expected, rtol=2e-4, atol=1e-6)
    assert seen == {1, 2, 3}


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize("mix", ["logits", "probabilities"])
def test_empty_queue_gives_exactly_zero(mix: Any) -> None:
    queue = filled(0, 4)
    student = jnp.ones((1, 2, 2, 3))

    def forward(p: Any) -> jax.Array:  # would poison the loss if it ran
        return jnp.full((1, 2, 2, 3), jnp.nan) * p["w"].sum()

    def objective(x: jax.Array) -> jax.Array:
        probability, k = history.mixed_probability(queue, forward, model(0), jax.random.key(0), 3, mix)
        weight = tier_weight(probability.max(-1), (0.0,), (1.0,)) * (k > 0)
        return unsupervised_loss(x, probability.argmax(-1), weight, jnp.ones((1, 2, 2), bool))

    value, gradient = jax.jit(jax.value_and_grad(objective))(student)
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros(student.shape))


def test_only_the_drawn_models_run() -> None:
    """k is dynamic: the loop calls the forward k times, not N or K times."""
    calls: list[int] = []

    def forward(p: Any) -> jax.Array:
        jax.debug.callback(lambda: calls.append(1))
        return jnp.zeros((1, 2)) * p["b"][0]

    mixed = jax.jit(lambda q, key: history.mixed_probability(q, forward, model(0), key, 3)[1])
    for count in (0, 1, 8):
        queue = filled(count, 8)
        for seed in range(4):
            calls.clear()
            k = int(mixed(queue, jax.random.key(seed)))
            jax.effects_barrier()
            assert len(calls) == k <= min(3, count)


def test_a_step_makes_no_copy_of_the_queue() -> None:
    """Converted or copied whole, a queue of 8 would cost more than the models that are drawn."""
    like = {"w": jnp.ones((256, 256))}
    queue = history.empty(like, 8)
    mixed = jax.jit(lambda q, key: history.mixed_probability(q, lambda p: jnp.ones((2, 256)) @ p["w"], like, key, 3)[0])
    memory = mixed.lower(queue, jax.random.key(0)).compile().memory_analysis()
    assert memory.temp_size_in_bytes < queue.params["w"].nbytes / 2


def test_teacher_begins_as_the_student_then_averages(rng: np.random.Generator) -> None:
    students = rng.normal(size=(600, 5)).astype(np.float32)
    teacher = jnp.full(5, 1e6)
    update = jax.jit(lambda t, s, i: ema.update(t, s, i))
    expected = np.zeros(5)
    for i in range(600):
        teacher = update(teacher, students[i], jnp.int32(i))
        decay = min(1 - 1 / (i + 1), 0.996)
        expected = decay * expected + (1 - decay) * students[i]
        if i == 0:
            np.testing.assert_array_equal(teacher, students[0])
        if i == 100:  # below 250 steps it is the plain mean of all students
            np.testing.assert_allclose(teacher, students[:101].mean(0), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(teacher, expected, rtol=1e-3, atol=1e-5)
    assert float(ema.decay_at(jnp.int32(10_000))) == pytest.approx(0.996)
