"""Distance to the nearest of a bank of normal patches: PatchCore (arXiv 2106.08265) and AnomalyDINO (2405.14529)."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt8

from jaxqc.anomaly.detectors.base import ODD_FEATURES, Image, Layers, Scored, Shapes, check_top
from jaxqc.anomaly.ops.coreset import greedy_coreset, project
from jaxqc.anomaly.ops.foreground import foreground
from jaxqc.anomaly.ops.maps import distance_map, pool_channels, top_score
from jaxqc.anomaly.ops.neighbours import nearest, patchcore_image_score
from jaxqc.anomaly.ops.rows import Rows, keep, store
from jaxqc.anomaly.ops.turning import turned
from jaxqc.data.resizing import Size, sides
from jaxqc.errors import UserError
from jaxqc.fields import check_positive, check_seed
from jaxqc.nn.pool import avg3x3
from jaxqc.nn.resizing import resize
from jaxqc.nn.unit import unit
from jaxqc.types import ArrayLike


class Bank(NamedTuple):
    """PatchCore's memory: the coreset's patch features."""

    bank: Float[Array, "m d"]


class Banks(NamedTuple):
    """A memory a layer."""

    banks: tuple[Float[Array, "m d"], ...]


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
    distance: Literal["euclidean", "cosine"] = "euclidean"
    """`cosine`: 1 less the cosine of the two patches' angle."""
    merging: bool = True
    """True: a patch is the mean of its 3 x 3 neighbours, in `width` channels. False: the features as they are."""
    apart: bool = False
    """True: a bank a layer, whose distances are averaged; False: a patch has all layers' features."""
    top: float = 0.0
    """Highest patches whose mean distance is the image's score; below 1 a share of all; 0 = PatchCore's own score."""
    turns: int = 1
    """Copies of each fitted image, turned by even parts of a whole turn; 8 for few images of parts that may lie so."""
    masking: float = 0.0
    """Least value of a patch's first principal component within its image, for it to count as the part and not as its
    background (the authors' 10, of DINOv2); 0 = all patches count. Textures have no background."""

    states = (Bank, Banks)
    advice = ODD_FEATURES

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        check_seed(self.seed, where)
        positive = {"width": self.width, "coreset": self.coreset, "neighbours": self.neighbours, "turns": self.turns}
        check_positive(positive, where)
        if self.coreset > 1:
            raise UserError(f"{where}: coreset={self.coreset!r} is a share; give at most 1")
        if self.top:
            check_top(self.top, where)
        if self.apart and not self.top:
            raise UserError(f"{where}: apart=true needs top above 0, such as .01: PatchCore's score is of one bank")
        if self.masking < 0:
            raise UserError(f"{where}: masking={self.masking!r} must be 0 or more")

    def turned(self, images: UInt8[ArrayLike, "b h w c"]) -> tuple[UInt8[ArrayLike, "b h w c"], ...]:
        """The copies of images that are fitted."""
        return tuple(turned(images, 360 * i / self.turns) for i in range(self.turns))

    def embed(self, layers: Layers, image: Image) -> Any:
        """A patch at each position of the first layer's grid [b h w d]; with `apart` such a grid a layer.

        Patches of the background are all 0.
        """
        height, width = layers[0].shape[1:3]
        grids = [resize(avg3x3(jnp.asarray(x)) if self.merging else jnp.asarray(x), height, width) for x in layers]
        kept = foreground(jnp.concatenate(grids, -1), self.masking)[..., None] if self.masking else None
        if self.merging:
            grids = [pool_channels(x, self.width) for x in grids]
        if not self.apart:
            joined = jnp.concatenate(grids, -1)
            grids = [pool_channels(joined, self.width) if self.merging else joined]
        if self.distance == "cosine":
            grids = [unit(x) for x in grids]
        if kept is not None:
            grids = [jnp.where(kept, x, 0) for x in grids]
        return tuple(grids) if self.apart else grids[0]

    def begin(self, shapes: Shapes, samples: int) -> Rows:
        layers = tuple(jax.ShapeDtypeStruct((samples, *shape), jnp.float32) for shape in shapes)
        grids = jax.eval_shape(lambda x: self.embed(x, None), layers)
        copies = (self.turns,) if self.turns > 1 else ()
        return Rows(jax.tree.map(lambda x: jnp.zeros((samples, *copies, *x.shape[1:]), x.dtype), grids))

    def collect(self, collected: Rows, embedded: Any, number: Int[ArrayLike, " b"]) -> Rows:
        return store(collected, embedded, number)

    def drop(self, collected: Rows, used: Int[ArrayLike, " n"]) -> Rows:
        return keep(collected, used)

    def finish(self, collected: Rows, shapes: Shapes) -> Bank | Banks:
        grids = collected.features
        if self.apart:
            return Banks(tuple(self._bank(x.reshape(-1, x.shape[-1])) for x in grids))
        return Bank(self._bank(grids.reshape(-1, grids.shape[-1])))

    def _bank(self, patches: Float[Array, "n d"]) -> Float[Array, "m d"]:
        """The coreset of patches, those of the background left out."""
        if self.masking:
            patches = patches[jnp.any(patches != 0, -1)]
        count = max(1, int(self.coreset * len(patches)))
        if count >= len(patches):
            return patches
        first_key, projection_key = jax.random.split(jax.random.key(self.seed))
        first = jax.random.randint(first_key, (), 0, len(patches))
        return patches[greedy_coreset(project(projection_key, patches, self.projection), count, first)]

    def score(self, state: Bank | Banks, embedded: Any, size: Size) -> Scored:
        each = zip(embedded, state.banks, strict=True) if isinstance(state, Banks) else ((embedded, state.bank),)
        found = [self._distances(grid, bank) for grid, bank in each]
        grid = jnp.stack([grid for grid, _ in found]).mean(0)
        maps = distance_map(grid, *sides(size), self.sigma)
        if self.top:
            return maps, top_score(grid, self.top)
        assert isinstance(state, Bank)
        b = grid.shape[0]
        flat, patches = grid.reshape(b, -1), embedded.reshape(b, -1, embedded.shape[-1])
        return maps, patchcore_image_score(flat, patches, found[0][1], state.bank, self.neighbours)

    def _distances(
        self, grid: Float[ArrayLike, "b h w d"], bank: Float[ArrayLike, "m d"]
    ) -> tuple[Float[Array, "b h w"], Int[Array, "b P"]]:
        """Each patch's distance to its nearest of the bank, 0 of the background's, and that one's index."""
        b, height, width, d = grid.shape
        distances, index = nearest(grid.reshape(-1, d), bank)
        distances = distances.reshape(b, height, width)
        if self.distance == "cosine":
            distances = jnp.square(distances) / 2  # of vectors of length 1
        if self.masking:
            distances = jnp.where(jnp.any(jnp.asarray(grid) != 0, -1), distances, 0)
        return distances, index.reshape(b, -1)


@dataclass(frozen=True)
class AnomalyDino(PatchCore):
    """AnomalyDINO (arXiv 2405.14529): PatchCore on DINOv2's last tokens as they are, by their cosine.

    Made for 1 to 16 good images, with `turns` 8 where parts may lie in any way; the bank keeps all their patches.
    """

    coreset: float = 1.0
    neighbours: int = 1
    distance: Literal["euclidean", "cosine"] = "cosine"
    merging: bool = False
    top: float = 0.01
