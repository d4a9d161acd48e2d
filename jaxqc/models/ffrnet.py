"""FFRNet (TNNLS 2022), our reading: no code or layer figures are public, and none here are claimed to be its authors'.

The abstract names an autofocus module (fine detail), a panorama module (long range, across levels) and a rectification
of foreground and background by each other; how they are built is ours.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxqc.models.backbones import family
from jaxqc.models.levels import convolved
from jaxqc.models.minet import check_sides, log_odds
from jaxqc.models.resnet import LAYERS
from jaxqc.nn.conv import Norm, Pointwise, PointwiseBN, kernel_init, normalize
from jaxqc.nn.resizing import resize
from jaxqc.types import ArrayLike

ENCODER = "resnet34"
WIDTH, QUERY = 64, 32
DILATIONS = (1, 2, 4, 8)


class DilatedBN(nn.Module):
    """Dense dilated 3x3 convolution without bias + batch norm + ReLU: [n h w i] → [n h w features]."""

    features: int
    dilation: int
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        kernel = self.param("kernel", kernel_init, (3, 3, x.shape[-1], self.features)).astype(self.norm.dtype)
        around, names = (self.dilation, self.dilation), ("NHWC", "HWIO", "NHWC")
        y = lax.conv_general_dilated(x, kernel, (1, 1), (around, around), None, around, names)
        return normalize(self, y, self.norm, train)


class Autofocus(nn.Module):
    """Four dilated convolutions, weighted by what the whole map says of each, added to it: [n h w c] → [n h w c]."""

    norm: Norm = Norm()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        c, dtype = x.shape[-1], self.norm.dtype
        inner = nn.relu(Pointwise(max(1, c // 4), dtype, name="squeeze")(x.mean((1, 2))))
        share = nn.softmax(Pointwise(len(DILATIONS), dtype, name="choose")(inner))
        seen = [DilatedBN(c, d, self.norm, name=f"dilation{d}")(x, train) for d in DILATIONS]
        return x + sum(share[:, i, None, None, None] * y for i, y in enumerate(seen))


class Panorama(nn.Module):
    """The deeper map as each place of the shallower asks for it, added to that: [n h w c], [n _ _ c] → [n h w c]."""

    queries: int = QUERY
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, shallow: jax.Array, deep: jax.Array) -> jax.Array:
        n, h, w, c = shallow.shape
        linear = lambda features, name: Pointwise(features, self.norm.dtype, use_bias=False, name=name)
        query = linear(self.queries, "query")(shallow).reshape(n, h * w, -1)
        deep = resize(deep, h, w).reshape(n, h * w, c)
        key, value = linear(self.queries, "key")(deep), linear(c, "value")(deep)
        alike = nn.softmax(jnp.einsum("nqc,nkc->nqk", query, key) / self.queries**0.5)
        return shallow + jnp.einsum("nqk,nkc->nqc", alike, value).reshape(n, h, w, c)


class FFRNet(nn.Module):
    """Normalised image [n s s 3] (s a multiple of 32) → `map` [n s s], defect against ground by a softmax of two heads.

    Our reading; no code or layer figures are public. With `aux` the logits [n _ _] of both heads, `p4`, `p8`, `p16` of
    the defect and `q4`, `q8`, `q16` of the ground, at strides 4, 8 and 16.

    Examples:
      >>> start, image = ffrnet(1, 0.25, Norm(), 0.1).init_with_output, jnp.zeros((1, 64, 64, 3))
      >>> sorted(jax.eval_shape(lambda: start(jax.random.key(0), image, aux=True)[0]))
      ['map', 'p16', 'p4', 'p8', 'q16', 'q4', 'q8']
    """

    encoder: nn.Module
    width: int = WIDTH
    queries: int = QUERY
    norm: Norm = Norm()
    foreground: float = 0.5

    @nn.compact
    def __call__(self, image: Float[ArrayLike, "n h w 3"], train: bool = False, aux: bool = False) -> dict[str, Array]:
        check_sides(image)
        norm, seen = self.norm, []
        for level, x in enumerate(self.encoder(jnp.asarray(image, self.norm.dtype), train).values(), 1):
            narrow = jnp.asarray(PointwiseBN(self.width, norm, name=f"narrow{level}")(x, train))
            seen.append(Autofocus(norm, name=f"focus{level}")(narrow, train))
        seen[2] = Panorama(self.queries, norm, name="panorama")(seen[2], seen[3])
        x, logits = seen[3], {}
        for level in (2, 1, 0):
            x = jnp.concatenate([seen[level], resize(x, *seen[level].shape[1:3])], -1)
            x = convolved(x, (self.width,) * 2, f"up{level + 1}", norm, train)
            for name, share in (("p", self.foreground), ("q", 1 - self.foreground)):
                start = nn.initializers.constant(log_odds(share))
                head = Pointwise(1, norm.dtype, start, name=f"{name}{4 * 2**level}")
                logits[f"{name}{4 * 2**level}"] = head(x)[..., 0].astype(jnp.float32)
        apart = resize((logits["p4"] - logits["q4"])[..., None], *image.shape[1:3])[..., 0]
        return {"map": nn.sigmoid(apart)} | (logits if aux else {})


def ffrnet(classes: int, width: float, norm: Norm, foreground: float) -> FFRNet:
    """Our reading of FFRNet as a builder (`jaxqc.models.Builder`); `width` scales all but its encoder.

    Examples:
      >>> ffrnet(3, 0.5, Norm(), 0.02).width
      32
    """
    encoder = family(ENCODER).build(ENCODER, LAYERS, norm)
    features, queries = (max(4, 4 * round(c * width / 4)) for c in (WIDTH, QUERY))
    return FFRNet(encoder, features, queries, norm, foreground)
