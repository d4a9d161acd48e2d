"""UCTransNet (AAAI 2022): a U-Net whose skips are mixed by attention from channels to channels across all scales."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.models.levels import convolved, halved_max
from jaxqc.models.minet import log_odds
from jaxqc.nn.conv import ConvBN, Norm, Pointwise, PointwiseBN
from jaxqc.nn.dropout import Dropout
from jaxqc.nn.stack import repeated
from jaxqc.types import ArrayLike

WIDTHS = (64, 128, 256, 512)
"""Channels of the four skips; those below the last are as many."""
PATCHES = (16, 8, 4, 2)
"""Pixels along a side of a token, by scale."""
GRID = 14
"""Side of the learned position tables, in tokens: that of 224 pixels."""
LAYERS, HEADS = 4, 4
MULTIPLE = 16

Tokens = tuple[jax.Array, ...]
"""[n t c_i] of each scale."""


class Mixer(nn.Module):
    """A layer: every scale's channels look at those of all scales, then an MLP for each. 11,909,440 parameters."""

    norm: Norm = Norm()
    dropout: float = 0.1

    @nn.compact
    def __call__(self, tokens: Tokens, train: bool = False) -> Tokens:
        whole, dtype = jnp.concatenate(tokens, -1), self.norm.dtype
        n, t, wide = whole.shape
        linear = lambda features, name: Pointwise(features, dtype, use_bias=False, name=name)
        drop = Dropout(self.dropout, self.norm.axis_name)
        heads = lambda x: x.reshape(n, t, HEADS, -1)
        whole = _layer_norm(dtype, "norm")(whole)
        key, value = (heads(linear(HEADS * wide, name)(whole)) for name in ("key", "value"))
        out = []
        for i, x in enumerate(tokens, 1):
            query = heads(linear(HEADS * x.shape[-1], f"query{i}")(_layer_norm(dtype, f"norm{i}")(x)))
            alike = jnp.einsum("nthc,nthd->nhcd", query, key) / jnp.sqrt(jnp.asarray(wide, dtype))
            share = drop(nn.softmax(_standardised(alike)), train)
            mixed = jnp.einsum("nhcd,nthd->nthc", share, value).mean(2)
            x = x + drop(linear(x.shape[-1], f"out{i}")(mixed), train)
            inner = Pointwise(4 * x.shape[-1], dtype, name=f"wide{i}")(_layer_norm(dtype, f"mlp_norm{i}")(x))
            out.append(x + Pointwise(x.shape[-1], dtype, name=f"narrow{i}")(nn.gelu(inner, approximate=False)))
        return tuple(out)


def _standardised(x: Float[Array, "n h c d"]) -> Float[Array, "n h c d"]:
    """Mean 0 and variance 1 of each image and head."""
    centred = x - x.mean((2, 3), keepdims=True)
    return centred * jax.lax.rsqrt((centred**2).mean((2, 3), keepdims=True) + 1e-5)


def _layer_norm(dtype: Any, name: str) -> nn.LayerNorm:
    return nn.LayerNorm(epsilon=1e-6, dtype=dtype, use_fast_variance=False, name=name)


