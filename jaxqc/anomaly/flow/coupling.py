"""Invertible affine couplings over a tuple of feature grids, each with its inverse and log-determinant.

A coupling takes grids [b h w c] and gives grids of the same shapes with ln|det| a cell [b h w]: summed over a grid's
cells and over the grids it is that of the whole map. Half of the channels pass a subnet, which says how the others are
scaled and shifted; a fixed permutation of channels between couplings lets each channel be both.
"""

from functools import lru_cache, partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.special import ndtri

from jaxqc.nn.conv import pointwise
from jaxqc.nn.plain import operation
from jaxqc.types import ArrayLike

Grids = tuple[Float[ArrayLike, "b _ _ _"], ...]
"""Features [b h w c], a grid a layer."""
Dets = tuple[Float[ArrayLike, "b _ _"], ...]
"""ln|det| of each cell [b h w], a grid a layer."""
Conditions = tuple[tuple[Float[ArrayLike, "_ _ _ _"], ...], ...]
"""For each layer, further inputs of the subnets: arrays that broadcast to [b h w _], meant side by side as channels."""
Permutation = Literal["hard", "soft"]

GAIN = float(2 * np.log(np.expm1(5.0)))
"""The start of `OneSided`'s scale, at which its gain is 1."""
WIDEST_PRODUCT = 256
"""Channels up to which a reordering by a matrix product is faster than a gather."""
LARGEST = 1e6
"""Bound of what leaves `TwoSided`, in both directions: beyond it the training has gone astray."""


@lru_cache(maxsize=256)
def order(channels: int, index: int) -> np.ndarray:
    """The channels of a hard permutation, int [channels]: output i is input `order[i]`.

    A constant of the network: drawn by `index`, the coupling's place, from a stream that no release of NumPy changes.

    Examples:
      >>> sorted(order(4, 0).tolist())
      [0, 1, 2, 3]
    """
    return np.argsort(np.random.PCG64(index).random_raw(channels), kind="stable")


@lru_cache(maxsize=64)
def rotation(channels: int, index: int) -> np.ndarray:
    """The orthogonal matrix of a soft permutation, float32 [channels channels]: a product of random reflections.

    Examples:
      >>> turn = rotation(4, 0)
      >>> bool(np.allclose(turn @ turn.T, np.eye(4), atol=1e-6))
      True
    """
    raw = np.random.PCG64(index).random_raw(channels * channels).reshape(channels, channels)
    matrix = np.eye(channels)
    for mirror in ndtri((raw + 0.5) / 2.0**64):
        matrix -= np.outer(2 / (mirror @ mirror) * (matrix @ mirror), mirror)
    return matrix.astype(np.float32)


def permuted(x: ArrayLike, kind: Permutation, index: int, back: bool = False) -> jax.Array:
    """Channels in another order, or turned: a gather where the permutation is hard, a product where it is soft.

    Examples:
      >>> x = jnp.arange(6.0).reshape(1, 1, 1, 6)
      >>> bool((permuted(permuted(x, "hard", 3), "hard", 3, back=True) == x).all())
      True
    """
    if kind == "hard":
        places = order(x.shape[-1], index)
        return _reordered(jnp.asarray(x), tuple((np.argsort(places) if back else places).tolist()))
    matrix = rotation(x.shape[-1], index)
    return jnp.matmul(x, matrix if back else matrix.T, precision=jax.lax.Precision.HIGHEST)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _reordered(x: ArrayLike, places: tuple[int, ...]) -> jax.Array:
    """x[..., places]. Its gradient is a reordering as well; left to autodiff it is a sum of scattered values.

    On CPU a product with zeros and ones where channels are few: XLA computes what a gather reads one value at a time,
    exponentials and tangents of a coupling among it, and lays its result out channel by channel.
    """
    x, taken = jnp.asarray(x), lambda x, places: x[..., places]
    gathered = lambda x: (
        operation("channels", taken, x, np.array(places)) if x.ndim == 4 else taken(x, np.array(places))
    )
    if len(places) > WIDEST_PRODUCT:
        return gathered(x)
    product = lambda x: pointwise(x, np.eye(len(places), dtype=x.dtype)[:, np.array(places)])
    return jax.lax.platform_dependent(x, cpu=product, default=gathered)


_reordered.defvjp(
    lambda x, places: (_reordered(x, places), None),
    lambda places, _, g: (_reordered(g, tuple(np.argsort(places).tolist())),),
)


def gain(raw: ArrayLike) -> jax.Array:
    """A positive factor of each channel, by its parameter: a tenth of a softplus of sharpness one half.

    Examples:
      >>> round(float(gain(jnp.asarray(GAIN))), 6)
      1.0
    """
    return 0.2 * jax.nn.softplus(0.5 * jnp.asarray(raw))


