"""The networks inside couplings: from half of the channels of each layer to scales and shifts of the other half.

All take a tuple of grids [b h w c] with their conditions and give a tuple of grids [b h w features]. Nothing in them
has to be inverted.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxqc.anomaly.flow.coupling import Conditions, Grids
from jaxqc.anomaly.ops.maps import pool_channels
from jaxqc.nn.conv import Conv, dense_conv, pointwise
from jaxqc.nn.resizing import resize, resize_align_corners
from jaxqc.types import ArrayLike

init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
"""PyTorch's default, with which the authors trained."""


class Conditioned(nn.Module):
    """A convolution of features and conditions side by side.

    A convolution is linear, so each has its own part of the kernel: that of a condition is computed once a batch, and
    at 1x1 for a row's or a column's positions alone, not for each cell of each image. edge: beyond the border the
    outermost cells repeat, where else there are zeros.
    """

    features: int
    kernel_size: int = 1
    edge: bool = False

    @nn.compact
    def __call__(self, x: ArrayLike, parts: tuple[ArrayLike, ...] = ()) -> jax.Array:
        widths = [x.shape[-1], *(part.shape[-1] for part in parts)]
        shape = (self.kernel_size, self.kernel_size, sum(widths), self.features)
        kernel = self.param("kernel", init, shape)
        own, *others = jnp.split(kernel, np.cumsum(widths)[:-1], 2)
        alone = self.kernel_size == 1
        y = pointwise(x, own[0, 0]) if alone else self._conv(x, own)
        y = y + self.param("bias", nn.initializers.zeros, (self.features,))
        if alone:
            for part, weights in zip(parts, others, strict=True):
                y = y + pointwise(part, weights[0, 0])
        elif parts:
            grid = jnp.broadcast_shapes(*(part.shape[:-1] for part in parts))
            whole = [jnp.broadcast_to(part, (*grid, part.shape[-1])) for part in parts]
            y = y + self._conv(jnp.concatenate(whole, -1), jnp.concatenate(others, 2))
        return y

    def _conv(self, x: ArrayLike, kernel: jax.Array) -> jax.Array:
        if not self.edge:
            return dense_conv(x, kernel)
        side = (self.kernel_size // 2,) * 2
        return dense_conv(jnp.pad(jnp.asarray(x), ((0, 0), side, side, (0, 0)), mode="edge"), kernel, padding=0)


class Perceptron(nn.Module):
    """Convolutions with ReLU between them, one a hidden width and one more; with `norm`, layer norm before a ReLU.

    edge: beyond the border the outermost cells repeat, and the output has a factor that starts at 0 (arXiv 2210.07829).
    """

    features: int
    hidden: tuple[int, ...]
    kernel_size: int = 1
    norm: bool = False
    edge: bool = False

    @nn.compact
    def __call__(self, xs: Grids, conditions: Conditions) -> tuple[jax.Array, ...]:
        y, parts = jnp.asarray(xs[0]), conditions[0]
        for i, width in enumerate((*self.hidden, self.features)):
            y = Conditioned(width, self.kernel_size, self.edge, name=f"conv{i}")(y, () if i else parts)
            if i < len(self.hidden):
                y = nn.relu(nn.LayerNorm(1e-5, name=f"norm{i}")(y) if self.norm else y)
        return (y * self.param("gamma", nn.initializers.zeros, ()) if self.edge else y,)


class Cross(nn.Module):
    """Two convolutions a layer, the second beside what comes down from the finer and up from the coarser neighbour.

    Each output has a factor that starts at 0. Layers must halve their sides, odd ones rounded up (arXiv 2110.02855).
    """

    features: tuple[int, ...]
    hidden: int
    kernel_size: int = 3

    @nn.compact
    def __call__(self, xs: Grids, conditions: Conditions) -> tuple[jax.Array, ...]:
        conv = lambda width, name, stride=1: Conv(width, self.kernel_size, stride=stride, kernel_init=init, name=name)
        inner = [nn.leaky_relu(conv(self.hidden, f"first{i}")(x), 0.1) for i, x in enumerate(xs)]
        outs = []
        for i, (y, width) in enumerate(zip(inner, self.features, strict=True)):
            out = conv(width, f"own{i}")(y)
            if i:
                out = out + conv(width, f"down{i}", 2)(inner[i - 1])
            if i + 1 < len(inner):
                out = out + conv(width, f"up{i}")(resize(inner[i + 1], *y.shape[1:3]))
            outs.append(out * self.param(f"gamma{i}", nn.initializers.zeros, ()))
        return tuple(outs)


class Fusion(nn.Module):
    """All layers on the coarsest grid through two convolutions, carried back to each and added (arXiv 2308.15300)."""

    features: tuple[int, ...]

    @nn.compact
    def __call__(self, xs: Grids, conditions: Conditions) -> tuple[jax.Array, ...]:
        widths, grid = [x.shape[-1] for x in xs], xs[-1].shape[1:3]
        together = jnp.concatenate([pooled(x, *grid) for x in xs], -1)
        conv = lambda width, name: Conv(width, 3, kernel_init=init, name=name)
        y = nn.relu(nn.LayerNorm(1e-5, name="norm")(conv(max(1, sum(widths) // 4), "first")(together)))
        parts = jnp.split(nn.relu(conv(sum(widths), "second")(y)), np.cumsum(widths)[:-1], -1)
        back = [x + resize_align_corners(part, *x.shape[1:3]) for x, part in zip(xs, parts, strict=True)]
        return tuple(conv(width, f"terms{i}")(x) for i, (x, width) in enumerate(zip(back, self.features, strict=True)))


def pooled(x: ArrayLike, height: int, width: int) -> jax.Array:
    """Adaptive average pooling of a grid [b h w c].

    Examples:
      >>> pooled(jnp.arange(4.0).reshape(1, 2, 2, 1), 1, 1).tolist()
      [[[[1.5]]]]
    """
    for axis, side in ((1, height), (2, width)):
        x = jnp.moveaxis(pool_channels(jnp.moveaxis(jnp.asarray(x), axis, -1), side), -1, axis)
    return jnp.asarray(x)
