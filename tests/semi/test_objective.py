"""The family's loss, for every preset, against a plain numpy rendering with a linear network; and its odd cases."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.semi import dropout, history, objective
from jaxqc.semi.forward import sample_keys
from jaxqc.semi.frozen import Frozen, after_evaluation, after_step, init_frozen
from jaxqc.semi.network import EncoderDecoder
from jaxqc.semi.recipe import PRESETS, preset
from jaxqc.semi.setting import Setting

S, B, U, K, C = 6, 2, 3, 4, 5


def encode(p: Any, image: Any) -> Any:
    """Two features, a map and a sequence of tokens. Plain operators: takes numpy and jax arrays alike."""
    return {"map": image @ p["map"], "tokens": (image @ p["tokens"]).reshape(image.shape[0], -1, C)}


def decode(p: Any, features: Any, size: tuple[int, int]) -> Any:
    tokens = features["tokens"].reshape(*features["map"].shape[:3], C)
    return (features["map"] @ p["head"] + tokens @ p["other"]) * 3


NETWORK = EncoderDecoder(encode, decode)
QUICK = {"xla_backend_optimization_level": 1}
"""Compiled once and run once: optimising costs more than it saves."""
push, draw = jax.jit(history.push), jax.jit(history.draw, static_argnums=2)
both_views, one_view = jax.jit(dropout.complementary_dropout), jax.jit(dropout.channel_dropout)


def value_and_grad(config: Any, key: jax.Array, factors: np.ndarray | None = None) -> Any:
    """`(student, frozen, batch) → ((loss, logs), gradient)`, compiled."""
    setting = Setting(config, NETWORK, class_weights=factors)

    def loss(s: Any, f: Any, b: Any) -> Any:
        value, (logs, _) = objective.semi_loss(setting, s, f, b, key)
        return value, logs

    return jax.jit(jax.value_and_grad(loss, has_aux=True), compiler_options=QUICK)


def network_params(rng: np.random.Generator, lead: tuple[int, ...] = ()) -> Any:
    shapes = {"map": (3, C), "tokens": (3, C), "head": (C, K), "other": (C, K)}
    return {name: rng.normal(size=(*lead, *shape)).astype(np.float32) for name, shape in shapes.items()}


def batch_of(config: Any, rng: np.random.Generator) -> Any:
    v = config.views
    inside = np.zeros((v, U, S, S), bool)
    for i in range(v):
        inside[i, i % U, 1:4, 2 : 4 + i] = True
    return {
        "image": rng.normal(size=(B, S, S, 3)).astype(np.float32),
        "mask": rng.choice([0, 1, 2, 3, 255], (B, S, S)).astype(np.int32),
        "weak": rng.normal(size=(U, S, S, 3)).astype(np.float32),
        "strong": rng.normal(size=(v, U, S, S, 3)).astype(np.float32),
        "inside": inside,
        "valid": rng.random((U, S, S)) < 0.8,
        "truth": rng.choice([0, 1, 2, 3, 255], (U, S, S)).astype(np.int32),
    }


def of_eight(config: Any, rng: np.random.Generator) -> Any:
    """A batch of eight labelled and eight unlabelled images. No boxes: they are of a device's own batch."""
    batch = {k: np.asarray(v) for k, v in batch_of(config, rng).items()}
    batch = {k: np.concatenate([v] * 4, 1 if k in ("strong", "inside") else 0) for k, v in batch.items()}
    batch = {k: v[:, :8] if k in ("strong", "inside") else v[:8] for k, v in batch.items()}
    batch |= {k: v + rng.normal(size=v.shape).astype(np.float32) for k, v in batch.items() if v.dtype == np.float32}
    return batch | {"inside": np.zeros_like(batch["inside"])}


def dealt(batch: Any, devices: int) -> Any:
    """The batch with a leading axis of devices."""
    lead = lambda v: np.moveaxis(v.reshape(v.shape[0], devices, -1, *v.shape[2:]), 1, 0)
    return {k: lead(v) if k in ("strong", "inside") else v.reshape(devices, -1, *v.shape[1:]) for k, v in batch.items()}


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def entropy(logits: np.ndarray, label: np.ndarray) -> np.ndarray:
    return -np.log(np.take_along_axis(softmax(logits.astype(np.float64)), label[..., None], -1)[..., 0])


