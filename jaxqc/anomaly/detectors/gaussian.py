"""A Gaussian per position of the feature grid (PaDiM; the "Gaussian CBAM" paper)."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from jaxqc.anomaly.detectors.base import Image, Layers, Scored, Shapes, shapes_of
from jaxqc.anomaly.ops import gaussian, pyramid
from jaxqc.anomaly.ops.maps import (
    channel_choice,
    choose_channels,
    distance_map,
    image_score,
    on_finest,
    window_score,
)
from jaxqc.anomaly.ops.stitched import map_score
from jaxqc.data.resizing import Size, sides
from jaxqc.errors import UserError
from jaxqc.fields import check_positive, check_seed
from jaxqc.types import ArrayLike


@dataclass(frozen=True)
class Gaussian:
    """A Gaussian per position over randomly chosen channels of all layers (PaDiM; the "Gaussian CBAM" paper)."""

    channels: int = 550
    """Channels drawn of all layers' together; 0 = all."""
    eps: float = 0.01
    """Added to the diagonal of every covariance: larger for few images."""
    sigma: float = 4.0
    """Standard deviation of the map's smoothing, in pixels."""
    top: int = 1
    """Pixels, the highest of the map, whose mean is the image's score; with a `window`, cells of the grid."""
    seed: int = 0
    """Draws the channels."""
    block: int = 16
    """Positions factored at a time: more take more memory."""
    around: int = 0
    """Cells on each side whose features a position counts as its own, for parts that do not lie still; 0 = none."""
    window: int = 0
    """Cells on a side of the squares in each of which the `top` highest cells are averaged, and the largest mean is
    the image's score: for thin, long defects. 0 = the highest of the whole map."""
    aligned: bool = False
    """Images lie alike: with `data.tile` each place in the grid of tiles has Gaussians of its own. Else all tiles share
    one grid of them."""

    states = (gaussian.LowRank, gaussian.FullRank, pyramid.Pyramid)

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        check_seed(self.seed, where)
        check_positive({"eps": self.eps, "top": self.top, "block": self.block}, where)
        if self.window and self.top > self.window**2:
            most = f"the {self.window**2} cells of a window"
            raise UserError(f"{where}.top={self.top!r} is more than {most}: lower it, or set window to 0")

    @property
    def advice(self) -> str:
        """The way out where distances are not finite."""
        return (
            f"detector.eps={self.eps:g} is too small beside these features' variances in single precision: "
            "use a larger one"
        )

    def choice(self, shapes: Shapes) -> tuple[np.ndarray, ...]:
        """The chosen channels of each layer, a function of the seed and the channel counts alone."""
        with jax.ensure_compile_time_eval():
            key = jax.random.key(self.seed)
        return channel_choice(key, tuple(c for _, _, c in shapes), self.channels)

    def embed(self, layers: Layers, image: Image) -> Layers:
        """The chosen channels; a layer of which none are keeps its place."""
        return choose_channels(layers, self.choice(shapes_of(layers)))

    def begin(self, shapes: Shapes, samples: int) -> gaussian.Collected | pyramid.LevelSamples:
        (height, width, _), (grids, channels) = shapes[0], self._levels(shapes)
        if self.around:
            return gaussian.no_moments(height * width, sum(channels))
        if samples <= sum(channels) and pyramid.pays((height, width), grids, channels, samples):
            return pyramid.empty(grids, channels, samples)
        return gaussian.empty(height * width, sum(channels), samples)

    def collect(self, collected: Any, embedded: Layers, number: Int[ArrayLike, " b"]) -> Any:
        if isinstance(collected, pyramid.LevelSamples):
            return pyramid.collect(collected, _with_channels(embedded), number)
        return gaussian.collect(collected, _flat(embedded), number)

    def drop(self, collected: Any, used: Int[ArrayLike, " n"]) -> Any:
        if isinstance(collected, pyramid.LevelSamples):
            return pyramid.keep(collected, used)
        return gaussian.keep(collected, used)

    def finish(self, collected: Any, shapes: Shapes) -> gaussian.Gaussian | pyramid.Pyramid:
        if isinstance(collected, pyramid.LevelSamples):
            return pyramid.finish(collected, shapes[0][:2], self._levels(shapes)[0], self.eps, self.block)
        if isinstance(collected, gaussian.Moments) and self.around:
            collected = gaussian.around(collected, shapes[0][:2], self.around)
        return gaussian.finish(collected, self.eps, self.block)

    def score(self, state: gaussian.Gaussian | pyramid.Pyramid, embedded: Layers, size: Size) -> Scored:
        height, width = embedded[0].shape[1:3]
        if isinstance(state, pyramid.Pyramid):
            distances = pyramid.distance(state, _with_channels(embedded), (height, width))
        else:
            distances = gaussian.distance(state, _flat(embedded))
        grid = distances.reshape(-1, height, width)
        maps = distance_map(grid, *sides(size), self.sigma)
        return maps, window_score(grid, self.window, self.top) if self.window else image_score(maps, self.top)

    @property
    def at_places(self) -> bool:
        """True where each place in the grid of tiles has a state of its own."""
        return self.aligned

    def score_of(self, values: Float[np.ndarray, "h w"]) -> float:
        """An image's score by the map that its tiles make, at the scale at which they were seen."""
        return map_score(values, self.top, self.window)

    def _levels(self, shapes: Shapes) -> tuple[tuple[pyramid.Grid, ...], tuple[int, ...]]:
        """Grid and number of chosen channels of each layer that has any."""
        counts = map(len, self.choice(shapes))
        chosen = [((h, w), count) for (h, w, _), count in zip(shapes, counts, strict=True) if count]
        return tuple(grid for grid, _ in chosen), tuple(count for _, count in chosen)


def _with_channels(embedded: Layers) -> Layers:
    return tuple(x for x in embedded if x.shape[-1])


def _flat(embedded: Layers) -> Float[Array, "b P d"]:
    grid = on_finest(embedded)
    return grid.reshape(grid.shape[0], -1, grid.shape[-1])
