"""Transformers that rebuild a map's cells, or an image's patches, as tokens."""

from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxqc.nn.conv import Pointwise
from jaxqc.nn.dropout import Dropout
from jaxqc.nn.self_attention import attend, attend_where, beyond
from jaxqc.types import ArrayLike

xavier: Any = nn.initializers.xavier_uniform()
places: Any = nn.initializers.uniform(1.0)


@dataclass(frozen=True)
class TokenSpec:
    """Sizes of a transformer. dim: channels of a token. heads: of attention. layers: of encoder and decoder each.

    hidden: units between a layer's two linear ones. dropout: share of values that training zeroes. hide: side of the
    square of cells about a token, an odd number, whose tokens it does not see; 0 = it sees all.
    """

    dim: int = 256
    heads: int = 8
    layers: int = 4
    hidden: int = 1024
    dropout: float = 0.1
    hide: int = 7


class TokenLayer(nn.Module):
    """Attention to each of some sources, then two linear layers; a layer norm behind each (post-norm): [n t d] → same.

    where: positions [t d], added to queries and keys. allowed: the tokens that each may see; None = all.
    """

    spec: TokenSpec
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self,
        x: Float[ArrayLike, "n t d"],
        sources: tuple[Float[ArrayLike, "n t d"], ...],
        where: Float[ArrayLike, "t d"],
        allowed: Bool[ArrayLike, "t t"] | None,
        train: bool = False,
    ) -> Float[Array, "n t d"]:
        spec, x = self.spec, jnp.asarray(x)
        drop = lambda y: Dropout(spec.dropout, self.axis_name)(y, train)
        linear = lambda width, name: Pointwise(width, kernel_init=xavier, name=name)
        norm = lambda name: nn.LayerNorm(epsilon=1e-5, use_fast_variance=False, name=name)
        for i, source in enumerate(sources, 1):
            given = {"query": x + where, "key": source + where, "value": source}
            parts = [linear(spec.dim, f"{name}{i}")(y) for name, y in given.items()]
            q, k, v = (y.reshape(*y.shape[:2], spec.heads, -1) for y in parts)
            mixed = attend(q, k, v) if allowed is None else attend_where(q, k, v, allowed, drop)
            x = norm(f"norm{i}")(x + drop(linear(spec.dim, f"out{i}")(mixed.reshape(x.shape))))
        y = drop(nn.relu(linear(spec.hidden, "grow")(x)))
        return norm("norm")(x + drop(linear(spec.dim, "shrink")(y)))


class TokenAutoencoder(nn.Module):
    """A map [n h w c] → `rebuilt` [n h w c], cell by cell: UniAD's transformer (arXiv 2206.03687).

    Each layer of the decoder has queries of its own, which were learned: they ask the encoder, and what they find asks
    the layer before. No cell sees the square about it, so that none is passed on as it is. Without `hide`, attention
    has no dropout of its shares.

    Examples:
      >>> import jax
      >>> network, x = TokenAutoencoder(TokenSpec(8, 2, 1, 16)), jnp.zeros((2, 8, 8, 5))
      >>> out = jax.eval_shape(lambda: network.init_with_output(jax.random.key(0), x)[0])
      >>> {name: value.shape for name, value in out.items()}
      {'rebuilt': (2, 8, 8, 5)}
    """

    spec: TokenSpec
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "n h w c"], train: bool = False) -> dict[str, Array]:
        spec, (n, height, width, channels) = self.spec, x.shape
        tokens, half = height * width, spec.dim // 2
        columns = self.param("columns", places, (width, half))
        rows = self.param("rows", places, (height, spec.dim - half))
        along = jnp.broadcast_to(columns, (height, width, half))
        down = jnp.broadcast_to(rows[:, None], (height, width, spec.dim - half))
        where = jnp.concatenate([along, down], -1).reshape(tokens, spec.dim)
        allowed = beyond(height, width, spec.hide) if spec.hide else None
        linear = lambda width, name: Pointwise(width, kernel_init=xavier, name=name)
        memory = linear(spec.dim, "into")(jnp.asarray(x).reshape(n, tokens, channels))
        for number in range(1, spec.layers + 1):
            layer = TokenLayer(spec, self.axis_name, name=f"encode{number}")
            memory = layer(memory, (memory,), where, allowed, train)
        out = memory
        for number in range(1, spec.layers + 1):
            asked = self.param(f"queries{number}", nn.initializers.normal(1.0), (tokens, spec.dim))
            layer = TokenLayer(spec, self.axis_name, name=f"decode{number}")
            out = layer(jnp.broadcast_to(asked, out.shape), (memory, out), where, allowed, train)
        out = nn.LayerNorm(epsilon=1e-5, use_fast_variance=False, name="norm")(out)
        return {"rebuilt": linear(channels, "out")(out).reshape(n, height, width, channels)}