def rendering(
    config: Any, student: Any, weak: np.ndarray, past: np.ndarray | None, batch: Any, masks: Any, factors: np.ndarray
) -> Any:
    """The loss of one student by loops; masks: the dropout's factors, by number of the view and by feature; factors:
    of each class."""
    x = decode(student, encode(student, batch["image"]), (S, S))
    known = batch["mask"] != 255
    true = np.where(known, batch["mask"], 0)
    loss_x = (entropy(x, true) * factors[true])[known].mean()
    if not config.views:
        return loss_x

    def predicted(image: np.ndarray, factors: Any) -> np.ndarray:
        features = encode(student, image)
        if factors is not None:
            wide = {"map": factors["map"][:, None, None], "tokens": factors["tokens"][:, None]}
            features = {feature: values * wide[feature] for feature, values in features.items()}
        return decode(student, features, (S, S))

    def weighted(logits: np.ndarray, label: np.ndarray, weight: np.ndarray, valid: np.ndarray) -> float:
        return float((entropy(logits, label) * factors[label] * weight * valid).sum() / valid.sum())

    def term(probability: np.ndarray, bounds: Any, weights: Any) -> float:
        confidence, label = probability.max(-1), probability.argmax(-1)
        weight = np.zeros(confidence.shape)
        for bound, value in zip(bounds, weights, strict=True):
            weight[confidence > bound] = value
        total = 0.0
        for i in range(config.views):
            mixed = [x.copy() for x in (label, weight, batch["valid"])]
            for n in range(U):
                at = batch["inside"][i, n]
                for new, old in zip(mixed, (label, weight, batch["valid"]), strict=True):
                    new[n][at] = old[U - 1 - n][at]
            total += weighted(predicted(batch["strong"][i], masks and masks.get(i)), *mixed) / config.views
        if config.perturbation == "weak":
            fed = weighted(predicted(batch["weak"], masks["weak"]), label, weight, batch["valid"])
            total = total / 2 + fed / 2
        return total

    loss_u = term(softmax(weak), config.tiers.bounds, config.tiers.weights)
    if past is not None:
        loss_u += config.history.mu * term(past, (config.history.threshold,), (1.0,))
    return (loss_x + loss_u) / 2


def dropout_masks(config: Any, key: jax.Array) -> Any:
    """The factors that the loss draws from this key."""
    keys = sample_keys(jax.random.split(key)[0], U, None)
    ones = {"map": jnp.ones((U, 1, 1, C)), "tokens": jnp.ones((U, 1, C))}
    plain = lambda tree: jax.tree.map(lambda f: np.asarray(f).reshape(U, C), tree)
    if config.perturbation == "complementary":
        return dict(enumerate(map(plain, both_views(ones, ones, keys))))
    return {"weak": plain(one_view(ones, keys))} if config.perturbation == "weak" else None


@pytest.mark.parametrize(
    ("name", "balanced"),
    [
        *((name, False) for name in PRESETS if not PRESETS[name].timed),
        ("supervised", True),
        ("mvpmatch", True),
        ("unimatch_v1", True),
    ],
)
def test_loss_equals_the_rendering(name: str, balanced: bool, rng: np.random.Generator) -> None:
    config = preset(name)
    factors = np.array([0.25, 0.5, 2.0, 4.0], np.float32) if balanced else np.ones(K, np.float32)
    batch = batch_of(config, rng)
    student = network_params(rng, (2,) if config.students == 2 else ())
    teacher = network_params(rng) if config.labels == "ema" else None
    queue, past, key = None, None, jax.random.key(4)
    if config.history.length:
        config = dataclasses.replace(
            config, history=dataclasses.replace(config.history, threshold=0.6, dtype="float32")
        )
        models = [network_params(rng) for _ in range(5)]
        queue = history.empty(models[0], 8, jnp.float32)
        for model in models:
            queue = push(queue, model)
        places, weights, k = draw(queue, jax.random.split(key)[1], 3)
        drawn = [models[int(places[i])] for i in range(int(k))]
        past = softmax(
            sum(float(weights[i]) * decode(p, encode(p, batch["weak"]), (S, S)) for i, p in enumerate(drawn))
        )
    (loss, logs), gradient = value_and_grad(config, key, factors if balanced else None)(
        student, Frozen(teacher, queue), batch
    )

    forward = lambda p: decode(p, encode(p, batch["weak"]), (S, S))
    if config.students == 2:
        both = [jax.tree.map(lambda x, i=i: x[i], student) for i in range(2)]
        expected = sum(rendering(config, both[i], forward(both[1 - i]), None, batch, None, factors) for i in range(2))
    else:
        weak = forward(teacher if config.labels == "ema" else student) if config.views else None
        expected = rendering(config, student, weak, past, batch, dropout_masks(config, key), factors)
        if weak is not None:
            confidence, label = softmax(weak).max(-1), softmax(weak).argmax(-1)
            counted = batch["valid"] & (batch["truth"] != 255)
            top = confidence > 0.95
            assert float(logs[f"tier{len(config.tiers.bounds)}_share"]) == pytest.approx(top[counted].mean(), rel=1e-5)
            right = (top & (label == batch["truth"]))[counted].mean()
            assert float(logs[f"tier{len(config.tiers.bounds)}_right"]) == pytest.approx(right, rel=1e-5)
            assert 0.02 < top[counted].mean() < 0.98  # the case tells something
    assert float(loss) == pytest.approx(float(expected), rel=2e-4)
    for leaf in jax.tree.leaves(gradient):
        assert np.isfinite(leaf).all()
        assert np.abs(leaf).max() > 0
    if past is not None:
        assert float(logs["drawn"]) == len(drawn)
        assert float(logs["loss_prev"]) > 0


