"""Mix transformers, SegFormer's encoders (arXiv 2105.15203): four layers of tokens on grids of rising stride.

Module names are the publishers' (`block1.0.attn.sr` is `block1_0/attn/sr`). Their stochastic depth, which drops a tenth
of the deepest blocks while training, is left out: an image is seen alike in every pass.
"""

from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.errors import UserError
from jaxqc.models.dinov2 import attention_kernel, weight_init
from jaxqc.nn.conv import Norm, Pointwise, depthwise_init, kernel_init
from jaxqc.nn.convolution import library
from jaxqc.nn.depthwise import depthwise_conv
from jaxqc.nn.self_attention import attend
from jaxqc.types import ArrayLike

HEADS, SHRINK, EXPANSION = (1, 2, 5, 8), (8, 4, 2, 1), 4
"""By layer: heads of attention, and the side of the squares of tokens that keys and values are made of."""
LEAST = 29
"""Shortest side of an image: the first layer's grid then holds one square of `SHRINK`."""
WITHIN, BLOCKS = 1e-5, 1e-6
"""Epsilon of layer norms inside embeddings and attention, and of those of blocks and layers."""


@dataclass(frozen=True)
class MitSpec:
    """The differences between mix transformers. widths, depths: of each layer.

    Examples:
      >>> MITS["mit_b5"].depths
      (3, 6, 40, 3)
    """

    widths: tuple[int, int, int, int] = (64, 128, 320, 512)
    depths: tuple[int, int, int, int] = (2, 2, 2, 2)


MITS = {
    "mit_b0": MitSpec((32, 64, 160, 256)),
    "mit_b1": MitSpec(),
    "mit_b2": MitSpec(depths=(3, 4, 6, 3)),
    "mit_b3": MitSpec(depths=(3, 4, 18, 3)),
    "mit_b4": MitSpec(depths=(3, 8, 27, 3)),
    "mit_b5": MitSpec(depths=(3, 6, 40, 3)),
}
"""By name."""


def layer_norm(epsilon: float, dtype: Any, name: str) -> nn.LayerNorm:
    """Statistics in float32, in two passes."""
    return nn.LayerNorm(epsilon=epsilon, dtype=dtype, use_fast_variance=False, name=name)


class Spread(nn.Module):
    """Convolution with bias and a stride, as patches are embedded: k²·i·o + o parameters."""

    features: int
    kernel_size: int
    stride: int
    padding: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: ArrayLike) -> jax.Array:
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", kernel_init, shape).astype(self.dtype)
        bias = self.param("bias", nn.initializers.zeros, (self.features,)).astype(self.dtype)
        return library(x.astype(self.dtype), kernel, self.stride, self.padding) + bias


class Embed(nn.Module):
    """Overlapping patches → normed tokens on a grid: [n h w i] → [n h/stride w/stride features]."""

    features: int
    kernel_size: int
    stride: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: ArrayLike) -> jax.Array:
        k = self.kernel_size
        x = Spread(self.features, k, self.stride, k // 2, self.dtype, name="proj")(x)
        return layer_norm(WITHIN, self.dtype, "norm")(x)


class Attention(nn.Module):
    """Attention to tokens made of squares of `shrink` x `shrink` ones: [n h w d] → [n h w d]."""

    heads: int
    shrink: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        n, h, w, d = x.shape
        linear = lambda width, name: Pointwise(width, self.dtype, kernel_init=weight_init, name=name)
        seen = x
        if self.shrink > 1:
            seen = Spread(d, self.shrink, self.shrink, 0, self.dtype, name="sr")(x)
            seen = layer_norm(WITHIN, self.dtype, "norm")(seen)
        split = lambda y, parts: y.reshape(n, -1, parts, self.heads, d // self.heads)
        q, both = split(linear(d, "q")(x), 1)[:, :, 0], split(linear(2 * d, "kv")(seen), 2)
        k, v = both[:, :, 0], both[:, :, 1]
        if attention_kernel("auto", self.dtype) == "cpu":
            mixed = attend(q, k, v)
        else:  # cuDNN's takes as many keys as queries
            mixed = jax.nn.dot_product_attention(q, k, v, implementation="xla")
        return linear(d, "proj")(mixed.reshape(n, h, w, d))


class Mixed(nn.Module):
    """Linear, depthwise 3x3 with bias, exact GELU, linear: the 3x3 stands for positions, of which there is no table."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        d = x.shape[-1]
        linear = lambda width, name: Pointwise(width, self.dtype, kernel_init=weight_init, name=name)
        x = linear(EXPANSION * d, "fc1")(x)
        kernel = self.param("kernel", depthwise_init, (3, 3, x.shape[-1])).astype(self.dtype)
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],)).astype(self.dtype)
        return linear(d, "fc2")(nn.gelu(depthwise_conv(x, kernel) + bias, approximate=False))


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    heads: int
    shrink: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        norm = lambda name: layer_norm(BLOCKS, self.dtype, name)
        x = x + Attention(self.heads, self.shrink, self.dtype, name="attn")(norm("norm1")(x))
        return x + Mixed(self.dtype, name="mlp")(norm("norm2")(x))


class Mit(nn.Module):
    """Normalised image [n h w 3] → `{"layer1": [n h/4 w/4 c1], ...}` for the layers asked for.

    Published weights take ImageNet's statistics. Sides that are no multiple of the stride round up. Nothing beyond the
    deepest layer is computed. Of `norm` only the dtype is used: there is no batch norm.

    Raises:
      UserError: a side of fewer than 29 pixels.

    Examples:
      >>> from jaxqc.models.arrays import layer_shapes
      >>> layer_shapes(Mit(MITS["mit_b0"], (1, 4)), 64, 96)
      {'layer1': (1, 16, 24, 32), 'layer4': (1, 2, 3, 256)}
    """

    spec: MitSpec
    layers: tuple[int, ...] = (1, 2, 3, 4)
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, image: Float[ArrayLike, "n h w 3"], train: bool = False) -> dict[str, Array]:
        if min(image.shape[1:3]) < LEAST:
            raise UserError(f"image of {image.shape[1]}x{image.shape[2]}: both sides must be at least {LEAST} pixels")
        x, out, dtype = jnp.asarray(image), {}, self.norm.dtype
        for layer in range(1, max(self.layers) + 1):
            width, heads, shrink = (values[layer - 1] for values in (self.spec.widths, HEADS, SHRINK))
            x = Embed(width, *((7, 4) if layer == 1 else (3, 2)), dtype, name=f"patch_embed{layer}")(x)
            for i in range(self.spec.depths[layer - 1]):
                x = Block(heads, shrink, dtype, name=f"block{layer}_{i}")(x)
            x = layer_norm(BLOCKS, dtype, f"norm{layer}")(x)
            if layer in self.layers:
                out[f"layer{layer}"] = x
        return out
