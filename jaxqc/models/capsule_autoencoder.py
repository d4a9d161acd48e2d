"""VT-ADL's network (arXiv 2104.10036): a ViT, a capsule of all its tokens, the image of it, and a mixture of tokens."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.models.patch_transformer import Encoder, PatchSpec, normal, xavier
from jaxqc.nn.conv import Norm, Pointwise, dense_conv, kernel_init, normalize
from jaxqc.types import ArrayLike

STEPS = ((16, 3, 2, 1), (32, 9, 3, 1), (32, 7, 5, 1), (16, 9, 2, 0), (8, 6, 1, 0), (3, 11, 1, 0))
"""Channels, kernel, stride and padding of the decoder's transposed convolutions, from 8 x 8 cells to 512 x 512."""
GRID, SIZE = 8, 512
"""Cells and pixels of a side."""
LEAST = 0.5 * math.log(2 * math.pi)
"""The least negative log-likelihood over the dimensions: no variance is below 1."""


def transposed(
    x: Float[ArrayLike, "n h w i"], kernel: Float[ArrayLike, "k k i o"], stride: int, padding: int
) -> Float[Array, "n _ _ o"]:
    """Transposed convolution (torch's `ConvTranspose2d`, kernel [i o k k]): (h - 1) stride - 2 padding + k a side.

    The outputs between two inputs are channels of one convolution, without a zero between inputs.

    Examples:
      >>> jax.jit(transposed, static_argnums=(2, 3))(jnp.ones((1, 2, 2, 1)), jnp.ones((3, 3, 1, 1)), 2, 1)[0, :, :, 0]
      Array([[1., 2., 1.],
             [2., 4., 2.],
             [1., 2., 1.]], dtype=float32)
    """
    x, kernel = jnp.asarray(x), jnp.asarray(kernel)
    (n, h, w, _), (k, _, i, o) = x.shape, kernel.shape
    taps = -(-k // stride)
    kernel = jnp.pad(kernel, ((0, taps * stride - k),) * 2 + ((0, 0),) * 2).reshape(taps, stride, taps, stride, i, o)
    kernel = kernel[::-1, :, ::-1].transpose(0, 2, 4, 1, 3, 5).reshape(taps, taps, i, stride * stride * o)
    y = dense_conv(x, kernel, padding=taps - 1)
    rows, columns = h + taps - 1, w + taps - 1
    y = y.reshape(n, rows, columns, stride, stride, o).transpose(0, 1, 3, 2, 4, 5)
    y = y.reshape(n, rows * stride, columns * stride, o)
    high, wide = (side * stride - stride - 2 * padding + k for side in (h, w))
    return y[:, padding : padding + high, padding : padding + wide]


class Wider(nn.Module):
    """A transposed convolution with batch norm and ReLU, or with bias and nothing behind it: [n h w i] → [n H W o]."""

    features: int
    kernel: int
    stride: int
    padding: int
    norm: Norm | None = Norm()

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "n h w i"], train: bool = False) -> jax.Array:
        kernel = self.param("kernel", kernel_init, (self.kernel, self.kernel, x.shape[-1], self.features))
        y = transposed(x, kernel, self.stride, self.padding)
        if self.norm is not None:
            return normalize(self, y, self.norm, train, nn.relu)
        return y + self.param("bias", nn.initializers.zeros, (self.features,))


class Mixture(nn.Module):
    """A token's negative log-likelihood by a mixture of Gaussians that it names itself, over its dimensions: [n t].

    No variance is below 1. It is at least `LEAST`. As published, values below 0 are seen as 0.

    Examples:
      >>> x = jnp.zeros((1, 4, 8))
      >>> jax.eval_shape(lambda: Mixture(3).init_with_output(jax.random.key(0), x)[0]).shape
      (1, 4)
    """

    components: int = 10

    @nn.compact
    def __call__(self, tokens: Float[ArrayLike, "n t d"]) -> Float[Array, "n t"]:
        x, seen = jnp.asarray(tokens), jnp.maximum(jnp.asarray(tokens), jnp.finfo(jnp.float32).eps)
        d = x.shape[-1]
        linear = lambda width, name: Pointwise(width, kernel_init=xavier, use_bias=False, name=name)(seen)
        share = nn.log_softmax(linear(self.components, "share"))
        shape = (*x.shape, self.components)
        spread = nn.softplus(linear(d * self.components, "spread")).reshape(shape)
        mean = linear(d * self.components, "mean").reshape(shape)
        each = -0.5 * (math.log(2 * math.pi) + spread + jnp.square(x[..., None] - mean) * jnp.exp(-spread)).sum(-2)
        return -jax.nn.logsumexp(share + each, -1) / d


def capsule(tokens: Float[ArrayLike, "n t d"], kernel: Float[ArrayLike, "m o i"]) -> Float[Array, "n o"]:
    """One capsule of all tokens, cut into m vectors of i numbers: their sum through `kernel`, its length below 1.

    Routing (arXiv 1710.09829) shares vectors among capsules; among one there is nothing to share.

    Examples:
      >>> [round(float(x), 4) for x in capsule(jnp.ones((1, 2, 4)), jnp.ones((4, 3, 2)))[0]]
      [0.5744, 0.5744, 0.5744]
    """
    m, _, i = kernel.shape
    total = jnp.einsum("nmi,moi->no", jnp.asarray(tokens).reshape(tokens.shape[0], m, i), jnp.asarray(kernel))
    square = jnp.square(total).sum(-1, keepdims=True)
    return total * jnp.sqrt(square + 1e-12) / (1 + square)


class CapsuleAutoencoder(nn.Module):
    """Image [n 512 512 3] → `rebuilt`, and `nll` of each patch's token [n 8 8], at least 0.

    vector: numbers of a capsule's inputs. noise: standard normal [n t d], which training adds to tokens, `deviation`
    times. Patches have 64 pixels a side, and `spec.dim` is a multiple of 64.

    Examples:
      >>> network, x = CapsuleAutoencoder(PatchSpec(64, 64, 2, 1, 8)), jnp.zeros((1, 512, 512, 3))
      >>> out = jax.eval_shape(lambda: network.init_with_output(jax.random.key(0), x)[0])
      >>> {name: value.shape for name, value in out.items()}
      {'nll': (1, 8, 8), 'rebuilt': (1, 512, 512, 3)}
    """

    spec: PatchSpec
    components: int = 10
    deviation: float = 0.2
    vector: int = 8
    norm: Norm = Norm()

    @nn.compact
    def __call__(
        self, x: Float[ArrayLike, "n h w c"], train: bool = False, noise: Float[ArrayLike, "n k"] | None = None
    ) -> dict[str, Array]:
        tokens = Encoder(self.spec, False, normal, self.norm.axis_name, name="encoder")(2 * jnp.asarray(x) - 1, train)
        if noise is not None:
            tokens = tokens + self.deviation * jnp.asarray(noise).reshape(tokens.shape)
        n, t, d = tokens.shape
        kernel = self.param("capsule", nn.initializers.normal(0.01), (t * d // self.vector, d, self.vector))
        nll = Mixture(self.components, name="mixture")(tokens).reshape(n, GRID, GRID) - LEAST
        y: Any = capsule(tokens, kernel).reshape(n, -1, GRID, GRID).transpose(0, 2, 3, 1)
        for i, step in enumerate(STEPS, 1):
            y = Wider(*step, norm=self.norm if i < len(STEPS) else None, name=f"decode{i}")(y, train)
        return {"nll": nll, "rebuilt": 0.5 * (1 + jnp.tanh(y))}
