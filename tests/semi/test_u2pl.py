"""U2PL and the bank of clean pixels against plain loops: entropy, contrast, what is pushed; on one device and more."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.semi import bank as banks
from jaxqc.semi import contrast, history, objective
from jaxqc.semi.frozen import Frozen, after_step, init_frozen
from jaxqc.semi.network import EncoderDecoder
from jaxqc.semi.recipe import ContrastConfig, HistoryConfig, preset
from jaxqc.semi.setting import Setting
from jaxqc.types import AXIS
from tests.semi.test_objective import (
    QUICK,
    B,
    C,
    K,
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

D, TOTAL, STEP = 4, 100, 30
CONFIG = preset("u2pl")
SMALL = dataclasses.replace(
    CONFIG,
    unsup=dataclasses.replace(CONFIG.unsup, warm_epochs=0.0),
    contrast=ContrastConfig(weight=0.1, width=D, anchors=64, negatives=7, length=6, push=3, sure=0.2),
)
HEAD = np.random.default_rng(3).normal(size=(C, D)).astype(np.float32)


def places(p: Any, features: Any) -> Any:
    return features["map"][:, ::2, ::2] @ HEAD


NETWORK = EncoderDecoder(encode, decode, lambda p, f, size: (decode(p, f, size), places(p, f)))


def setting(config: Any, axis: str | None = None) -> Setting:
    return Setting(config, NETWORK, axis, epoch_steps=10, total_steps=TOTAL)


def loss_of(config: Any) -> Any:
    run = lambda s, f, b, key: objective.semi_loss(setting(config), s, f, b, key)
    return jax.jit(jax.value_and_grad(run, has_aux=True), compiler_options=QUICK)


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-8)


def a_bank(rng: np.random.Generator, counts: Any = (6, 2, 4, 0)) -> banks.Bank:
    bank = banks.empty(K, 6, D)
    for c, n in enumerate(counts):
        bank = banks.push(bank, banks.as_bits(unit(rng.normal(size=(n, D)))), np.full(n, c))
    return bank


def seen(config: Any, student: Any, teacher: Any, batch: Any) -> Any:
    """By loops: labels, kept pixels and their loss, and the pixels of U2PL's contrast."""
    weak = softmax(decode(teacher, encode(teacher, batch["weak"]), (S, S)))
    label = np.where(batch["inside"][0], weak.argmax(-1)[::-1], weak.argmax(-1))
    valid = np.where(batch["inside"][0], batch["valid"][::-1], batch["valid"])
    p = softmax(decode(teacher, encode(teacher, batch["strong"][0]), (S, S)))
    h = -(p * np.log(p + 1e-10)).sum(-1)
    share = 0.2 * (1 - STEP / TOTAL)
    kept = valid & (h < np.quantile(h[valid], 1 - share))
    logits = decode(student, encode(student, batch["strong"][0]), (S, S))
    n, k = valid.sum(), kept.sum()
    loss_u = n * entropy(logits, label)[kept].sum() / k**2
    low, high = valid & (h <= np.quantile(h[valid], share)), valid & (h >= np.quantile(h[valid], 1 - share))
    return label, p, low, high, loss_u, k / n