def test_empty_queue_no_confident_pixel_and_no_label_are_defined(rng: np.random.Generator) -> None:
    config = preset("mvpmatch")
    batch = batch_of(config, rng)
    student = network_params(rng)
    run = value_and_grad(config, jax.random.key(0))
    frozen = init_frozen(config, student)
    (_, logs), _ = run(student, frozen, batch)
    assert float(logs["loss_prev"]) == 0
    assert float(logs["drawn"]) == 0
    unsure = jax.tree.map(jnp.zeros_like, frozen.teacher)
    for changes in ({}, {"mask": np.full((B, S, S), 255, np.int32)}, {"valid": np.zeros((U, S, S), bool)}):
        (loss, logs), gradient = run(student, frozen.replace(teacher=unsure), {**batch, **changes})
        assert float(logs["loss_u"]) == 0
        assert float(loss) == pytest.approx(float(logs["loss_x"]) / 2)
        assert (float(loss) == 0) == ("mask" in changes)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_frozen_models_follow_the_student(rng: np.random.Generator) -> None:
    config = preset("mvpmatch")
    first, second = network_params(rng), network_params(rng)
    frozen = init_frozen(config, first)
    frozen = after_step(config, frozen, second, jnp.int32(0))
    jax.tree.map(np.testing.assert_array_equal, frozen.teacher, second)
    frozen = after_evaluation(frozen, first, jnp.asarray(False))
    assert int(frozen.history.count) == 0
    frozen = after_evaluation(frozen, first, jnp.asarray(True))
    assert int(frozen.history.count) == 1
    kept = history.model_at(frozen.history, jnp.int32(0), first)
    np.testing.assert_allclose(kept["head"], first["head"], rtol=2**-8)
    nothing = init_frozen(preset("supervised"), first)
    assert jax.tree.leaves(after_evaluation(after_step(config, nothing, first, jnp.int32(0)), first, True)) == []


def test_views_of_a_raw_batch(rng: np.random.Generator) -> None:
    config = preset("unimatch_v2")
    raw = {
        "image": rng.integers(0, 256, (B, 16, 16, 3)).astype(np.uint8),
        "mask": rng.choice([0, 255], (B, 16, 16)).astype(np.uint8),
        "unlabeled": rng.integers(0, 256, (U, 16, 16, 3)).astype(np.uint8),
        "valid": np.ones((U, 16, 16), bool),
    }
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
    keys = jax.random.split(jax.random.key(1), U)
    run = jax.jit(lambda b, k: objective.prepare(config, b, k, mean, std), compiler_options=QUICK)
    out = run(raw, keys)
    np.testing.assert_allclose(out["weak"], (raw["unlabeled"] / 255 - mean) / std, atol=1e-5)
    assert out["strong"].shape == (2, U, 16, 16, 3)
    assert np.abs(np.asarray(out["strong"][0] - out["strong"][1])).max() > 0.1
    assert "truth" not in out
    only = dataclasses.replace(config, photometric=preset("cps").photometric, cutmix=preset("cps").cutmix)
    out = jax.jit(lambda b, k: objective.prepare(only, b, k, mean, std), compiler_options=QUICK)(raw, keys)
    inside = np.asarray(out["inside"])
    assert inside.any((2, 3)).all()
    for i in range(2):
        expected = np.where(inside[i][..., None], np.asarray(out["weak"])[::-1], out["weak"])
        np.testing.assert_allclose(out["strong"][i], expected, atol=1e-6)
    assert (inside[0] != inside[1]).any()
    supervised = objective.prepare(preset("supervised"), jax.tree.map(jnp.asarray, raw), keys, mean, std)
    assert set(supervised) == {"image", "mask"}
