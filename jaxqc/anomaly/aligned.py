"""A detector with a state of its own at each place of the grid of tiles, for images whose parts lie at the same places.

The states are stacked along a leading axis, place by place. Samples are tiles, those of an image after one another.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Int

from jaxqc.anomaly.detectors.base import Collecting, Image, Layers, Scored, Shapes
from jaxqc.data.resizing import Size, named
from jaxqc.errors import UserError
from jaxqc.tiling import Tiling
from jaxqc.types import ArrayLike


class AtPlaces(NamedTuple):
    """size: height and width of the images, in pixels. state: the detector's, with a leading axis of places."""

    size: Int[ArrayLike, " 2"]
    state: Any


@dataclass(frozen=True)
class Aligned:
    """A `Collecting` detector of tiles, with a state a place.

    size: height and width of the images, in pixels. places: tiles of each.
    """

    detector: Collecting
    size: tuple[int, int]
    places: int

    @property
    def states(self) -> tuple[type, ...]:
        return (AtPlaces,)

    @property
    def turned(self) -> Any:
        """As of the detector."""
        return getattr(self.detector, "turned", lambda images: (images,))

    def embed(self, layers: Layers, image: Image) -> Any:
        return self.detector.embed(layers, image)

    def begin(self, shapes: Shapes, samples: int) -> Any:
        one = self.detector.begin(shapes, samples // self.places)
        return jax.tree.map(lambda x: jnp.tile(x[None], (self.places, *(1,) * x.ndim)), one)

    def collect(self, collected: Any, embedded: Any, number: Int[ArrayLike, " b"]) -> Any:
        number = jnp.asarray(number)

        def one(i: Any, whole: Any) -> Any:
            place, image = number[i] % self.places, jnp.where(number[i] < 0, -1, number[i] // self.places)
            row = jax.tree.map(lambda x: lax.dynamic_slice_in_dim(x, i, 1), embedded)
            own = self.detector.collect(jax.tree.map(lambda x: x[place], whole), row, image[None])
            return jax.tree.map(lambda x, new: x.at[place].set(new), whole, own)

        return lax.fori_loop(0, number.shape[0], one, collected)

    def drop(self, collected: Any, used: Int[ArrayLike, " n"]) -> Any:
        images = jnp.asarray(
            np.unique(np.asarray(used) // self.places)
        )  # a file that cannot be read has no tile at all
        return self._each(lambda own: self.detector.drop(own, images), collected)

    def finish(self, collected: Any, shapes: Shapes) -> AtPlaces:
        state = self._each(lambda own: self.detector.finish(own, shapes), collected)
        return AtPlaces(jnp.asarray(self.size, jnp.int32), state)

    def score(self, state: AtPlaces, embedded: Any, size: Size) -> Scored:
        """Maps and scores of the tiles of whole images, one after another."""
        count = jax.tree.leaves(embedded)[0].shape[0]
        return score_at(self.detector.score, state, embedded, size, jnp.arange(count) % self.places)

    def _each(self, function: Any, stacked: Any) -> Any:
        parts = [function(jax.tree.map(lambda x, i=i: x[i], stacked)) for i in range(self.places)]
        return jax.tree.map(lambda *x: jnp.stack(x), *parts)


def score_at(
    score: Callable[[Any, Any, Size], Scored], state: AtPlaces, embedded: Any, size: Size, place: Int[ArrayLike, " b"]
) -> Scored:
    """Maps and scores of a batch of tiles, each by the state of its place. score: the detector's."""

    def one(row: tuple[Any, Any]) -> tuple[Any, Any]:
        at, x = row
        own = jax.tree.map(lambda whole: whole[at], state.state)
        maps, scores = score(own, jax.tree.map(lambda part: part[None], x), size)
        return maps[0], scores[0]

    return lax.map(one, (jnp.asarray(place), embedded))


def check_aligned(state: AtPlaces, height: int, width: int) -> None:
    """Raises UserError for an image of another size than those of the fit."""
    fitted = tuple(int(n) for n in np.asarray(state.size))
    if (height, width) != fitted:
        raise UserError(
            f"an image of {width} x {height} pixels: this detector was fitted to aligned images of"
            f" {named((fitted[0], fitted[1]))}; give such, or fit without --detector.aligned"
        )


def places_of(state: AtPlaces, tiling: Tiling) -> int:
    """Tiles of an image of the fit."""
    height, width = (int(n) for n in np.asarray(state.size))
    return tiling.count(height, width)
