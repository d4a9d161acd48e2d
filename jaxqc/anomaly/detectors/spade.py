"""Images by their nearest normal images, pixels by those images' nearest pixels: SPADE (arXiv 2005.02357)."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxqc.anomaly.detectors.base import ODD_FEATURES, Image, Layers, Scored, Shapes
from jaxqc.anomaly.ops.maps import distance_map
from jaxqc.anomaly.ops.neighbours import nearest
from jaxqc.anomaly.ops.rows import Rows, keep, store
from jaxqc.data.resizing import Size, sides
from jaxqc.fields import check_positive
from jaxqc.nn.resizing import resize
from jaxqc.types import ArrayLike


class Gallery(NamedTuple):
    """SPADE's memory: pooled features of the normal images, and their features layer by layer."""

    pooled: Float[Array, "n d"]
    layers: tuple[Float[Array, "n P c"], ...]


@dataclass(frozen=True)
class Spade:
    """Images by their nearest normal images, pixels by those images' nearest pixels (arXiv 2005.02357).

    The image's score is the mean distance of its pooled deepest
    features to them; the map is the mean over layers of each position's distance to the nearest of their positions.
    """

    images: int = 50
    """Normal images retrieved for each image (K of the paper)."""
    sigma: float = 4.0
    """Standard deviation of the map's smoothing, in pixels."""

    states = (Gallery,)
    advice = ODD_FEATURES

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        check_positive({"images": self.images}, where)

    def embed(self, layers: Layers, image: Image) -> Layers:
        """All of it."""
        return layers

    def begin(self, shapes: Shapes, samples: int) -> Rows:
        return Rows(tuple(jnp.zeros((samples, h * w, c)) for h, w, c in shapes))

    def collect(self, collected: Rows, embedded: Layers, number: Int[ArrayLike, " b"]) -> Rows:
        return store(collected, tuple(x.reshape(x.shape[0], -1, x.shape[-1]) for x in embedded), number)

    def drop(self, collected: Rows, used: Int[ArrayLike, " n"]) -> Rows:
        return keep(collected, used)

    def finish(self, collected: Rows, shapes: Shapes) -> Gallery:
        return Gallery(collected.features[-1].mean(1), collected.features)

    def score(self, state: Gallery, embedded: Layers, size: Size) -> Scored:
        k = min(self.images, len(state.pooled))
        apart, neighbours = nearest(embedded[-1].mean((1, 2)), state.pooled, k)

        def one(x: tuple[tuple[jax.Array, ...], jax.Array]) -> jax.Array:
            own, chosen = x
            maps = [
                nearest(y.reshape(-1, y.shape[-1]), kept[chosen].reshape(-1, y.shape[-1]), 1, 256)[0].reshape(
                    y.shape[:2]
                )
                for y, kept in zip(own, state.layers, strict=True)
            ]
            return jnp.stack([resize(m[None, ..., None], *sides(size))[0, ..., 0] for m in maps]).mean(0)

        grid = jax.lax.map(one, (embedded, neighbours))
        return distance_map(grid, *sides(size), self.sigma), apart.mean(1)
