"""The bank of features: first in first out for each class, whatever its order in the batch, and past its length."""

from collections import deque
from typing import Any

import jax
import numpy as np
import pytest

from jaxqc.errors import UserError
from jaxqc.semi import bank, entropy
from jaxqc.semi.network import deployed
from jaxqc.semi.recipe import ContrastConfig, preset

push = jax.jit(bank.push)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_the_bank_is_a_queue_for_each_class(steps: int, rng: np.random.Generator) -> None:
    classes, length, width = 3, 4, 2
    found, expected = bank.empty(classes, length, width), [deque(maxlen=length) for _ in range(classes)]
    for _ in range(steps):
        rows = rng.integers(-100, 100, (7, width)).astype(np.float32)  # exact in bfloat16
        owner = rng.choice([-1, 0, 2, 2, 5], 7)
        found = push(found, bank.as_bits(rows), owner)
        for row, own in zip(rows, owner, strict=True):
            if 0 <= own < classes:
                expected[own].append(row)
    for c in range(classes):
        assert int(found.count[c]) == len(expected[c])
        start = int(found.next[c]) if len(expected[c]) == length else 0
        held = np.roll(np.asarray(found.rows[c]), -start, 0)[: len(expected[c])]
        np.testing.assert_array_equal(held, np.array(expected[c]).reshape(-1, width))
    assert int(found.count[1]) == 0


@pytest.mark.parametrize("share", [0.0, 0.13, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("sample", ["spread", "clumped", "few"])
def test_quantiles_are_numpys_to_a_step(share: float, sample: str, rng: np.random.Generator) -> None:
    classes = 5
    most = np.log(classes)
    values = {
        "spread": rng.uniform(0, most, 999),
        "clumped": np.concatenate([np.full(50, 0.01), rng.uniform(1.2, 1.3, 50)]),
        "few": np.array([0.2, 1.1, 1.5]),
    }[sample].astype(np.float32)
    counted = np.ones(len(values), bool)
    counted[-1] = False
    run = jax.jit(lambda v, c: entropy.quantile(entropy.histogram(v, c, classes), share, classes))
    assert float(run(values, counted)) == pytest.approx(np.quantile(values[:-1], share), abs=most / entropy.BINS)
    assert float(run(values, ~counted & False)) == 0


def test_entropy_is_that_of_the_softmax(rng: np.random.Generator) -> None:
    logits = rng.normal(size=(6, 4)).astype(np.float32) * 5
    p = np.exp(logits.astype(np.float64))
    p /= p.sum(-1, keepdims=True)
    np.testing.assert_allclose(entropy.entropy(logits), -(p * np.log(p + 1e-10)).sum(-1), atol=1e-5)


def test_few_classes_have_lower_ranks_or_are_refused() -> None:
    assert [ContrastConfig().ranks(k)[0] for k in (2, 3, 4, 8, 12, 21)] == [1, 1, 1, 2, 3, 3]
    with pytest.raises(UserError, match="low=3 of 2 classes leaves no class"):
        ContrastConfig(weight=0.1, low=3).ranks(2)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("u2pl", {"labels": "self"}, "select.by='entropy' needs labels='ema'"),
        ("u2pl", {"views": 2}, "select.by='entropy' needs labels='ema', teachers=1, views=1"),
        ("unimatch_v1", {"contrast": ContrastConfig(weight=1.0)}, "contrast.weight=1.0 needs labels='ema'"),
        ("u2pl", {"contrast": ContrastConfig(weight=1.0, push=99, length=9)}, "push=99 is more than the bank holds"),
    ],
)
def test_what_does_not_go_together_is_refused(name: str, changes: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        preset(name, **changes)


def test_the_head_of_places_serves_training_alone() -> None:
    params = {"encoder": {"a": 1}, "head": {"logits": 2, "represent": 3}}
    assert deployed(params) == {"encoder": {"a": 1}, "head": {"logits": 2}}
