"""Perturbation of encoder features: complementary channel dropout (UniMatch V2) and channel dropout (UniMatch V1).

Features are a pytree of arrays [b ... c]: token sequences [b n c] or maps [b h w c]. Each sample has a key.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

RATE = 0.5
"""Share of channels that a view loses, in both methods."""


def kept_whole(keys: Key[Array, " b"]) -> Bool[Array, " b"]:
    """A random choice of floor(b / 2) samples that are not perturbed.

    Examples:
      >>> int(jax.jit(lambda key: kept_whole(jax.random.split(key, 5)).sum())(jax.random.key(0)))
      2
    """
    draws = jax.vmap(jax.random.uniform)(keys)
    return jnp.argsort(jnp.argsort(draws)) < len(keys) // 2


def channel_mask(keys: Key[Array, " b"], channels: int) -> Float[Array, "b c"]:
    """0 or 2 a channel with probability one half each; the same mask for all features of so many channels.

    Examples:
      >>> mask = jax.jit(lambda key: channel_mask(jax.random.split(key), channels=64))(jax.random.key(0))
      >>> mask.shape, sorted(set(mask.ravel().tolist()))
      ((2, 64), [0.0, 2.0])
    """
    draw = lambda key: jax.random.bernoulli(jax.random.fold_in(key, channels), RATE, (channels,))
    return jax.vmap(draw)(keys) * jnp.float32(1 / RATE)


def complementary_masks(keys: Key[Array, " b"], channels: int) -> tuple[Float[Array, "b c"], Float[Array, "b c"]]:
    """The masks of the two views: m and 2 − m, m drawn from {0, 2}; ones in both for the samples of `kept_whole`.

    Examples:
      >>> masks = jax.jit(lambda key: complementary_masks(jax.random.split(key), channels=64))
      >>> first, second = jax.device_get(masks(jax.random.key(0)))
      >>> sorted(set((first + second).ravel().tolist()))
      [2.0]
    """
    whole = kept_whole(keys)[:, None]
    mask = jnp.where(whole, 1.0, channel_mask(keys, channels))
    return mask, 2 - mask


def complementary_dropout(first: Any, second: Any, keys: Key[Array, " b"]) -> tuple[Any, Any]:
    """The features of both strong views, each channel alive (and doubled) in exactly one of them.

    Features of as many channels share one mask, as UniMatch V2's four do.

    Examples:
      >>> x = [jnp.ones((2, 1, 1, 8))]
      >>> drop = jax.jit(lambda x, key: complementary_dropout(x, x, jax.random.split(key)))
      >>> first, second = jax.device_get(drop(x, jax.random.key(0)))
      >>> sorted(set((first[0] + second[0]).ravel().tolist()))
      [2.0]
    """
    masks = {c: complementary_masks(keys, c) for c in {x.shape[-1] for x in jax.tree.leaves(first)}}
    a, b = (jax.tree.map(lambda x, i=i: _spread(x, masks[x.shape[-1]][i]), f) for i, f in enumerate((first, second)))
    return a, b


def channel_dropout(features: Any, keys: Key[Array, " b"]) -> Any:
    """Whole channels set to 0 with probability one half, the others doubled; every feature has a mask of its own.

    Examples:
      >>> drop = jax.jit(lambda x, key: channel_dropout([x], jax.random.split(key))[0])
      >>> sorted(set(drop(jnp.ones((2, 4, 4, 64)), jax.random.key(0)).ravel().tolist()))
      [0.0, 2.0]
    """
    leaves, structure = jax.tree.flatten(features)
    own = [jax.vmap(jax.random.fold_in, (0, None))(keys, i) for i in range(len(leaves))]
    return structure.unflatten([_spread(x, channel_mask(key, x.shape[-1])) for x, key in zip(leaves, own, strict=True)])


def _spread(x: Array, mask: Float[Array, "b c"]) -> Array:
    return x * mask.reshape(len(mask), *[1] * (x.ndim - 2), -1).astype(x.dtype)
