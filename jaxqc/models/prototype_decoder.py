"""A transformer that rebuilds another one's tokens from a few prototypes of the same image: INP-Former's student (arXiv
2503.02424).

What is normal in an image is there in many places, so that few prototypes hold it. Without a shortcut around attention
nothing but these comes through.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.models.vit_decoder import EPSILON, LinearMLP, answering, mean_tokens, weight_init
from jaxqc.nn.conv import Pointwise
from jaxqc.nn.unit import unit
from jaxqc.types import ArrayLike


def nearest_prototype(tokens: Float[ArrayLike, "n t d"], prototypes: Float[ArrayLike, "n p d"]) -> Float[Array, "n t"]:
    """One less the cosine of each token and the prototype next to it.

    Examples:
      >>> tokens, prototypes = jnp.array([[[2.0, 0.0], [0.0, 1.0]]]), jnp.array([[[1.0, 0.0], [-1.0, 0.0]]])
      >>> nearest_prototype(tokens, prototypes).tolist()
      [[0.0, 1.0]]
    """
    return 1.0 - jnp.einsum("ntd,npd->ntp", unit(tokens), unit(prototypes)).max(-1)


class CrossAttention(nn.Module):
    """Tokens x that attend to tokens y: [n t d], [n s d] → [n t d]; 4·d² + 4·d parameters.

    soft: by softmax. Else by the positive part of the cosine of query and key, with a factor for each head.
    """

    heads: int
    soft: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, y: jax.Array) -> jax.Array:
        d, apart = x.shape[-1], lambda x: x.reshape(*x.shape[:2], self.heads, -1)
        linear = lambda features, name: Pointwise(features, self.dtype, kernel_init=weight_init, name=name)
        q = apart(linear(d, "q")(x))
        k, v = map(apart, jnp.split(linear(2 * d, "kv")(y), 2, -1))
        if self.soft:
            weights = nn.softmax(jnp.einsum("nthe,nshe->nhts", q, k) * q.shape[-1] ** -0.5)
        else:
            scale = self.param("scale", nn.initializers.ones, (self.heads,))
            cosines = jnp.einsum("nthe,nshe->nhts", unit(q), unit(k))
            weights = nn.relu(cosines * scale[:, None, None]).astype(self.dtype)
        return linear(d, "proj")(jnp.einsum("nhts,nshe->nthe", weights, v).reshape(x.shape))


class CrossBlock(nn.Module):
    """Attention to other tokens, with a shortcut around it where `soft`, then x + mlp(norm(x))."""

    heads: int
    soft: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, y: jax.Array) -> jax.Array:
        norm = lambda name: nn.LayerNorm(epsilon=EPSILON, dtype=self.dtype, use_fast_variance=False, name=name)
        first = norm("norm1")
        seen = CrossAttention(self.heads, self.soft, self.dtype, name="attention")(first(x), first(y))
        x = x + seen if self.soft else seen
        return x + LinearMLP(dtype=self.dtype, name="mlp")(norm("norm2")(x))


class PrototypeDecoder(nn.Module):
    """Groups of a teacher's tokens [n 1 t d], each a mean over blocks → the same groups, by `layerN`, from 1.

    sizes, heads: as of `jaxqc.models.vit_decoder.VitDecoder`. count: prototypes of an image. Where `losses` is mutable,
    its `gather` [n] is the mean of `nearest_prototype`, which the training adds to its own.

    Examples:
      >>> network, tokens = PrototypeDecoder((2, 2), heads=3), jnp.zeros((1, 1, 5, 12))
      >>> variables = jax.eval_shape(network.init, jax.random.key(0), (tokens, tokens))
      >>> {name: x.shape for name, x in jax.eval_shape(network.apply, variables, (tokens, tokens)).items()}
      {'layer1': (1, 1, 5, 12), 'layer2': (1, 1, 5, 12)}
    """

    sizes: tuple[int, ...]
    heads: int
    count: int = 6
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, groups: tuple[Float[ArrayLike, "n 1 t d"], ...], train: bool = False) -> dict[str, Array]:
        x = mean_tokens(self.sizes, groups)
        n, d = x.shape[0], x.shape[-1]
        drawn = self.param("prototypes", nn.initializers.normal(1.0), (self.count, d))
        first = jnp.broadcast_to(drawn, (n, self.count, d)).astype(self.dtype)
        prototypes = CrossBlock(self.heads, dtype=self.dtype, name="gathering")(first, x)
        if not self.is_initializing():
            self.sow("losses", "gather", nearest_prototype(x, prototypes).mean(1))
        linear = lambda features, name: Pointwise(features, self.dtype, kernel_init=weight_init, name=name)
        x = linear(d, "bottleneck2")(nn.gelu(linear(4 * d, "bottleneck1")(x), approximate=False))
        blocks = []
        for i in range(sum(self.sizes)):
            x = CrossBlock(self.heads, soft=False, dtype=self.dtype, name=f"blocks_{i}")(x, prototypes)
            blocks.append(x)
        return answering(self.sizes, blocks)
