"""Attention over channels and over positions (CBAM, arXiv 1807.06521)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxqc.nn.conv import Conv, Pointwise


class ChannelAttention(nn.Module):
    """x · sigmoid(MLP(mean over positions) + MLP(max over positions)), one shared MLP c → c/reduction → c."""

    reduction: int = 4

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        squeeze = Pointwise(max(1, channels // self.reduction), x.dtype, name="squeeze")
        excite = Pointwise(channels, x.dtype, name="excite")
        mlp = lambda v: excite(nn.relu(squeeze(v)))  # noqa: E731
        gate = nn.sigmoid(mlp(x.mean((1, 2))) + mlp(x.max((1, 2))))
        return x * gate[:, None, None, :]


class SpatialAttention(nn.Module):
    """x · sigmoid(conv k x k over [mean over channels, max over channels])."""

    kernel_size: int = 7

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        pooled = jnp.stack([x.mean(-1), x.max(-1)], -1)
        return x * nn.sigmoid(Conv(1, self.kernel_size, x.dtype, name="conv")(pooled))
