"""Transformers of an image's patches that rebuild it: InTra's windows with a hidden patch, and a ViT with a decoder."""

from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxqc.nn.conv import Norm, Pointwise
from jaxqc.nn.dropout import Dropout
from jaxqc.nn.self_attention import attend
from jaxqc.nn.transposed import ConvUnit
from jaxqc.types import ArrayLike

xavier: Any = nn.initializers.xavier_uniform()
normal: Any = nn.initializers.normal(1.0)
small: Any = nn.initializers.normal(0.02)


@dataclass(frozen=True)
class PatchSpec:
    """A transformer over patches of `side` pixels: channels `dim`, attention's `heads`, `layers`, `hidden` units.

    features: queries and keys by an MLP, of half the channels (InTra's feature attention). biases: of queries, keys
    and values. whole: scores are over the root of `dim`, not of a head's channels. dropout: behind the hidden units.
    """

    side: int = 16
    dim: int = 512
    heads: int = 8
    layers: int = 13
    hidden: int = 2048
    features: bool = False
    biases: bool = True
    whole: bool = False
    dropout: float = 0.0
    epsilon: float = 1e-5


def patched(x: Float[ArrayLike, "n h w c"], side: int) -> Float[Array, "n t p"]:
    """Patches of an image in rows, each with its pixels in rows.

    Examples:
      >>> patched(jnp.arange(8.0).reshape(1, 2, 4, 1), 2).tolist()
      [[[0.0, 1.0, 4.0, 5.0], [2.0, 3.0, 6.0, 7.0]]]
    """
    n, h, w, c = x.shape
    x = jnp.asarray(x).reshape(n, h // side, side, w // side, side, c)
    return x.swapaxes(2, 3).reshape(n, (h // side) * (w // side), side * side * c)


def assembled(patches: Float[ArrayLike, "n t p"], side: int, columns: int) -> Float[Array, "n h w c"]:
    """The image of patches, inverse of `patched`.

    Examples:
      >>> assembled(patched(jnp.arange(8.0).reshape(1, 2, 4, 1), 2), 2, 2).ravel().tolist()
      [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    """
    n, t, p = patches.shape
    x = jnp.asarray(patches).reshape(n, t // columns, columns, side, side, p // side**2)
    return x.swapaxes(2, 3).reshape(n, side * (t // columns), side * columns, -1)


class PreNormLayer(nn.Module):
    """x + attention(norm(x)), then x + two linear layers of norm(x) with an exact GELU between: [n t d] → [n t d]."""

    spec: PatchSpec
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "n t d"], train: bool = False) -> Float[Array, "n t d"]:
        spec, x = self.spec, jnp.asarray(x)
        n, t, d = x.shape
        norm = lambda name: nn.LayerNorm(epsilon=spec.epsilon, use_fast_variance=False, name=name)
        linear = lambda width, name, bias=True: Pointwise(width, kernel_init=xavier, use_bias=bias, name=name)
        gelu = lambda y: nn.gelu(y, approximate=False)
        y = norm("norm1")(x)
        if spec.features:
            q, k = (linear(d // 2, f"{kind}2")(gelu(linear(2 * d, f"{kind}1")(y))) for kind in ("query", "key"))
        else:
            q, k = (linear(d, kind, spec.biases)(y) for kind in ("query", "key"))
        parts = (x.reshape(n, t, spec.heads, -1) for x in (q, k, linear(d, "value", spec.biases)(y)))
        q, k, v = parts
        q = q * (q.shape[-1] / d) ** 0.5 if spec.whole else q
        x = x + linear(d, "out")(attend(q, k, v).reshape(n, t, d))
        y = gelu(linear(spec.hidden, "grow")(norm("norm2")(x)))
        return x + linear(d, "shrink")(Dropout(spec.dropout, self.axis_name)(y, train))


def windows(rows: int, columns: int, side: int) -> tuple[Int[np.ndarray, "t k"], Int[np.ndarray, " t"]]:
    """For each cell of a grid the cells of a square about it that lies within the grid, and its own place there.

    Examples:
      >>> cells, own = windows(1, 4, 1)
      >>> cells.tolist(), own.tolist()
      ([[0], [1], [2], [3]], [0, 0, 0, 0])
    """
    row, column = np.divmod(np.arange(rows * columns), columns)
    top, left = (np.clip(at - side // 2, 0, n - side) for at, n in ((row, rows), (column, columns)))
    down, right = np.divmod(np.arange(side * side), side)
    cells = (top[:, None] + down) * columns + left[:, None] + right
    return cells, (row - top) * side + column - left


class WindowFilling(nn.Module):
    """Image [n h w c] → `rebuilt` [n h w c], each patch from the others of a window of `window` patches about it.

    InTra (arXiv 2104.13897). noise: standard normal [n 3], of training, which draws a window of each image and hides a
    patch in it: `rebuilt` is then that patch [n k k c], and `target` what was hidden.

    Examples:
      >>> network, x = WindowFilling(PatchSpec(4, 8, 2, 3, 16, features=True), 3), jnp.zeros((2, 16, 16, 3))
      >>> out = jax.eval_shape(lambda: network.init_with_output(jax.random.key(0), x)[0])
      >>> {name: value.shape for name, value in out.items()}
      {'rebuilt': (2, 16, 16, 3)}
    """

    spec: PatchSpec
    window: int = 7
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, x: Float[ArrayLike, "n h w c"], train: bool = False, noise: Float[ArrayLike, "n 3"] | None = None
    ) -> dict[str, Array]:
        spec, side, x = self.spec, self.spec.side, jnp.asarray(x)
        n, rows, columns = x.shape[0], x.shape[1] // side, x.shape[2] // side
        patches = patched(x, side)
        where = jnp.asarray(self.param("positions", normal, (rows * columns, spec.dim)))
        known = Pointwise(spec.dim, kernel_init=xavier, name="into")(patches) + where
        blank = self.param("hidden", normal, (spec.dim,)) + where
        places, pixels = np.arange(self.window**2), patches.shape[-1]
        if noise is None:
            cells, own = windows(rows, columns, self.window)
            tokens = jnp.where((places == own[:, None])[..., None], blank[cells], known[:, cells])
            out = self.filled(tokens.reshape(-1, len(places), spec.dim), pixels, train)
            return {"rebuilt": assembled(out.reshape(n, rows * columns, pixels), side, columns)}
        cells, own = self.drawn(jnp.asarray(noise), rows, columns)
        seen = jnp.take_along_axis(known, cells[..., None], 1)
        out = self.filled(jnp.where((places == own)[..., None], blank[cells], seen), pixels, train)
        target = jnp.take_along_axis(patches, jnp.take_along_axis(cells, own, 1)[..., None], 1)
        return {"rebuilt": assembled(out[:, None], side, 1), "target": assembled(target, side, 1)}

    def drawn(self, noise: Float[Array, "n 3"], rows: int, columns: int) -> tuple[Any, Any]:
        """A window of each image [n k], and the place of the patch that is hidden there [n 1]."""
        last = (rows - self.window + 1, columns - self.window + 1, self.window**2)
        share = jax.scipy.special.ndtr(noise)
        top, left, own = (jnp.minimum(jnp.floor(share[:, i] * m), m - 1).astype(jnp.int32) for i, m in enumerate(last))
        down, right = np.divmod(np.arange(self.window**2), self.window)
        cells = (top[:, None] + down) * columns + left[:, None] + right
        return cells, own[:, None]

    def filled(self, tokens: Float[Array, "m k d"], pixels: int, train: bool) -> Float[Array, "m p"]:
        """The pixels of windows' hidden patches. Blocks of the second half also take up what the first half gave."""
        seen: list[Any] = []
        for i in range(self.spec.layers):
            tokens = tokens + seen[self.spec.layers - i] if i > self.spec.layers / 2 else tokens
            tokens = PreNormLayer(self.spec, self.axis_name, name=f"block{i}")(tokens, train)
            seen.append(tokens)
        mean = nn.LayerNorm(epsilon=self.spec.epsilon, use_fast_variance=False, name="norm")(tokens).mean(1)
        return Pointwise(pixels, kernel_init=xavier, name="out")(mean)


class Encoder(nn.Module):
    """Image [n h w c] → a token of each patch [n t d]: a ViT, whose class token stays behind.

    last: a layer norm behind the blocks. start: of the positions and the class token.
    """

    spec: PatchSpec
    last: bool = True
    start: Any = small
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "n h w c"], train: bool = False) -> Float[Array, "n t d"]:
        spec = self.spec
        tokens = Pointwise(spec.dim, kernel_init=xavier, name="into")(patched(x, spec.side))
        n, t, d = tokens.shape
        own = jnp.broadcast_to(self.param("class", self.start, (1, 1, d)), (n, 1, d))
        tokens = jnp.concatenate([own, tokens], 1) + self.param("positions", self.start, (t + 1, d))
        for i in range(spec.layers):
            tokens = PreNormLayer(spec, self.axis_name, name=f"block{i}")(tokens, train)
        if self.last:
            tokens = nn.LayerNorm(epsilon=spec.epsilon, use_fast_variance=False, name="norm")(tokens)
        return tokens[:, 1:]


class VitAutoencoder(nn.Module):
    """Image [n h w c] → `rebuilt` [n h w c]: a ViT, then transposed convolutions from its tokens' map (AnoViT).

    Published are ViT-B/16 and that the decoder has four such, whose channels here are d/2, d/4, d/8 and c.

    Examples:
      >>> network, x = VitAutoencoder(PatchSpec(16, 8, 2, 1, 16)), jnp.zeros((2, 32, 32, 3))
      >>> out = jax.eval_shape(lambda: network.init_with_output(jax.random.key(0), x)[0])
      >>> {name: value.shape for name, value in out.items()}
      {'rebuilt': (2, 32, 32, 3)}
    """

    spec: PatchSpec
    norm: Norm = Norm()

    @nn.compact
    def __call__(
        self, x: Float[ArrayLike, "n h w c"], train: bool = False, noise: Float[ArrayLike, "n k"] | None = None
    ) -> dict[str, Array]:
        spec, (n, h, w, c) = self.spec, x.shape
        tokens = Encoder(spec, axis_name=self.norm.axis_name, name="encoder")(x, train)
        y: Any = tokens.reshape(n, h // spec.side, w // spec.side, spec.dim)
        steps = spec.side.bit_length() - 1
        for i in range(1, steps + 1):
            width, last = (c, True) if i == steps else (max(1, spec.dim // 2**i), False)
            own: dict[str, Any] = {"norm": None, "act": None} if last else {"norm": self.norm}
            y = ConvUnit(width, 4, 2, up="transposed", name=f"decode{i}", **own)(y, train)
        return {"rebuilt": nn.sigmoid(y)}