def of_places(config: Any, student: Any, teacher: Any, batch: Any) -> list[dict[str, Any]]:
    """A row a place of the grid, with all that is known of it."""
    label, p, low, high, _, _ = seen(config, student, teacher, batch)
    own = softmax(decode(teacher, encode(teacher, batch["image"]), (S, S)))
    rows = []
    for name, image, count in (("labelled", batch["image"], B), ("unlabelled", batch["strong"][0], U)):
        f, t = (np.asarray(places(q, encode(q, image))) for q in (student, teacher))
        for i in range(count):
            for y in range(0, S, 2):
                for x in range(0, S, 2):
                    known = name == "labelled"
                    truth = batch["mask"][i, y, x] if known else label[i, y, x]
                    chance = own[i, y, x] if known else p[i, y, x]
                    rows.append(
                        {
                            "labelled": known,
                            "student": unit(f[i, y // 2, x // 2]),
                            "teacher": t[i, y // 2, x // 2],
                            "label": int(truth),
                            "p": chance,
                            "low": truth != 255 if known else low[i, y, x],
                            "high": truth != 255 if known else high[i, y, x],
                        }
                    )
    return rows


def candidates(rows: list[dict[str, Any]], ranks: tuple[int, int]) -> list[list[np.ndarray]]:
    """Those that may enter each class's bank, by the paper."""
    found: list[list[np.ndarray]] = [[] for _ in range(K)]
    for row in rows:
        rank = {int(c): r for r, c in enumerate(np.argsort(-row["p"]))}
        for c in range(K):
            if row["labelled"]:
                fits = row["low"] and row["label"] != c and rank[c] < ranks[0]
            else:
                fits = row["high"] and ranks[0] <= rank[c] < ranks[1]
            if fits:
                found[c].append(unit(row["teacher"]))
    return found


def case(rng: np.random.Generator, config: Any = SMALL) -> Any:
    batch = batch_of(config, rng)
    student, teacher = network_params(rng), jax.tree.map(lambda x: 0.5 * x, network_params(rng))
    return jax.tree.map(np.asarray, batch), student, teacher


def test_entropy_selects_and_divides_as_the_paper(rng: np.random.Generator) -> None:
    batch, student, teacher = case(rng)
    frozen = Frozen(teacher, None, jnp.int32(STEP), a_bank(rng))
    (_, (logs, _)), _ = loss_of(SMALL)(student, frozen, batch, jax.random.key(1))
    *_, loss_u, share = seen(SMALL, student, teacher, batch)
    assert 0.7 < share < 0.9
    assert float(logs["kept"]) == pytest.approx(share, rel=1e-5)
    assert float(logs["loss_u"]) == pytest.approx(loss_u, rel=2e-4)


def test_contrast_is_that_of_loops(rng: np.random.Generator) -> None:
    """The mean over draws goes to the expectation over anchors and negatives, computed by loops for one negative."""
    config = dataclasses.replace(SMALL, contrast=dataclasses.replace(SMALL.contrast, negatives=1, anchors=512))
    batch, student, teacher = case(rng)
    bank = a_bank(rng)
    rows = of_places(config, student, teacher, batch)
    held, expected, present = np.asarray(bank.rows), [], 0
    for c in range(K):
        certain = [row for row in rows if row["low"] and row["label"] == c]
        present += bool(certain)
        anchors = [row for row in certain if row["p"][c] > 0.2]
        if not anchors or not int(bank.count[c]):
            continue
        positive = unit(np.mean([row["teacher"] for row in certain], 0))
        each = []
        for row in anchors:
            for negative in held[c][: int(bank.count[c])]:
                pair = np.array([row["student"] @ positive, row["student"] @ negative]) / 0.5
                each.append(np.log(np.exp(pair).sum()) - pair[0])
        expected.append(np.mean(each))
    assert len(expected) >= 2
    run, frozen = loss_of(config), Frozen(teacher, None, jnp.int32(STEP), bank)
    found = [run(student, frozen, batch, jax.random.key(i)) for i in range(12)]
    values = [float(logs["loss_c"]) for (_, (logs, _)), _ in found]
    assert np.mean(values) == pytest.approx(sum(expected) / present, rel=0.02)
    (loss, (logs, _)), gradient = found[0]
    assert float(loss) == pytest.approx(float(logs["loss_x"] + logs["loss_u"] + 0.1 * logs["loss_c"]), rel=1e-5)
    assert np.abs(gradient["map"]).max() > 0


def test_past_models_and_anchors_are_drawn_by_keys_of_their_own(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[Any] = []
    chance, none = jnp.full((U, S, S, K), 1 / K), jnp.float32(0)
    past = lambda past, run, like, key, *rest: used.append((key, 3)) or (chance, jnp.int32(1))
    anchors = lambda config, parts, bank, key, axis: used.append((key, 2)) or (none, (), {})
    monkeypatch.setattr(history, "mixed_probability", past)
    monkeypatch.setattr(contrast, "contrast", anchors)
    config = dataclasses.replace(SMALL, history=HistoryConfig(length=2, most=1))
    batch, student, teacher = case(rng, config)
    frozen = Frozen(teacher, history.empty(student, 2), jnp.int32(STEP), a_bank(rng))
    objective.semi_loss(setting(config), student, frozen, jax.tree.map(jnp.asarray, batch), jax.random.key(0))
    first, second = ({tuple(k) for k in jax.random.key_data(jax.random.split(*one)).tolist()} for one in used)
    assert not first & second


def test_what_is_pushed_are_the_papers_candidates(rng: np.random.Generator) -> None:
    batch, student, teacher = case(rng)
    frozen = Frozen(teacher, None, jnp.int32(STEP), a_bank(rng, (0, 0, 0, 0)))
    (_, (_, rows)), _ = loss_of(SMALL)(student, frozen, batch, jax.random.key(1))
    expected = candidates(of_places(SMALL, student, teacher, batch), SMALL.contrast.ranks(K))
    after = after_step(SMALL, frozen, student, jnp.int32(STEP), 10, jax.tree.map(lambda x: x[None], rows))
    assert after.bank is not None
    for c in range(K):
        count = int(after.bank.count[c])
        assert count == min(3, len(expected[c])) > 0
        for row in np.asarray(after.bank.rows[c][:count]):
            apart = np.abs(np.array(expected[c]) - row).max(1)
            assert apart.min() < 0.01


def test_classes_have_their_own_numbers(rng: np.random.Generator) -> None:
    """Permuting class numbers, of which the batch lacks one, permutes all: the published code shifts its banks."""
    batch, student, teacher = case(rng)
    batch["mask"] = np.where(batch["mask"] == 1, 255, batch["mask"])
    order = np.array([2, 0, 3, 1])  # new number → old one
    bank = a_bank(rng, (6, 6, 6, 6))
    mixed = lambda p: {**p, "head": p["head"][:, order], "other": p["other"][:, order]}
    inverse = np.append(np.argsort(order), np.zeros(252, int)).astype(np.int32)
    inverse[255] = 255
    moved = {**batch, "mask": inverse[batch["mask"]]}
    shuffled = jax.tree.map(lambda x: x[order], bank)
    config = dataclasses.replace(SMALL, contrast=dataclasses.replace(SMALL.contrast, anchors=2048, negatives=64))
    run, key = loss_of(config), jax.random.key(1)
    (_, (one, rows)), _ = run(student, Frozen(teacher, None, jnp.int32(STEP), bank), batch, key)
    (_, (two, others)), _ = run(mixed(student), Frozen(mixed(teacher), None, jnp.int32(STEP), shuffled), moved, key)
    assert float(one["loss_u"]) == pytest.approx(float(two["loss_u"]), rel=1e-4)
    assert float(one["loss_c"]) == pytest.approx(float(two["loss_c"]), rel=0.02)  # other draws
    assert np.array_equal((np.asarray(rows.draws)[order] >= 0).sum(1), (np.asarray(others.draws) >= 0).sum(1))


@pytest.mark.parametrize("name", ["u2pl", "pixcon"])
def test_eight_devices_are_one(name: str, rng: np.random.Generator) -> None:
    """Loss, gradient and bank: what is drawn is drawn over the pixels of all devices."""
    config = dataclasses.replace(SMALL if name == "u2pl" else preset(name), perturbation="none")
    if name == "pixcon":
        config = dataclasses.replace(config, contrast=dataclasses.replace(SMALL.contrast, positives="clean"))
    n = min(8, jax.local_device_count())
    cut = of_eight(config, rng)
    student, teacher, bank = network_params(rng), network_params(rng), a_bank(rng)
    frozen = Frozen(teacher, None, jnp.int32(STEP), bank)

    def step(axis: str | None) -> Any:
        def run(batch: Any) -> Any:
            loss = lambda s: objective.semi_loss(setting(config, axis), s, frozen, batch, jax.random.key(7))
            (value, (logs, rows)), gradient = jax.value_and_grad(loss, has_aux=True)(student)
            if axis is None:
                return value, logs, gradient, jax.tree.map(lambda x: x[None], rows)
            rows = jax.tree.map(lambda x: jax.lax.all_gather(x, axis), rows)
            return *jax.lax.pmean((value, logs, gradient), axis), rows

        return run

    one = jax.jit(step(None), compiler_options=QUICK)(cut)
    many = jax.pmap(step(AXIS), axis_name=AXIS, devices=jax.devices()[:n])(dealt(cut, n))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(b[0], a, rtol=1e-4, atol=1e-5), one[:3], many[:3])
    push = jax.jit(lambda rows: contrast.push(config.contrast, bank, rows))
    expected, found = push(one[3]), push(jax.tree.map(lambda x: x[0], many[3]))
    np.testing.assert_array_equal(found.count, expected.count)
    np.testing.assert_allclose(found.rows, expected.rows, atol=0.01)
    assert n > 1


def test_a_batch_without_certain_pixels_is_0(rng: np.random.Generator) -> None:
    batch, student, teacher = case(rng)
    batch |= {"mask": np.full_like(batch["mask"], 255), "valid": np.zeros_like(batch["valid"])}
    frozen = Frozen(teacher, None, jnp.int32(STEP), a_bank(rng))
    (loss, (logs, rows)), gradient = loss_of(SMALL)(student, frozen, batch, jax.random.key(1))
    assert float(loss) == float(logs["loss_c"]) == float(logs["anchors"]) == 0
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(gradient))
    assert (np.asarray(rows.draws) < 0).all()


def test_teacher_is_a_copy_while_warm_and_averages_after(rng: np.random.Generator) -> None:
    config = dataclasses.replace(CONFIG, contrast=SMALL.contrast)
    first, second = network_params(rng), network_params(rng)
    frozen = init_frozen(config, first, K)
    nothing = contrast.Rows(jnp.zeros((1, K, 3, D), jnp.uint16), jnp.full((1, K, 3), -1.0))
    move = jax.jit(lambda f, s, step: after_step(config, f, s, step, 10, nothing))
    for step in (9, 10):  # the last warm step, and the first of the average's own count
        moved = move(frozen, second, jnp.int32(step))
        np.testing.assert_array_equal(moved.teacher["head"], second["head"])
    moved = move(frozen, second, jnp.int32(11))
    np.testing.assert_allclose(moved.teacher["head"], (first["head"] + second["head"]) / 2, rtol=1e-6)
    assert int(moved.bank.count.sum()) == 0
