"""A bank of clean pixels (`contrast.positives="clean"`): the labelled ones that the teacher calls rightly."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.semi import bank as banks
from jaxqc.semi import contrast
from jaxqc.semi.frozen import Frozen
from jaxqc.semi.recipe import ContrastConfig, preset
from tests.semi.test_objective import K
from tests.semi.test_u2pl import STEP, D, a_bank, case, loss_of, of_places, unit


def test_clean_pixels_are_the_labelled_ones_called_rightly(rng: np.random.Generator) -> None:
    config = preset("pixcon")
    small = ContrastConfig(weight=0.1, positives="clean", width=D, anchors=512, length=6, push=6)
    config = dataclasses.replace(config, contrast=small, tiers=dataclasses.replace(config.tiers, bounds=(0.5,)))
    batch, student, teacher = case(rng, config)
    bank = a_bank(rng)
    frozen = Frozen(teacher, None, jnp.int32(STEP), bank)
    run = loss_of(config)
    (_, (_, rows)), _ = run(student, frozen, batch, jax.random.key(0))
    grid = of_places(config, student, teacher, batch)
    for c in range(K):
        clean = [unit(r["teacher"]) for r in grid if r["labelled"] and r["label"] == c == r["p"].argmax()]
        draws = np.asarray(rows.draws[c])
        assert (draws >= 0).sum() == min(6, len(clean))
        for row in np.asarray(banks.as_values(rows.values[c]))[draws >= 0]:
            assert np.abs(np.array(clean) - row).max(1).min() < 0.01
    held = [np.asarray(bank.rows[c][: int(bank.count[c])]) for c in range(K)]
    anchors = np.array([unit(x) for x in rng.normal(size=(5, D))])
    every = np.concatenate(held)
    whole = np.log(np.exp(anchors @ every.T / 0.5).sum(1))
    expected = np.mean(whole[:, None] - anchors @ held[0].T / 0.5)  # class 0
    is0 = np.zeros((1, 1, 5, K), bool)
    is0[..., 0] = True
    is0, none = jnp.asarray(is0), jnp.zeros(is0.shape, bool)
    features = jnp.asarray(anchors, jnp.float32)[None, None]
    part = contrast.Pixels(features, features, is0, is0, none, jax.random.split(jax.random.key(0), 1))
    many = dataclasses.replace(small, anchors=20000)
    found = contrast.contrast(many, [part], bank, jax.random.key(5))[0]
    assert float(found) == pytest.approx(expected, rel=0.01)
