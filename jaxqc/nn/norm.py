"""Batch norm over [..., c], synchronised over a mapped axis, with its gradient written out.

Light networks spend much of a training step here. Left to autodiff the backward pass reads the activations several
times over; written out it is two sums and one elementwise pass (Ioffe and Szegedy, arXiv 1502.03167, section 3).
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxqc.types import ArrayLike


class BatchNorm(nn.Module):
    """Normalises each channel by batch statistics when training, by running ones otherwise; then scale and bias.

    The variables are those of `flax.linen.BatchNorm`: `scale`, `bias` and `batch_stats` `mean`, `var`, all float32 [c].
    axis_name: mapped axis over which statistics are averaged. The output has `dtype`; statistics are float32.

    Examples:
      >>> x = jnp.array([[1.0], [3.0]])
      >>> y, variables = BatchNorm().init_with_output(jax.random.key(0), x, train=True)
      >>> y.round(3).tolist(), variables["batch_stats"]["var"].tolist()
      ([[-1.0], [1.0]], [1.0])
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    axis_name: str | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: ArrayLike, train: bool = False) -> jax.Array:
        x, shape = jnp.asarray(x), (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones, shape)
        bias = self.param("bias", nn.initializers.zeros, shape)
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        var = self.variable("batch_stats", "var", jnp.ones, shape)
        if not train:
            factor = scale * lax.rsqrt(var.value + self.epsilon)
            return (x * factor + (bias - mean.value * factor)).astype(self.dtype)
        axis = None if self.is_initializing() else self.axis_name
        normalized: Any = _normalize(x, scale, bias, self.epsilon, axis)
        y, batch_mean, batch_var = normalized
        if not self.is_initializing():
            keep = self.momentum
            mean.value = keep * mean.value + (1 - keep) * lax.stop_gradient(batch_mean)
            var.value = keep * var.value + (1 - keep) * lax.stop_gradient(batch_var)
        return y.astype(self.dtype)


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _normalize(x: ArrayLike, scale: ArrayLike, bias: ArrayLike, epsilon: float, axis_name: str | None) -> Any:
    """→ (y like x, mean [c], biased variance [c]); only y carries a gradient."""
    y, (mean, var) = _moments_and_output(x, scale, bias, epsilon, axis_name)
    return y, mean, var


def _moments_and_output(x: ArrayLike, scale: ArrayLike, bias: ArrayLike, epsilon: float, axis_name: str | None):
    mean, square = _channel_means(x, x, axis_name)
    var = jnp.maximum(square - mean * mean, 0.0)
    factor = scale * lax.rsqrt(var + epsilon)
    y = _full(x) * factor + (bias - mean * factor)
    return y.astype(x.dtype), (mean, var)


def _full(x: ArrayLike) -> jax.Array:
    """x in float32 at least."""
    return jnp.asarray(x, jnp.promote_types(x.dtype, jnp.float32))


def _channel_means(a: ArrayLike, b: ArrayLike, axis_name: str | None) -> tuple[jax.Array, jax.Array]:
    """Means of a and of a·b over all but the last axis, in float32 or better, over all devices at once."""
    a, b = _full(a), _full(b)
    axes = tuple(range(a.ndim - 1))
    means = a.mean(axes), (a * b).mean(axes)
    return means if axis_name is None else lax.pmean(means, axis_name)


def _forward(x: ArrayLike, scale: ArrayLike, bias: ArrayLike, epsilon: float, axis_name: str | None):
    y, (mean, var) = _moments_and_output(x, scale, bias, epsilon, axis_name)
    return (y, mean, var), (x, scale, mean, var)


def _backward(epsilon: float, axis_name: str | None, residuals: Any, cotangents: Any):
    """dx = scale/σ · (g − mean(g) − x̂ · mean(g·x̂)), the means over the global batch; dscale = Σ g·x̂, dbias = Σ g."""
    (x, scale, mean, var), g = residuals, _full(cotangents[0])
    inverse = lax.rsqrt(var + epsilon)
    local_g, local_gx = _channel_means(g, x, None)
    local_gx = (local_gx - mean * local_g) * inverse
    mean_g, mean_gx = (local_g, local_gx) if axis_name is None else lax.pmean((local_g, local_gx), axis_name)
    # g·a + x·b + c, so that the pass over the image is one fused multiply-add of two inputs.
    a = scale * inverse
    b = -a * inverse * mean_gx
    c = -a * mean_g - b * mean
    dx = (g * a + _full(x) * b + c).astype(x.dtype)
    count = x.size // x.shape[-1]
    return dx, local_gx * count, local_g * count


_normalize.defvjp(_forward, _backward)