def soft_clamp(raw: ArrayLike, clamp: float) -> jax.Array:
    """About `raw` near 0, and within ± `clamp` everywhere.

    Examples:
      >>> soft_clamp(jnp.array([0.0, 1e9]), 2.0).round(2).tolist()
      [0.0, 2.0]
    """
    return 0.636 * clamp * jnp.arctan(jnp.asarray(raw) / clamp)


class OneSided(nn.Module):
    """x = [x1 x2] → P(g ⊙ [x1, x2 ⊙ e^s + t] + o), of one layer (FrEIA's all-in-one block, arXiv 2003.06233).

    (s, t) are a tenth of the subnet's output, s bounded by clamp · tanh. g and o are a gain and an offset a channel,
    P the permutation after it; x1 has the odd channel.
    """

    net: nn.Module
    channels: tuple[int, ...]
    clamp: float
    permutation: Permutation = "hard"
    index: int = 0

    def setup(self) -> None:
        shape = (self.channels[0],)
        self.scale = self.param("scale", nn.initializers.constant(GAIN), shape)
        self.offset = self.param("offset", nn.initializers.zeros, shape)

    def __call__(self, xs: Grids, conditions: Conditions) -> tuple[Grids, Dets]:
        first, second = self._halves(jnp.asarray(xs[0]))
        s, t = self._terms(first, conditions)
        g = gain(self.scale)
        y = jnp.concatenate([first, second * jnp.exp(s) + t], -1) * g + self.offset
        return (permuted(y, self.permutation, self.index),), (s.sum(-1) + jnp.log(g).sum(),)

    def inverse(self, ys: Grids, conditions: Conditions) -> Grids:
        x = (permuted(ys[0], self.permutation, self.index, back=True) - self.offset) / gain(self.scale)
        first, second = self._halves(x)
        s, t = self._terms(first, conditions)
        return (jnp.concatenate([first, (second - t) * jnp.exp(-s)], -1),)

    def _halves(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        at = x.shape[-1] - x.shape[-1] // 2
        return x[..., :at], x[..., at:]

    def _terms(self, first: jax.Array, conditions: Conditions) -> tuple[jax.Array, jax.Array]:
        s, t = jnp.split(0.1 * self.net((first,), conditions)[0], 2, -1)
        return self.clamp * jnp.tanh(s), t


class TwoSided(nn.Module):
    """y1 = e^λ(s2) ⊙ x1 + t2 by x2, then y2 = e^λ(s1) ⊙ x2 + t1 by y1, of one layer or of several together
    (Glow's coupling, as in arXiv 2008.12577 and 2110.02855).

    A permutation goes before it; x2 has the odd channel. λ is a soft clamp by an arc tangent.
    """

    by_first: nn.Module
    by_second: nn.Module
    clamp: float
    permutation: Permutation = "hard"
    index: int = 0

    def __call__(self, xs: Grids, conditions: Conditions) -> tuple[Grids, Dets]:
        firsts, seconds = self._halves(tuple(permuted(x, self.permutation, self.index) for x in xs))
        ahead = self._terms(self.by_second(seconds, conditions))
        firsts = tuple(jnp.exp(s) * x + t for x, (s, t) in zip(firsts, ahead, strict=True))
        behind = self._terms(self.by_first(firsts, conditions))
        seconds = tuple(jnp.exp(s) * x + t for x, (s, t) in zip(seconds, behind, strict=True))
        ys = tuple(jnp.clip(jnp.concatenate(pair, -1), -LARGEST, LARGEST) for pair in zip(firsts, seconds, strict=True))
        return ys, tuple(a.sum(-1) + b.sum(-1) for (a, _), (b, _) in zip(ahead, behind, strict=True))

    def inverse(self, ys: Grids, conditions: Conditions) -> Grids:
        firsts, seconds = self._halves(ys)
        behind = self._terms(self.by_first(firsts, conditions))
        seconds = tuple((y - t) * jnp.exp(-s) for y, (s, t) in zip(seconds, behind, strict=True))
        ahead = self._terms(self.by_second(seconds, conditions))
        firsts = tuple((y - t) * jnp.exp(-s) for y, (s, t) in zip(firsts, ahead, strict=True))
        whole = (jnp.concatenate(pair, -1) for pair in zip(firsts, seconds, strict=True))
        return tuple(permuted(x, self.permutation, self.index, back=True) for x in whole)

    def _halves(self, xs: Any) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
        at = [x.shape[-1] // 2 for x in xs]
        return tuple(x[..., :a] for x, a in zip(xs, at, strict=True)), tuple(
            x[..., a:] for x, a in zip(xs, at, strict=True)
        )

    def _terms(self, outs: Any) -> list[tuple[jax.Array, jax.Array]]:
        pairs = (jnp.split(out, 2, -1) for out in outs)
        return [(soft_clamp(s, self.clamp), t) for s, t in pairs]
