"""A transformer that rebuilds another one's tokens from their mean: Dinomaly's student (arXiv 2405.14325).

A bottleneck with dropout makes noise of what it is fed, and attention without softmax spreads over the whole image.
Both keep the decoder from passing on what it has never seen.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.nn.conv import Pointwise, pointwise
from jaxqc.nn.dropout import Dropout
from jaxqc.types import ArrayLike

EPSILON = 1e-8
"""Epsilon of the layer norms."""
LEAST = 1e-6
"""Added to attention's denominator, which falls to 0 where a query meets no key."""
weight_init = nn.initializers.truncated_normal(0.01, lower=-3.0, upper=3.0)


def linear_attention(
    q: Float[ArrayLike, "n t h d"], k: Float[ArrayLike, "n s h d"], v: Float[ArrayLike, "n s h d"]
) -> Float[Array, "n t h d"]:
    """Attention with elu(x) + 1 in place of softmax (arXiv 2006.16236): keys and values meet first, so that no [t s]
    matrix exists.

    Examples:
      >>> query, key, value = jnp.zeros((1, 3, 1, 1)), jnp.zeros((1, 2, 1, 1)), jnp.arange(2.0).reshape(1, 2, 1, 1)
      >>> [round(x, 4) for x in linear_attention(query, key, value).ravel().tolist()]
      [0.5, 0.5, 0.5]
    """
    q, k = nn.elu(jnp.asarray(q)) + 1.0, nn.elu(jnp.asarray(k)) + 1.0
    mixed = jnp.einsum("nshd,nshe->nhde", k, v)
    total = jnp.einsum("nthd,nhd->nth", q, k.sum(1))
    return jnp.einsum("nthd,nhde->nthe", q, mixed) / (total + LEAST)[..., None]


class Linear(nn.Module):
    """A linear layer without bias: [... i] → [... features]."""

    features: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param("kernel", weight_init, (x.shape[-1], self.features))
        return pointwise(x.astype(self.dtype), kernel.astype(self.dtype))


class LinearMLP(nn.Module):
    """Two linear layers without bias, exact GELU between them: 8·d² parameters.

    rate: of dropout before, between and after them.
    """

    rate: float = 0.0
    axis_name: str | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        drop, d = (lambda x: Dropout(self.rate, self.axis_name)(x, train)), x.shape[-1]
        y = drop(nn.gelu(Linear(4 * d, self.dtype, name="fc1")(drop(x)), approximate=False))
        return drop(Linear(d, self.dtype, name="fc2")(y))


class DecoderBlock(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)): [n t d] → [n t d]; 12·d² + 8·d parameters."""

    heads: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        n, t, d = x.shape
        norm = lambda name: nn.LayerNorm(epsilon=EPSILON, dtype=self.dtype, use_fast_variance=False, name=name)
        qkv = Pointwise(3 * d, self.dtype, kernel_init=weight_init, name="qkv")(norm("norm1")(x))
        q, k, v = (qkv.reshape(n, t, 3, self.heads, d // self.heads)[:, :, i] for i in range(3))
        mixed = linear_attention(q, k, v).reshape(n, t, d)
        x = x + Pointwise(d, self.dtype, kernel_init=weight_init, name="proj")(mixed)
        return x + LinearMLP(dtype=self.dtype, name="mlp")(norm("norm2")(x))


def mean_tokens(sizes: tuple[int, ...], groups: tuple[Float[ArrayLike, "n 1 t d"], ...]) -> Float[Array, "n t d"]:
    """The mean over a teacher's blocks, of its means over groups of so many.

    Examples:
      >>> mean_tokens((1, 3), (jnp.ones((1, 1, 1, 1)), jnp.zeros((1, 1, 1, 1)))).item()
      0.25
    """
    parts = [size / sum(sizes) * jnp.asarray(group[:, 0]) for size, group in zip(sizes, groups, strict=True)]
    return jnp.stack(parts).sum(0)


def answering(sizes: tuple[int, ...], blocks: Sequence[Float[ArrayLike, "n t d"]]) -> dict[str, Array]:
    """A decoder's answer to each group, by `layerN`, from 1: its last blocks' mean to the first one.

    Examples:
      >>> {name: x.item() for name, x in answering((1, 2), [jnp.full((1, 1, 1), x) for x in (2.0, 4.0, 9.0)]).items()}
      {'layer1': 9.0, 'layer2': 3.0}
    """
    out, start = {}, 0
    for number, size in enumerate(sizes, 1):
        own = blocks[::-1][start : start + size]
        out[f"layer{number}"], start = jnp.stack(own).mean(0)[:, None], start + size
    return out


class VitDecoder(nn.Module):
    """Groups of a teacher's tokens [n 1 t d], each a mean over blocks → the same groups, by `layerN`, from 1.

    sizes: blocks in each of the teacher's groups, in rising order; the decoder has as many blocks as all of them. Its
    last blocks answer the teacher's first. heads: of attention. rate: of the bottleneck's dropout.

    Examples:
      >>> network, tokens = VitDecoder((2, 2), heads=3), jnp.zeros((1, 1, 5, 12))
      >>> variables = jax.eval_shape(network.init, jax.random.key(0), (tokens, tokens))
      >>> {name: x.shape for name, x in jax.eval_shape(network.apply, variables, (tokens, tokens)).items()}
      {'layer1': (1, 1, 5, 12), 'layer2': (1, 1, 5, 12)}
    """

    sizes: tuple[int, ...]
    heads: int
    rate: float = 0.2
    axis_name: str | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, groups: tuple[Float[ArrayLike, "n 1 t d"], ...], train: bool = False) -> dict[str, Array]:
        x = mean_tokens(self.sizes, groups)
        x = LinearMLP(self.rate, self.axis_name, self.dtype, name="bottleneck")(x, train)
        blocks = []
        for i in range(sum(self.sizes)):
            x = DecoderBlock(self.heads, self.dtype, name=f"blocks_{i}")(x)
            blocks.append(x)
        return answering(self.sizes, blocks)
