"""A student that takes defects away, and a head that finds them where it did so (DeSTSeg, arXiv 2211.11317)."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.models.resnet import Block, ResNet, Spec
from jaxqc.nn.conv import ConvBN, Norm, Pointwise, PointwiseBN, kernel_init, normalize, pointwise
from jaxqc.nn.resizing import resize
from jaxqc.types import ArrayLike

RATES = (6, 12, 18)
"""Dilations of the head's parallel convolutions."""
BLOCKS = 2
"""Residual blocks of a stage."""


def _stage(x: jax.Array, features: int, norm: Norm, name: str, train: bool) -> jax.Array:
    for i in range(BLOCKS):
        x = Block(features, norm=norm, name=f"{name}_{i}")(x, train)
    return x


def dilated(
    x: Float[ArrayLike, "n h w i"], kernel: Float[ArrayLike, "3 3 i o"], dilation: int
) -> Float[Array, "n h w o"]:
    """3x3 convolution of a dilation, zeros beyond the rim, as a matrix product for each of the nine taps.

    Taps that lie beyond every cell's rim are left out. A CPU's own convolution takes far longer for the gradient.

    Examples:
      >>> jax.jit(dilated, static_argnums=2)(jnp.ones((1, 3, 4, 1)), jnp.ones((3, 3, 1, 1)), 2)[0, :, :, 0].tolist()
      [[4.0, 4.0, 4.0, 4.0], [2.0, 2.0, 2.0, 2.0], [4.0, 4.0, 4.0, 4.0]]
    """
    x, (h, w) = jnp.asarray(x), x.shape[1:3]
    wide, total = jnp.pad(x, ((0, 0), (dilation, dilation), (dilation, dilation), (0, 0))), jnp.zeros(())
    for down in range(3):
        for right in range(3):
            if (down == 1 or dilation < h) and (right == 1 or dilation < w):
                part = wide[:, down * dilation : down * dilation + h, right * dilation : right * dilation + w]
                total = total + pointwise(part, kernel[down, right])
    return jnp.asarray(total)


class DilatedBN(nn.Module):
    """3x3 convolution of a dilation, without bias, + batch norm + ReLU: [n h w i] → [n h w features].

    Examples:
      >>> jax.eval_shape(lambda: DilatedBN(4, 6).init_with_output(jax.random.key(0), jnp.ones((1, 8, 8, 3)))[0]).shape
      (1, 8, 8, 4)
    """

    features: int
    dilation: int
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, x: ArrayLike, train: bool = False) -> jax.Array:
        kernel = self.param("kernel", kernel_init, (3, 3, x.shape[-1], self.features)).astype(self.norm.dtype)
        return normalize(self, dilated(jnp.asarray(x, self.norm.dtype), kernel, self.dilation), self.norm, train)


class Denoising(nn.Module):
    """A ResNet to layer 4 and a decoder of residual stages back up: normalised image → `layer1` to `layer3`.

    Between stages maps are enlarged (bilinear); nothing of the encoder goes past its end.

    Examples:
      >>> network = Denoising(Spec((1, 1, 1, 1), False, base=8), (1, 2))
      >>> out = jax.eval_shape(lambda: network.init_with_output(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))[0])
      >>> {name: x.shape for name, x in out.items()}
      {'layer2': (1, 4, 4, 16), 'layer1': (1, 8, 8, 8)}
    """

    spec: Spec
    layers: tuple[int, ...] = (1, 2, 3)
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, image: Float[ArrayLike, "n h w 3"], train: bool = False) -> dict[str, Array]:
        seen = ResNet(self.spec, (1, 2, 3, 4), norm=self.norm, name="encoder")(image, train)
        x, out = _stage(seen["layer4"], self.spec.channels(4), self.norm, "decoder4", train), {}
        for layer in range(3, min(self.layers) - 1, -1):
            x = resize(x, *seen[f"layer{layer}"].shape[1:3])
            x = _stage(x, self.spec.channels(layer), self.norm, f"decoder{layer}", train)
            if layer in self.layers:
                out[f"layer{layer}"] = x
        return out


class Segmentation(nn.Module):
    """Products of a teacher's and a student's layers [n h w c], on one grid → logits of cells [n h w].

    Two residual blocks, a mean over all cells beside dilated convolutions (ASPP), and two more convolutions.

    Examples:
      >>> network, x = Segmentation(8), jnp.zeros((2, 8, 8, 6))
      >>> jax.eval_shape(lambda: network.init_with_output(jax.random.key(0), x)[0]).shape
      (2, 8, 8)
    """

    features: int = 256
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "n h w c"], train: bool = False) -> Float[Array, "n h w"]:
        x = _stage(jnp.asarray(x, self.norm.dtype), self.features, self.norm, "blocks", train)
        whole = PointwiseBN(self.features, self.norm, name="whole")(x.mean((1, 2), keepdims=True), train)
        parts = [jnp.broadcast_to(whole, x.shape)]
        for rate in RATES:
            parts.append(DilatedBN(self.features, rate, self.norm, name=f"dilated{rate}")(x, train))
        for name in ("joined", "last"):
            x = jnp.concatenate(parts, -1)
            parts = [ConvBN(self.features, norm=self.norm, name=name)(x, train)]
        logits: Any = Pointwise(1, name="out")(parts[0].astype(jnp.float32))
        return logits[..., 0]


def products(
    teacher: Sequence[Float[ArrayLike, "n _ _ _"]], student: Sequence[Float[ArrayLike, "n _ _ _"]]
) -> Float[Array, "n h w c"]:
    """Minus the products, channel by channel, of both networks' layers, all on the grid of the finest.

    Examples:
      >>> layers = jnp.ones((1, 4, 4, 2)), jnp.ones((1, 2, 2, 1))
      >>> jax.jit(products)(layers, layers)[0, 0, 0].round(2).tolist()
      [-1.0, -1.0, -1.0]
    """
    height, width = teacher[0].shape[1:3]
    pairs = zip(teacher, student, strict=True)
    return jnp.concatenate([resize(-(jnp.asarray(t) * s), height, width) for t, s in pairs], -1)
