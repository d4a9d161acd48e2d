"""AllSpark's block (arXiv 2403.01818): labelled images find their channels again among those of unlabelled ones.

18 C² + 6 C parameters with two heads: a 1x1 convolution in and one out, two norms, and for each of the two attentions
query, key, value and output without bias.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Key

from jaxqc.nn.conv import Pointwise
from jaxqc.types import ArrayLike

EPSILON = 1e-6
DROPOUT = 0.1
weight_init = nn.initializers.truncated_normal(0.02)


def channel_attention(
    q: Float[Array, "*n p d"],
    k: Float[Array, "*n p m"],
    v: Float[Array, "*n p m"],
    held: Bool[Array, " m"] | None = None,
    key: Key[Array, ""] | None = None,
) -> Float[Array, "*n p d"]:
    """Each channel of q as a mixture of v's, by softmax over k's channels of IN(qᵀk).

    IN brings the whole map of an image to mean 0 and deviation 1. held: channels that count; the others stand outside
    the softmax and the statistics. key: drops a tenth of the weights.

    Examples:
      >>> x = jnp.ones((1, 4, 3))
      >>> channel_attention(x, x, x).shape
      (1, 4, 3)
    """
    scores = jnp.einsum("...pd,...pm->...dm", q, k).astype(jnp.float32)
    where = None if held is None else jnp.broadcast_to(held, scores.shape)
    mean = scores.mean((-2, -1), keepdims=True, where=where)
    spread = jnp.square(scores - mean).mean((-2, -1), keepdims=True, where=where)
    scores = (scores - mean) * lax.rsqrt(spread + 1e-5)
    weight = jax.nn.softmax(scores, -1, where=where)
    return jnp.einsum("...dm,...pm->...pd", dropped(weight, key), v.astype(jnp.float32))


def dropped(x: Array, key: Key[Array, ""] | None) -> Array:
    """A tenth of the values 0 and the others larger by as much; all as they are without a key."""
    if key is None:
        return x
    return jnp.where(jax.random.bernoulli(key, 1 - DROPOUT, x.shape), x / (1 - DROPOUT), 0.0)


class ChannelAttention(nn.Module):
    """The block on features [n h w width]; `relate` while training, `alone` in use.

    Examples:
      >>> block, x = ChannelAttention(8), jnp.ones((2, 3, 3, 8))
      >>> variables = jax.jit(block.init)(jax.random.key(0), x)
      >>> sum(leaf.size for leaf in jax.tree.leaves(variables)) == 18 * 8**2 + 6 * 8
      True
    """

    width: int
    heads: int = 2
    dtype: Any = jnp.float32

    def setup(self) -> None:
        wide = self.heads * self.width
        linear = lambda width: Pointwise(width, self.dtype, kernel_init=weight_init, use_bias=False)
        self.embed, self.out = (Pointwise(self.width, self.dtype, kernel_init=weight_init) for _ in range(2))
        self.norm1, self.norm2 = (nn.LayerNorm(EPSILON, self.dtype, use_fast_variance=False) for _ in range(2))
        self.query1, self.key1, self.value1 = linear(wide), linear(wide), linear(wide)
        self.query2, self.key2, self.value2 = linear(wide), linear(wide), linear(wide)
        self.mix1, self.mix2 = linear(self.width), linear(self.width)

    def __call__(self, x: Float[ArrayLike, "n h w c"]) -> Float[Array, "n h w c"]:
        """Both ways at once, so that all parameters are drawn."""
        return self.relate(x, x, None, None)[0]

    def alone(self, x: Float[ArrayLike, "n h w c"]) -> Float[Array, "n h w c"]:
        """Images as they are used: each attends to its own channels, whatever stands beside it."""
        e = self._embedded(x)
        return self._finished(e, self.mix1(channel_attention(self.query1(e), self.key1(e), self.value1(e))), x, None)

    def relate(
        self,
        labelled: Float[ArrayLike, "b h w c"],
        unlabelled: Float[ArrayLike, "u h w c"],
        memory: tuple[Float[ArrayLike, "k c p"], Int[ArrayLike, " k"]] | None,
        key: Key[Array, ""] | None,
    ) -> tuple[Float[Array, "b h w c"], Float[Array, "u h w c"], Float[Array, "u p c"]]:
        """Both kinds with what they found, and the unlabelled images' channels over positions, as a memory keeps them.

        Unlabelled images attend to their own channels, head by head; labelled ones to those of the memory's classes
        that have any, or of all unlabelled images where none has. memory: channels of each class (zeros where a place
        is empty), and how many there are; None = nothing held. key: of dropout; None = none.
        """
        keys: Any = (None,) * 4 if key is None else jax.random.split(key, 4)
        e, f = self._embedded(labelled), self._embedded(unlabelled)
        u, p, c = f.shape
        split = lambda x: x.reshape(u, p, self.heads, c).swapaxes(1, 2)
        own = channel_attention(*(split(g(f)) for g in (self.query2, self.key2, self.value2)), key=keys[0])
        other = self.mix2(own.swapaxes(1, 2).reshape(u, p, -1).astype(self.dtype))
        q, side = self.query1(e), lambda x: jnp.moveaxis(x, 0, 1).reshape(p, -1)
        batch = side(self.key1(f)), side(self.value1(f))
        of_batch = lambda: channel_attention(q, *self._each(batch, q), key=keys[1])
        if memory is None:
            found = of_batch()
        else:
            values, count = memory
            count = jnp.asarray(count)
            slots = jnp.moveaxis(jnp.asarray(values), 1, 2).astype(self.dtype)
            kept = side(self.key1(slots)), side(self.value1(slots))
            held = jnp.repeat(count > 0, self.heads * c)
            of_memory = lambda: channel_attention(q, *self._each(kept, q), held=held, key=keys[1])
            found = lax.cond((count > 0).any(), of_memory, of_batch)
        mixed = self.mix1(found.astype(self.dtype))
        first, second = self._finished(e, mixed, labelled, keys[2]), self._finished(f, other, unlabelled, keys[3])
        return first, second, f

    def _each(self, pair: Any, q: Array) -> Any:
        """The same keys and values for each of the labelled images."""
        return tuple(jnp.broadcast_to(x, (len(q), *x.shape)) for x in pair)

    def _embedded(self, x: ArrayLike) -> Array:
        n, h, w, c = x.shape
        return self.norm1(nn.gelu(self.embed(x), approximate=False)).reshape(n, h * w, c)

    def _finished(self, e: Array, found: Array, like: ArrayLike, key: Any) -> Array:
        x = self.norm2(e + dropped(found, key).astype(e.dtype))
        return nn.gelu(self.out(x.reshape(like.shape)), approximate=False)
