"""A contrastive loss of pixels against a bank of features (U2PL, arXiv 2203.03884; clean pixels: arXiv 2607.03068).

Every class counts by its own number, whether the batch shows it or not. What is drawn is drawn over the pixels of all
devices: first the labelled ones of all, then the unlabelled ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Key, UInt16

from jaxqc.semi import bank as banks
from jaxqc.semi.bank import Bank
from jaxqc.semi.settings import ContrastConfig
from jaxqc.types import ArrayLike, Leaf

Logs = dict[str, jax.Array]


@dataclass(frozen=True)
class Pixels:
    """Places of some images, labelled or not, and what each may serve as.

    student, teacher: features [n h w d]. certain: the class that a place surely is of. anchor: the class for which it
    is compared. kept: the classes for which it may enter the bank. keys: one an image.
    """

    student: Float[Array, "n h w d"]
    teacher: Float[Array, "n h w d"]
    certain: Bool[Array, "n h w k"]
    anchor: Bool[Array, "n h w k"]
    kept: Bool[Array, "n h w k"]
    keys: Key[Array, " n"]


@struct.dataclass
class Rows:
    """A step's memory: for each class its rows (as bits), and the draws by which some of all devices' are kept;
    below 0 where there is no row."""

    values: UInt16[Leaf, "..."]
    draws: Float[Leaf, "..."]


def unit(x: Float[ArrayLike, "*shape d"]) -> Float[Array, "*shape d"]:
    """Vectors of length 1, in float32; zeros stay zeros."""
    x = jnp.asarray(x, jnp.float32)
    return x * lax.rsqrt(jnp.maximum(jnp.square(x).sum(-1, keepdims=True), 1e-16))


def contrast(
    config: ContrastConfig, parts: Sequence[Pixels], bank: Bank, key: Key[Array, ""], axis: str | None = None
) -> tuple[Float[Array, ""], Rows, Logs]:
    """The mean over classes with certain pixels of the mean over their anchors; a class without anchors or rows is 0.

    An anchor's loss is the cross entropy of cosines over the temperature. `mean`: the positive is the mean of the
    teacher's features of its class's certain pixels, the negatives are drawn from the class's bank, which holds pixels
    that might be of the class and are not. `clean`: the positives are the rows of its class's bank, the others those of
    all banks (the mean over positives of their cross entropies).

    key: the same on all devices. Logs: `loss_c`, `anchors` (classes that have some, times their number) and
    `bank_fill` (share of the bank's places that hold a row).
    """
    classes, length = bank.values.shape[:2]
    anchor_key, row_key = jax.random.split(key)
    anchors, mine, found = _anchors(parts, config.anchors, anchor_key, axis)
    rows, held = bank.rows, jnp.arange(length) < bank.count[:, None]
    if config.positives == "mean":
        sums = [jnp.einsum("nhwk,nhwd->kd", p.certain.astype(jnp.float32), p.teacher) for p in parts]
        cosines = jnp.einsum("kad,knd->kan", anchors, rows) / config.temperature
        u = jax.random.uniform(row_key, (classes, config.anchors, config.negatives))
        place = jnp.minimum((u * bank.count[:, None, None]).astype(jnp.int32), length - 1)
        negatives = jnp.take_along_axis(cosines, place, 2)
        positive = jnp.einsum("kad,kd->ka", anchors, unit(_over(sum(sums), axis))) / config.temperature
        each = jax.nn.logsumexp(jnp.concatenate([positive[..., None], negatives], -1), -1) - positive
    else:
        cosines = jnp.einsum("kad,jnd->kajn", anchors, rows) / config.temperature
        whole = jax.nn.logsumexp(cosines, (-2, -1), where=held)
        own = jnp.einsum("kakn->kan", cosines)
        each = whole - jnp.where(held[:, None], own, 0).sum(-1) / jnp.maximum(bank.count, 1)[:, None]
    certain = _over(sum(p.certain.sum((0, 1, 2), dtype=jnp.float32) for p in parts), axis)
    counted = (found > 0) & (bank.count > 0)
    if config.positives == "clean":
        counted &= held.sum() > bank.count  # with one class in the bank there is nothing to tell apart
    of_class = jnp.where(mine, each, 0.0).sum(1) / config.anchors
    loss = jnp.where(counted, of_class, 0.0).sum() / jnp.maximum((certain > 0).sum(), 1)
    if axis is not None:  # each device has its own anchors' share, and the mean over devices is taken
        loss = loss * lax.psum(1, axis)
    fill = bank.count.sum() / (classes * length)
    compared = (found > 0).sum() * jnp.float32(config.anchors)
    return loss, _rows(parts, config.push), {"loss_c": loss, "anchors": compared, "bank_fill": fill}


def push(config: ContrastConfig, bank: Bank, seen: Rows) -> Bank:
    """The bank with the rows of a step, drawn anew among those of all devices and micro-batches (the leading axis)."""
    classes, width = bank.values.shape[0], bank.values.shape[2]
    draws = jnp.moveaxis(seen.draws, 0, 1).reshape(classes, -1)
    values = jnp.moveaxis(seen.values, 0, 1).reshape(classes, -1, width)
    best, place = lax.top_k(draws, config.push)
    rows = jnp.take_along_axis(values, place[..., None], 1)
    owner = jnp.where(best >= 0, jnp.arange(classes)[:, None], -1)
    return banks.push(bank, rows.reshape(-1, width), owner.ravel())


def _over(x: Any, axis: str | None) -> Any:
    return x if axis is None else lax.psum(x, axis)


def _anchors(
    parts: Sequence[Pixels], number: int, key: Key[Array, ""], axis: str | None
) -> tuple[Float[Array, "k a d"], Bool[Array, "k a"], Float[Array, " k"]]:
    """Unit features of each class's anchors, drawn with replacement; which of them lie on this device; and how many
    pixels of each class there were to draw from, on all devices."""
    masks = [p.anchor.reshape(-1, p.anchor.shape[-1]) for p in parts]
    own = jnp.stack([m.sum(0, dtype=jnp.int32) for m in masks])  # [part k]
    everywhere = own[:, None] if axis is None else lax.all_gather(own, axis, axis=1)  # [part device k]
    flat = everywhere.reshape(-1, own.shape[-1])
    before = (jnp.cumsum(flat, 0) - flat).reshape(everywhere.shape)
    here = 0 if axis is None else lax.axis_index(axis)
    first, total = before[:, here], flat.sum(0)
    u = jax.random.uniform(key, (own.shape[-1], number))
    rank = jnp.minimum((u * total[:, None]).astype(jnp.int32), total[:, None] - 1)  # [k a]
    local, mine = jnp.zeros_like(rank), jnp.zeros(rank.shape, bool)
    passed = jnp.zeros_like(total)
    for i in range(len(parts)):
        inside = (rank >= first[i][:, None]) & (rank < (first[i] + own[i])[:, None])
        local = jnp.where(inside, rank - first[i][:, None] + passed[:, None], local)
        mine, passed = mine | inside, passed + own[i]
    until = jnp.cumsum(jnp.concatenate(masks), 0, dtype=jnp.int32)
    place = jax.vmap(jnp.searchsorted, (1, 0))(until, local + 1)
    features = jnp.concatenate([p.student.reshape(-1, p.student.shape[-1]) for p in parts])
    return unit(features[jnp.minimum(place, len(features) - 1)]), mine, total.astype(jnp.float32)


def _rows(parts: Sequence[Pixels], number: int) -> Rows:
    """Up to so many unit features of the teacher for each class, of the pixels that may enter its bank."""
    draws, features = [], []
    for p in parts:
        shape = p.kept.shape[1:]
        drawn = jax.vmap(lambda key, shape=shape: jax.random.uniform(key, shape))(p.keys)
        draws.append(jnp.where(p.kept, drawn, -1.0).reshape(-1, shape[-1]))
        features.append(p.teacher.reshape(-1, p.teacher.shape[-1]))
    together, rows = jnp.concatenate(draws).T, jnp.concatenate(features)
    if (lack := number - together.shape[1]) > 0:
        together = jnp.pad(together, ((0, 0), (0, lack)), constant_values=-1.0)
        rows = jnp.pad(rows, ((0, lack), (0, 0)))
    best, place = lax.top_k(together, number)
    return jax.tree.map(lax.stop_gradient, Rows(banks.as_bits(unit(rows[place])), best))


def nearest(x: Array, size: tuple[int, int]) -> Array:
    """Maps [n h w ...] at a smaller size, each place that of the pixel at its upper left corner.

    Examples:
      >>> nearest(jnp.arange(4.0).reshape(1, 1, 4), (1, 2)).tolist()
      [[[0.0, 2.0]]]
    """
    rows, columns = (jnp.arange(new) * old // new for new, old in zip(size, x.shape[1:3], strict=True))
    return x[:, rows][:, :, columns]


def mean_pixels(
    config: ContrastConfig,
    probability: Float[Array, "n h w k"],
    label: Int[Array, "n h w"],
    certain: Bool[Array, "n h w"],
    uncertain: Bool[Array, "n h w"],
    labelled: bool,
) -> tuple[Bool[Array, "n h w k"], Bool[Array, "n h w k"], Bool[Array, "n h w k"]]:
    """`certain`, `anchor` and `kept` of `Pixels`, as U2PL's paper says them.

    Into the bank of class c come unlabelled uncertain pixels for which c has one of the middle ranks, and labelled ones
    that are not c where c is among the likeliest.
    """
    classes = probability.shape[-1]
    low, high = config.ranks(classes)
    is_class = (label[..., None] == jnp.arange(classes)) & certain[..., None]
    rank = jnp.argsort(jnp.argsort(-probability, -1), -1)
    if labelled:
        kept = certain[..., None] & ~is_class & (rank < low)
    else:
        kept = uncertain[..., None] & (rank >= low) & (rank < high)
    return is_class, is_class & (probability > config.sure), kept
