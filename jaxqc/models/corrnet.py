"""CorrNet (TGRS 2022): a light VGG, a correlation of its two deepest maps, and refinement by dilated convolutions."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.models.levels import convolved, enlarged, halved_max
from jaxqc.models.minet import log_odds
from jaxqc.nn.conv import Conv, DepthwiseSeparable, Norm, Pointwise, PointwiseBN
from jaxqc.nn.dropout import ChannelDropout
from jaxqc.types import ArrayLike

WIDTHS = (64, 128, 256, 512, 512)
REDUCED = 128
"""Channels of the two maps that are correlated."""
DILATIONS = (2, 4, 6)


class DenseRefinement(nn.Module):
    """DLRB: three dilated depthwise separable convolutions, each added to all before it and mixed; 6c² + 45c.

    [n h w c] → [n h w c].
    """

    norm: Norm = Norm()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        total, width = x, x.shape[-1]
        for number, dilation in enumerate(DILATIONS, 1):
            fresh = DepthwiseSeparable(width, 1, dilation, self.norm, name=f"wide{number}")(x, train)
            x = PointwiseBN(width, self.norm, name=f"mix{number}")(total + fresh, train)
            total = total + x
        return x


class Correlation(nn.Module):
    """Two maps [n h w c], each rebuilt of the other by how alike their positions are → joined, [n h w c].

    4c² + 37c + ... parameters
    """

    norm: Norm = Norm()

    @nn.compact
    def __call__(self, deep: jax.Array, shallow: jax.Array, train: bool = False) -> jax.Array:
        n, h, w, c = deep.shape
        dtype = self.norm.dtype
        e, q = (x.reshape(n, h * w, c) for x in (deep, shallow))
        alike = jnp.einsum("nec,nqc->neq", Pointwise(c, dtype, use_bias=False, name="alike")(e), q)
        from_e = jnp.einsum("neq,nec->nqc", nn.softmax(alike, axis=1), e).reshape(n, h, w, c)
        from_q = jnp.einsum("neq,nqc->nec", nn.softmax(alike, axis=2), q).reshape(n, h, w, c)
        gate = lambda x, name: x * nn.sigmoid(Pointwise(1, dtype, use_bias=False, name=name)(x))
        shared = DepthwiseSeparable(c, norm=self.norm, name="shared")
        both = [
            jnp.asarray(shared(gate(from_q, "gate_deep") + deep, train)),
            jnp.asarray(shared(gate(from_e, "gate_shallow") + shallow, train)),
        ]
        return DepthwiseSeparable(c, norm=self.norm, name="joined")(jnp.concatenate(both, -1), train)


class Attended(nn.Module):
    """x + its channels and then its places weighted by what is largest in them. c²/2 + 9 parameters."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        c = x.shape[-1]
        inner = nn.relu(Pointwise(max(1, c // 4), self.dtype, use_bias=False, name="squeeze")(x.max((1, 2))))
        weighted = x * nn.sigmoid(Pointwise(c, self.dtype, use_bias=False, name="excite")(inner))[:, None, None]
        place = Conv(1, dtype=self.dtype, use_bias=False, name="place")(weighted.max(-1, keepdims=True))
        return x + weighted * nn.sigmoid(place)


class CorrNet(nn.Module):
    """Normalised image [n s s 3] (s a multiple of 32) → `map` [n s s]; 4,066,966 parameters at width 1.

    With `aux` the logits `s1`, `s2` [n s s], `s3` [n s/2 s/2] and `g` [n s/8 s/8]. All resizing aligns corners. Of the
    published 4,086,166 parameters 18,048 take no part, and 1,152 are biases that batch norm takes away again.

    Examples:
      >>> start, image = corrnet(1, 0.125, Norm(), 0.1).init_with_output, jnp.zeros((1, 64, 64, 3))
      >>> sorted(jax.eval_shape(lambda: start(jax.random.key(0), image, aux=True)[0]))
      ['g', 'map', 's1', 's2', 's3']
    """

    widths: tuple[int, ...] = WIDTHS
    reduced: int = REDUCED
    norm: Norm = Norm()
    dropout: float = 0.1
    foreground: float = 0.5

    @nn.compact
    def __call__(self, image: Float[ArrayLike, "n h w 3"], train: bool = False, aux: bool = False) -> dict[str, Array]:
        norm, widths = self.norm, self.widths
        x1 = convolved(jnp.asarray(image, norm.dtype), (widths[0],) * 2, "conv1", norm, train)
        x2 = convolved(halved_max(x1), (widths[1],) * 2, "conv2", norm, train)
        x3 = convolved(halved_max(x2), (widths[2],) * 3, "conv3", norm, train)
        x4 = self._light(x3, 4, train)
        x5 = self._light(x4, 5, train)
        prior = nn.initializers.constant(log_odds(self.foreground))

        def head(x: jax.Array, name: str) -> jax.Array:
            x = ChannelDropout(self.dropout, norm.axis_name)(x, train)
            return Pointwise(1, norm.dtype, prior, name=name)(x).astype(jnp.float32)

        small = [
            DepthwiseSeparable(self.reduced, norm=norm, name=f"reduce{k}")(x, train) for k, x in ((4, x4), (5, x5))
        ]
        joined = Correlation(norm, name="correlation")(enlarged(small[1]), jnp.asarray(small[0]), train)
        guide = Pointwise(1, norm.dtype, prior, name="g")(joined).astype(jnp.float32)
        logits = {"g": guide}
        x = x3 * (1 + enlarged(nn.sigmoid(guide)).astype(norm.dtype))
        x = self._refined(x, 3, self.widths[1], train)
        logits["s3"] = head(x, "s3")
        x = jnp.concatenate([x, Attended(norm.dtype, name="attend2")(x2)], -1)
        x = DepthwiseSeparable(self.widths[1], norm=norm, name="narrow2")(x, train)
        x = self._refined(jnp.asarray(x), 2, self.widths[0], train)
        logits["s2"] = head(x, "s2")
        x = jnp.concatenate([x, Attended(norm.dtype, name="attend1")(x1)], -1)
        x = DepthwiseSeparable(self.widths[0], norm=norm, name="narrow1")(x, train)
        logits["s1"] = head(DenseRefinement(norm, name="refine1")(jnp.asarray(x), train), "s1")
        out = {name: value[..., 0] for name, value in logits.items()}
        return {"map": nn.sigmoid(out["s1"])} | (out if aux else {})

    def _light(self, x: jax.Array, stage: int, train: bool) -> jax.Array:
        """A deep stage of the encoder: three depthwise separable convolutions at half the sides."""
        x = halved_max(x)
        for number in (1, 2, 3):
            x = DepthwiseSeparable(self.widths[stage - 1], norm=self.norm, name=f"conv{stage}_{number}")(x, train)
        return jnp.asarray(x)

    def _refined(self, x: jax.Array, stage: int, width: int, train: bool) -> jax.Array:
        x = enlarged(DenseRefinement(self.norm, name=f"refine{stage}")(x, train))
        return jnp.asarray(DepthwiseSeparable(width, norm=self.norm, name=f"up{stage}")(x, train))


VGG16 = {"conv1_1": 0, "conv1_2": 2, "conv2_1": 5, "conv2_2": 7, "conv3_1": 10, "conv3_2": 12, "conv3_3": 14}
"""Convolutions that start from VGG-16's, by their places in torchvision's list."""


def corrnet(classes: int, width: float, norm: Norm, foreground: float) -> CorrNet:
    """CorrNet as a builder (`jaxqc.models.Builder`); it has no branches for `classes`.

    Examples:
      >>> corrnet(3, 0.25, Norm(), 0.02).widths
      (16, 32, 64, 128, 128)
    """
    scaled = [max(4, 4 * round(c * width / 4)) for c in (*WIDTHS, REDUCED)]
    return CorrNet(tuple(scaled[:-1]), scaled[-1], norm, foreground=foreground)
