"""Attention over channels and over positions, apart and as the block of the two (CBAM, arXiv 1807.06521)."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.nn.conv import Conv, ConvBN, Norm, Pointwise
from jaxqc.types import ArrayLike

REDUCTION = 16
"""Channels of a block over hidden units of its channel gate (section 5.1)."""


class ChannelAttention(nn.Module):
    """x · sigmoid(MLP(mean over positions) + MLP(max over positions)), one shared MLP c → c/reduction → c.

    With `strength` s the factor is (1 − s) + s · gate: exactly 1 at s = 0, exactly the gate at s = 1.

    Examples:
      >>> x = jnp.ones((1, 8, 8, 16))
      >>> y, _ = jax.jit(ChannelAttention().init_with_output)(jax.random.key(0), x, jnp.zeros(()))
      >>> bool((y == x).all())  # strength 0 is the identity
      True
    """

    reduction: int = 4

    @nn.compact
    def __call__(self, x: ArrayLike, strength: ArrayLike | None = None) -> jax.Array:
        x, channels = jnp.asarray(x), x.shape[-1]
        squeeze = Pointwise(max(1, channels // self.reduction), x.dtype, name="squeeze")
        excite = Pointwise(channels, x.dtype, name="excite")
        mlp = lambda v: excite(nn.relu(squeeze(v)))
        gate = nn.sigmoid(mlp(x.mean((1, 2))) + mlp(x.max((1, 2))))
        return x * _mixed(gate, strength)[:, None, None, :]


class SpatialAttention(nn.Module):
    """x · sigmoid(conv k x k over [mean over channels, max over channels]).

    Examples:
      >>> y, _ = jax.jit(SpatialAttention().init_with_output)(jax.random.key(0), jnp.ones((1, 8, 8, 16)))
      >>> y.shape
      (1, 8, 8, 16)
    """

    kernel_size: int = 7

    @nn.compact
    def __call__(self, x: ArrayLike) -> jax.Array:
        x = jnp.asarray(x)
        pooled = jnp.stack([x.mean(-1), x.max(-1)], -1)
        return x * nn.sigmoid(Conv(1, self.kernel_size, x.dtype, name="conv")(pooled))


class CBAM(nn.Module):
    """Channel attention, then spatial attention: [n h w c] → [n h w c]. 2c²/16 + c + c/16 + 100 parameters and 2 more.

    The spatial gate is sigmoid(BN(conv 7x7 without bias over [max, mean])): order and batch norm as in the authors'
    published code, whose checkpoints fit; their batch norm keeps 0.99 of its statistics a step.

    The parameter `strength` [2] (channel, spatial) is ours: each factor is (1 − s) + s · gate. At s = 1 that is CBAM as
    published. At s = 0 the block is the identity, exactly and in every dtype, so that it can be put into a network
    whose gates were never trained; and it still learns: the gradient of s is not 0 there, and once s moves the gates
    learn too. (Gates held open by a large bias would be an identity as well, but one that sigmoid's flat tail keeps
    from learning anything.)

    Examples:
      >>> x = jnp.ones((1, 8, 8, 16))
      >>> y, variables = jax.jit(CBAM(strength=0.0).init_with_output)(jax.random.key(0), x)
      >>> bool((y == x).all()), variables["params"]["strength"].tolist()
      (True, [0.0, 0.0])
    """

    norm: Norm = Norm()
    strength: float = 1.0
    """Start of both strengths: 0 = identity."""

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "n h w c"], train: bool = False) -> Float[Array, "n h w c"]:
        strength = self.param("strength", nn.initializers.constant(self.strength), (2,)).astype(x.dtype)
        x = jnp.asarray(ChannelAttention(REDUCTION, name="channel")(x, strength[0]))
        norm = dataclasses.replace(self.norm, momentum=0.99)
        pooled = jnp.stack([x.max(-1), x.mean(-1)], -1)
        gate = nn.sigmoid(ConvBN(1, 1, norm, 7, None, name="spatial")(pooled, train))
        return x * _mixed(gate, strength[1])


def _mixed(gate: jax.Array, strength: ArrayLike | None) -> jax.Array:
    if strength is None:
        return gate
    strength = jnp.asarray(strength)
    return (1 - strength) + strength * gate
