"""Distance to the nearest of a coreset of normal patches: PatchCore (arXiv 2106.08265)."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxqc.anomaly.detectors.base import Image, Layers, Scored, Shapes
from jaxqc.anomaly.ops.coreset import greedy_coreset, project
from jaxqc.anomaly.ops.maps import distance_map, pool_channels
from jaxqc.anomaly.ops.neighbours import nearest, patchcore_image_score
from jaxqc.anomaly.ops.rows import Rows, keep, store
from jaxqc.data.resizing import Size, sides
from jaxqc.errors import UserError
from jaxqc.fields import check_positive, check_seed
from jaxqc.nn.pool import avg3x3
from jaxqc.nn.resizing import resize
from jaxqc.types import ArrayLike


class Bank(NamedTuple):
    """PatchCore's memory: the coreset's patch features."""

    bank: Float[Array, "m d"]


@dataclass(frozen=True)
class PatchCore:
    """Distance to the nearest patch of a coreset of normal patches (arXiv 2106.08265)."""

    width: int = 1024
    """Channels of a patch after merging, by adaptive average pooling layer by layer and then over layers."""
    coreset: float = 0.1
    """Share of all patches that is kept."""
    projection: int = 128
    """Width of the random projection in which the coreset is chosen; 0 = none."""
    neighbours: int = 9
    """Neighbours that re-weight the image's score; 1 = none."""
    sigma: float = 4.0
    """Standard deviation of the map's smoothing, in pixels."""
    seed: int = 0
    """Draws the projection and the first patch."""

    states = (Bank,)

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        check_seed(self.seed, where)
        check_positive({"width": self.width, "coreset": self.coreset, "neighbours": self.neighbours}, where)
        if self.coreset > 1:
            raise UserError(f"{where}: coreset={self.coreset!r} is a share; give at most 1")

    @property
    def advice(self) -> str:
        """The way out where distances are not finite."""
        return "so are the backbone's features: use other weights, or backbone.dtype float32"

    def embed(self, layers: Layers, image: Image) -> Float[Array, "b h w d"]:
        """A patch at each position of the first layer's grid, d = `width`."""
        height, width = layers[0].shape[1:3]
        merged = [pool_channels(resize(avg3x3(jnp.asarray(x)), height, width), self.width) for x in layers]
        return pool_channels(jnp.concatenate(merged, -1), self.width)

    def begin(self, shapes: Shapes, samples: int) -> Rows:
        height, width, _ = shapes[0]
        return Rows(jnp.zeros((samples, height, width, self.width)))

    def collect(self, collected: Rows, embedded: Float[ArrayLike, "b h w d"], number: Int[ArrayLike, " b"]) -> Rows:
        return store(collected, embedded, number)

    def drop(self, collected: Rows, used: Int[ArrayLike, " n"]) -> Rows:
        return keep(collected, used)

    def finish(self, collected: Rows, shapes: Shapes) -> Bank:
        patches = collected.features.reshape(-1, self.width)
        count = max(1, int(self.coreset * len(patches)))
        if count >= len(patches):
            return Bank(patches)
        first_key, projection_key = jax.random.split(jax.random.key(self.seed))
        first = jax.random.randint(first_key, (), 0, len(patches))
        return Bank(patches[greedy_coreset(project(projection_key, patches, self.projection), count, first)])

    def score(self, state: Bank, embedded: Float[ArrayLike, "b h w d"], size: Size) -> Scored:
        b, height, width, d = embedded.shape
        patches = embedded.reshape(b, height * width, d)
        distances, index = nearest(patches.reshape(-1, d), state.bank)
        distances, index = distances.reshape(b, -1), index.reshape(b, -1)
        grid = distances.reshape(b, height, width)
        score = patchcore_image_score(distances, patches, index, state.bank, self.neighbours)
        return distance_map(grid, *sides(size), self.sigma), score
