"""Convolution + batch norm + activation as one unit that can be folded, and the blocks made of it. NHWC."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxqc.nn.convolution import convolve, dilated, library
from jaxqc.nn.depthwise import Padding, depthwise_conv
from jaxqc.nn.norm import BatchNorm
from jaxqc.nn.plain import is_plain, operation
from jaxqc.types import ArrayLike

Activation = Callable[[jax.Array], jax.Array] | None
kernel_init = nn.initializers.variance_scaling(2.0, "fan_out", "truncated_normal")
depthwise_init = nn.initializers.variance_scaling(2.0, "fan_in", "truncated_normal", in_axis=(0, 1), out_axis=())


@dataclass(frozen=True)
class Norm:
    """A network's normalisation: one value handed to all of its layers.

    folded: batch norm is already inside kernel and bias (`jaxqc.nn.fold`); inference only.
    axis_name: mapped axis over which training statistics are averaged (synchronised batch norm), or None.
    dtype: compute dtype; parameters and statistics stay float32.

    Examples:
      >>> layer = Pointwise(4, Norm(dtype=jnp.bfloat16).dtype)
      >>> y, variables = jax.jit(layer.init_with_output)(jax.random.key(0), jnp.ones((1, 8, 8, 3)))
      >>> y.dtype, variables["params"]["kernel"].dtype
      (dtype(bfloat16), dtype('float32'))
    """

    folded: bool = False
    axis_name: str | None = None
    dtype: Any = jnp.float32
    momentum: float = 0.9
    epsilon: float = 1e-5


def normalize(module: nn.Module, x: jax.Array, norm: Norm, train: bool, act: Activation = nn.relu) -> jax.Array:
    """The second half of a conv unit: batch norm `bn`, or only `bias` when folded, then the activation."""
    if norm.folded:
        y = x + module.param("bias", nn.initializers.zeros, (x.shape[-1],)).astype(x.dtype)
    else:
        y = BatchNorm(norm.momentum, norm.epsilon, norm.axis_name, norm.dtype, name="bn")(x, train)
    return y if act is None else act(y)


class NormAct(nn.Module):
    """Batch norm that follows no convolution of its own, + activation: [... c] → [... c]. 2c parameters.

    Examples:
      >>> y, variables = jax.jit(NormAct().init_with_output)(jax.random.key(0), jnp.array([[-1.0, 2.0]]))
      >>> y.round(2).tolist(), sorted(variables["params"])
      ([[0.0, 2.0]], ['bn'])
    """

    norm: Norm = Norm()
    act: Activation = nn.relu

    @nn.compact
    def __call__(self, x: ArrayLike, train: bool = False) -> jax.Array:
        x = jnp.asarray(x, self.norm.dtype)
        if self.norm.folded:
            x = x * self.param("scale", nn.initializers.ones, (x.shape[-1],)).astype(x.dtype)
        return normalize(self, x, self.norm, train, self.act)


def pointwise(x: ArrayLike, kernel: ArrayLike, stride: int = 1) -> jax.Array:
    """1x1 convolution [... i] x [i o] as one matrix product over flattened positions; with a stride [n h w i].

    Flattened first because the weight gradient is then a plain 2-D product (2.5 times faster on CPU than an einsum).

    Examples:
      >>> pointwise(jnp.ones((1, 4, 4, 3)), jnp.ones((3, 2)))[0, 0, 0].tolist()
      [3.0, 3.0]
    """
    if is_plain() and x.ndim in (2, 4):  # a vector as a map of one pixel: OpenVINO's small products are slow
        maps = x if x.ndim == 4 else x[:, None, None]
        y = library(maps, jnp.asarray(kernel)[None, None], stride, 0)
        return y if x.ndim == 4 else y[:, 0, 0]
    x = x if stride == 1 else x[:, ::stride, ::stride]
    return jnp.matmul(x.reshape(-1, x.shape[-1]), kernel).reshape(*x.shape[:-1], kernel.shape[-1])


def softmax(x: jax.Array) -> jax.Array:
    """Shares over the last axis, of [n c] or [n h w c].

    Examples:
      >>> softmax(jnp.zeros((1, 4))).tolist()
      [[0.25, 0.25, 0.25, 0.25]]
    """
    return operation("softmax", nn.softmax, x)


def grouped_pointwise(x: ArrayLike, kernel: ArrayLike, groups: int) -> jax.Array:
    """1x1 convolution within each of so many groups of channels: [n h w g·i] x [i g·o] → [n h w g·o].

    Examples:
      >>> grouped_pointwise(jnp.arange(4.0).reshape(1, 1, 1, 4), jnp.ones((2, 2)), 2).ravel().tolist()
      [1.0, 5.0]
    """
    x, (inputs, outputs) = jnp.asarray(x), kernel.shape
    if is_plain():
        names = ("NHWC", "HWIO", "NHWC")
        kernel = jnp.asarray(kernel)[None, None]
        return lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=names, feature_group_count=groups)
    apart = x.reshape(*x.shape[:-1], groups, inputs)
    y = jnp.einsum("nhwki,iko->nhwko", apart, kernel.reshape(inputs, groups, outputs // groups))
    return y.reshape(*x.shape[:-1], outputs)


class Pointwise(nn.Module):
    """1x1 convolution with nothing after it, with bias unless said: [... i] → [... features].

    Examples:
      >>> y, _ = jax.jit(Pointwise(4).init_with_output)(jax.random.key(0), jnp.ones((1, 8, 8, 3)))
      >>> y.shape
      (1, 8, 8, 4)
    """

    features: int
    dtype: Any = jnp.float32
    bias_init: nn.initializers.Initializer = nn.initializers.zeros
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: ArrayLike) -> jax.Array:
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], self.features))
        y = pointwise(x.astype(self.dtype), kernel.astype(self.dtype))
        if not self.use_bias:
            return y
        return y + self.param("bias", self.bias_init, (self.features,)).astype(self.dtype)


class PointwiseBN(nn.Module):
    """1x1 convolution without bias + batch norm + activation: [... i] → [... features]. i·o + 2o parameters.

    Examples:
      >>> y, variables = jax.jit(PointwiseBN(4).init_with_output)(jax.random.key(0), jnp.ones((1, 8, 8, 3)))
      >>> y.shape, sorted(variables["params"])
      ((1, 8, 8, 4), ['bn', 'kernel'])
    """

    features: int
    norm: Norm = Norm()
    act: Activation = nn.relu
    stride: int = 1

    @nn.compact
    def __call__(self, x: ArrayLike, train: bool = False) -> jax.Array:
        kernel = self.param("kernel", kernel_init, (x.shape[-1], self.features))
        y = pointwise(x.astype(self.norm.dtype), kernel.astype(self.norm.dtype), self.stride)
        return normalize(self, y, self.norm, train, self.act)


class DepthwiseBN(nn.Module):
    """Depthwise k x k without bias + batch norm + activation. k²·c + 2c parameters.

    padding: as `jaxqc.nn.depthwise.depthwise_conv`.

    Examples:
      >>> y, _ = jax.jit(DepthwiseBN(stride=2).init_with_output)(jax.random.key(0), jnp.ones((1, 8, 8, 3)))
      >>> y.shape
      (1, 4, 4, 3)
    """

    stride: int = 1
    dilation: int = 1
    norm: Norm = Norm()
    act: Activation = nn.relu
    kernel_size: int = 3
    padding: Padding = "symmetric"

    @nn.compact
    def __call__(self, x: ArrayLike, train: bool = False) -> jax.Array:
        shape = (self.kernel_size, self.kernel_size, x.shape[-1])
        kernel = self.param("kernel", depthwise_init, shape).astype(self.norm.dtype)
        y = depthwise_conv(x.astype(self.norm.dtype), kernel, self.stride, self.dilation, padding=self.padding)
        return normalize(self, y, self.norm, train, self.act)


class Depthwise(nn.Module):
    """Depthwise convolution of any odd kernel, no bias, no norm (the boundary module's 1x5 and 5x1).

    Examples:
      >>> y, _ = Depthwise((1, 5)).init_with_output(jax.random.key(0), jnp.ones((1, 8, 8, 3)))
      >>> y.shape
      (1, 8, 8, 3)
    """

    kernel_size: tuple[int, int]
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: ArrayLike) -> jax.Array:
        kernel = self.param("kernel", depthwise_init, (*self.kernel_size, x.shape[-1])).astype(self.dtype)
        return depthwise_conv(x.astype(self.dtype), kernel)


class Conv(nn.Module):
    """Dense k x k convolution, with bias unless said, zero padding k // 2 on every side at every stride, or `padding`.

    Examples:
      >>> y, _ = jax.jit(Conv(4, stride=2).init_with_output)(jax.random.key(0), jnp.ones((1, 8, 8, 3)))
      >>> y.shape
      (1, 4, 4, 4)
    """

    features: int
    kernel_size: int = 3
    dtype: Any = jnp.float32
    stride: int = 1
    use_bias: bool = True
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()
    padding: int | None = None

    @nn.compact
    def __call__(self, x: ArrayLike) -> jax.Array:
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        y = dense_conv(x.astype(self.dtype), kernel.astype(self.dtype), self.stride, self.padding)
        if not self.use_bias:
            return y
        return y + self.param("bias", nn.initializers.zeros, (self.features,)).astype(self.dtype)


class ConvBN(nn.Module):
    """Dense k x k convolution without bias, padding k // 2, + batch norm + activation. k²·i·o + 2o parameters.

    use_bias: True: with one, which batch norm takes away again, for files that bring it. dilation: pixels from tap to
    tap, of stride 1.

    Examples:
      >>> y, _ = jax.jit(ConvBN(4, stride=2).init_with_output)(jax.random.key(0), jnp.ones((1, 8, 8, 3)))
      >>> y.shape
      (1, 4, 4, 4)
    """

    features: int
    stride: int = 1
    norm: Norm = Norm()
    kernel_size: int = 3
    act: Activation = nn.relu
    use_bias: bool = False
    dilation: int = 1

    @nn.compact
    def __call__(self, x: ArrayLike, train: bool = False) -> jax.Array:
        kernel = self.param("kernel", kernel_init, (self.kernel_size, self.kernel_size, x.shape[-1], self.features))
        x, kernel = x.astype(self.norm.dtype), kernel.astype(self.norm.dtype)
        y = dense_conv(x, kernel, self.stride) if self.dilation == 1 else dilated(x, kernel, self.dilation)
        if self.use_bias and not self.norm.folded:
            y = y + self.param("bias", nn.initializers.zeros, (self.features,)).astype(self.norm.dtype)
        return normalize(self, y, self.norm, train, self.act)


def dense_conv(x: ArrayLike, kernel: ArrayLike, stride: int = 1, padding: int | None = None) -> jax.Array:
    """[n h w i] * [k k i o] with explicit padding on every side, k // 2 unless said (also where the stride is 2).

    Examples:
      >>> dense_conv(jnp.ones((1, 8, 8, 3)), jnp.ones((7, 7, 3, 4)), stride=2).shape
      (1, 4, 4, 4)
    """
    return convolve(x, kernel, stride, kernel.shape[0] // 2 if padding is None else padding)


class DepthwiseSeparable(nn.Module):
    """DS(i, o, s, d): depthwise 3x3 + BN + ReLU, then 1x1 + BN + ReLU. 11i + i·o + 2o parameters.

    Examples:
      >>> y, _ = jax.jit(DepthwiseSeparable(4, stride=2).init_with_output)(jax.random.key(0), jnp.ones((1, 8, 8, 3)))
      >>> y.shape
      (1, 4, 4, 4)
    """

    features: int
    stride: int = 1
    dilation: int = 1
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, x: ArrayLike, train: bool = False) -> jax.Array:
        x = DepthwiseBN(self.stride, self.dilation, self.norm, name="depthwise")(x, train)
        return PointwiseBN(self.features, self.norm, name="pointwise")(x, train)