class Embedding(nn.Module):
    """Patches of a skip [n h w c] as tokens [n t c], with learned positions of a grid of 14, resized to the image's."""

    patch: int
    norm: Norm = Norm()
    dropout: float = 0.1

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        (n, h, w, c), k, dtype = x.shape, self.patch, self.norm.dtype
        kernel = self.param("kernel", nn.initializers.lecun_normal(in_axis=(0, 1, 2)), (k, k, c, c)).astype(dtype)
        bias = self.param("bias", nn.initializers.zeros, (c,)).astype(dtype)
        patches = x.reshape(n, h // k, k, w // k, k, c).swapaxes(2, 3).reshape(n, h // k, w // k, -1)
        place = self.param("position", nn.initializers.zeros, (GRID, GRID, c))
        place = jax.image.resize(place, (h // k, w // k, c), "bilinear", antialias=False).astype(dtype)
        tokens = patches @ kernel.reshape(-1, c) + bias + place
        return Dropout(self.dropout, self.norm.axis_name)(tokens.reshape(n, -1, c), train)


class ChannelGate(nn.Module):
    """CCA: a skip's channels weighted by its own means and those of the deeper map: 2c² + 2c at one width."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, skip: jax.Array, deep: jax.Array) -> jax.Array:
        c = skip.shape[-1]
        own = Pointwise(c, self.dtype, name="skip")(skip.mean((1, 2)))
        share = nn.sigmoid((own + Pointwise(c, self.dtype, name="deep")(deep.mean((1, 2)))) / 2)
        return nn.relu(skip * share[:, None, None])


class UCTransNet(nn.Module):
    """Normalised image [n s s 3] (s a multiple of 16) → `map` [n s s]; 66,425,793 parameters at width 1.

    With `aux` the map's `logits` [n s s]. The four layers are one traced block whose parameters have a leading axis.

    Examples:
      >>> start, image = uctransnet(1, 0.125, Norm(), 0.1).init_with_output, jnp.zeros((1, 64, 64, 3))
      >>> sorted(jax.eval_shape(lambda: start(jax.random.key(0), image, aux=True)[0]))
      ['logits', 'map']
    """

    widths: tuple[int, ...] = WIDTHS
    norm: Norm = Norm()
    dropout: float = 0.1
    foreground: float = 0.5

    @nn.compact
    def __call__(self, image: Float[ArrayLike, "n h w 3"], train: bool = False, aux: bool = False) -> dict[str, Array]:
        norm, widths, n = self.norm, self.widths, image.shape[0]
        x = jnp.asarray(ConvBN(widths[0], norm=norm, name="inc")(jnp.asarray(image, norm.dtype), train))
        skips = [x]
        for level, width in enumerate((*widths[1:], widths[-1]), 1):
            x = convolved(halved_max(x), (width, width), f"down{level}", norm, train)
            skips.append(x)
        x = skips.pop()
        tokens = tuple(
            Embedding(patch, norm, self.dropout, name=f"embed{i}")(skip, train)
            for i, (patch, skip) in enumerate(zip(PATCHES, skips, strict=True), 1)
        )
        tokens = repeated(Mixer(norm, self.dropout, name="mixer"), tokens, LAYERS, train, train=train)
        for i, patch in reversed(list(enumerate(PATCHES, 1))):
            skip = skips[i - 1]
            whole = _layer_norm(norm.dtype, f"norm{i}")(tokens[i - 1])
            # Mixed before it is enlarged: equal, and a fraction of the work.
            small = whole.reshape(n, skip.shape[1] // patch, skip.shape[2] // patch, -1)
            rebuilt = jnp.asarray(PointwiseBN(skip.shape[-1], norm, name=f"rebuild{i}")(small, train))
            skip = skip + _repeated(rebuilt, patch)
            x = _repeated(x, 2)
            x = jnp.concatenate([ChannelGate(norm.dtype, name=f"gate{i}")(skip, x), x], -1)
            width = widths[max(i - 2, 0)]
            x = convolved(x, (width, width), f"up{i}", norm, train)
        prior = nn.initializers.constant(log_odds(self.foreground))
        logits = Pointwise(1, norm.dtype, prior, name="out")(x)[..., 0].astype(jnp.float32)
        return {"map": nn.sigmoid(logits)} | ({"logits": logits} if aux else {})


def _repeated(x: jax.Array, times: int) -> jax.Array:
    """Each pixel as a square of `times` a side."""
    n, h, w, c = x.shape
    return jnp.broadcast_to(x[:, :, None, :, None], (n, h, times, w, times, c)).reshape(n, h * times, w * times, c)


def uctransnet(classes: int, width: float, norm: Norm, foreground: float) -> UCTransNet:
    """UCTransNet as a builder (`jaxqc.models.Builder`); it has no branches for `classes`.

    Examples:
      >>> uctransnet(3, 0.25, Norm(), 0.02).widths
      (16, 32, 64, 128)
    """
    return UCTransNet(tuple(max(4, 4 * round(c * width / 4)) for c in WIDTHS), norm, foreground=foreground)
