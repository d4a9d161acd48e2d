"""Dropout whose mask does not depend on how many devices the batch is spread over."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax


class Dropout(nn.Module):
    """Zeroes values with probability `rate` and rescales the rest.

    The mask is drawn for the global batch from the `dropout` key, which must be equal on all devices of `axis_name`,
    and each device takes its rows: one device and eight give the same result.

    Examples:
      >>> Dropout(0.5).apply({}, jnp.ones((1, 8, 16))).shape
      (1, 8, 16)
      >>> y = Dropout(0.5).apply({}, jnp.ones((1, 64)), True, rngs={"dropout": jax.random.key(0)})
      >>> sorted(set(y.ravel().tolist()))
      [0.0, 2.0]
    """

    rate: float
    axis_name: str | None = None

    def drawn(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of a mask for values of this one."""
        return shape

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        if not train or self.rate == 0.0:
            return x
        n, *rest = self.drawn(x.shape)
        mapped = self.axis_name is not None and not self.is_initializing()
        devices = lax.axis_size(self.axis_name) if mapped else 1
        keep = jax.random.bernoulli(self.make_rng("dropout"), 1 - self.rate, (devices * n, *rest))
        if mapped:
            keep = lax.dynamic_slice_in_dim(keep, lax.axis_index(self.axis_name) * n, n)
        return jnp.where(keep, x / (1 - self.rate), 0).astype(x.dtype)


class ChannelDropout(Dropout):
    """Zeroes whole channels; x [n h w c].

    Examples:
      >>> ChannelDropout(0.5).apply({}, jnp.ones((1, 8, 8, 16))).shape
      (1, 8, 8, 16)
      >>> y = ChannelDropout(0.5).apply({}, jnp.ones((1, 1, 1, 64)), True, rngs={"dropout": jax.random.key(0)})
      >>> sorted(set(y.ravel().tolist()))
      [0.0, 2.0]
    """

    def drawn(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """One value for each channel of an image."""
        return (shape[0], 1, 1, shape[-1])
