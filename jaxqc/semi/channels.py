"""AllSpark's memory (arXiv 2403.01818): each channel of an unlabelled image goes to the class that it resembles."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import lax
from jaxtyping import Array, Bool, Float, Int, UInt16

from jaxqc.nn.resizing import resize_align_corners
from jaxqc.semi import bank as banks
from jaxqc.semi.bank import Bank
from jaxqc.types import ArrayLike, Leaf


@struct.dataclass
class Channels:
    """A step's memory: channels over positions, as bits, and the class of each."""

    values: UInt16[Leaf, "..."]
    owner: Int[Leaf, "..."]


def channels_of(
    features: Float[ArrayLike, "u p c"],
    logits: Float[ArrayLike, "u height width k"],
    valid: Bool[ArrayLike, "u height width"],
    size: tuple[int, int],
) -> Channels:
    """The channels of images, each with the class whose map of logits is nearest to it by its cosine over positions.

    size: height and width of the features' grid, p = height · width. Positions that are mostly padding do not count.
    """
    features, logits, valid = jnp.asarray(features), jnp.asarray(logits), jnp.asarray(valid)
    u, _, c = features.shape
    small = lambda x: resize_align_corners(x.astype(jnp.float32), *size).reshape(u, -1, x.shape[-1])
    inside = small(valid[..., None]) > 0.5
    maps, channel = small(logits) * inside, lax.stop_gradient(features).astype(jnp.float32) * inside
    length = lambda x: jnp.sqrt(jnp.maximum(jnp.square(x).sum(1, keepdims=True), 1e-16))
    alike = jnp.einsum("upc,upk->uck", channel / length(channel), maps / length(maps))
    owner = jnp.where(inside.any((1, 2))[:, None], alike.argmax(-1), -1)
    values = banks.as_bits(lax.stop_gradient(features).swapaxes(1, 2).reshape(u * c, -1))
    return Channels(values, owner.reshape(-1).astype(jnp.int32))


def push(bank: Bank, seen: Channels) -> Bank:
    """The memory with the channels of all devices and micro-batches (the leading axis)."""
    return banks.push(bank, seen.values.reshape(-1, seen.values.shape[-1]), seen.owner.reshape(-1))


def memory_of(bank: Bank, begun: Any) -> tuple[Float[Array, "k c p"], Int[Array, " k"]]:
    """Values for `jaxqc.models.channel_attention`, and rows held; none before it has `begun`."""
    return bank.rows, jnp.where(begun, bank.count, 0)


def deepest(features: Any) -> Any:
    """The last of the encoder's features [n h w c], or its shape, on which the attention works."""
    return jax.tree.leaves(features)[-1]
