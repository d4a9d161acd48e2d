"""The detectors behind one interface: embed, begin, collect, finish, score. Pure functions over pytrees.

One class a detector. `embed` makes of a batch's layer features what it works with, image by image. `begin(shapes,
samples)` gives an empty collection for layers of these shapes; `collect` takes up a batch of embeddings, each with its
sample's own number (-1 = padding); `finish` makes the state that `score` uses: maps float32 [b size size] and image
scores [b] of a batch's embeddings. A score depends on its own image alone.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxqc.anomaly import gaussian, pyramid
from jaxqc.anomaly.coreset import greedy_coreset, project
from jaxqc.anomaly.maps import channel_choice, choose_channels, distance_map, image_score, on_finest
from jaxqc.anomaly.neighbours import EXACT, nearest, patchcore_image_score
from jaxqc.nn.pool import avg3x3
from jaxqc.nn.resizing import resize

Layers = tuple[Float[Array, "b h w c"], ...]
"""Features of a batch, finest layer first."""
Shapes = tuple[tuple[int, int, int], ...]
"""[h w c] of each layer."""
Scored = tuple[Float[Array, "b size size"], Float[Array, " b"]]


class Detector(Protocol):
    """What a detector does; the module's first lines say what each part takes and gives."""

    def embed(self, layers: Layers) -> Any: ...

    def begin(self, shapes: Shapes, samples: int) -> Any: ...

    def collect(self, collected: Any, embedded: Any, number: Int[Array, " b"]) -> Any: ...

    def finish(self, collected: Any, shapes: Shapes) -> Any: ...

    def score(self, state: Any, embedded: Any, size: int) -> Scored: ...


@dataclass(frozen=True)
class Gaussian:
    """A Gaussian per position over randomly chosen channels of all layers (PaDiM; the "Gaussian CBAM" paper).

    channels: how many of all layers' channels (0 = all). sigma: of the map's smoothing in pixels. top: pixels whose
    mean is the image's score. block: positions factored at a time.
    """

    channels: int = 550
    eps: float = 0.01
    sigma: float = 4.0
    top: int = 1
    seed: int = 0
    block: int = 16

    def choice(self, shapes: Shapes) -> tuple[np.ndarray, ...]:
        """The chosen channels of each layer, a function of the seed and the channel counts alone."""
        with jax.ensure_compile_time_eval():
            key = jax.random.key(self.seed)
        return channel_choice(key, tuple(c for _, _, c in shapes), self.channels)

    def embed(self, layers: Layers) -> Layers:
        """The chosen channels; a layer of which none are keeps its place."""
        return choose_channels(layers, self.choice(_shapes(layers)))

    def begin(self, shapes: Shapes, samples: int) -> gaussian.Collected | pyramid.LevelSamples:
        (height, width, _), (grids, channels) = shapes[0], self._levels(shapes)
        if samples <= sum(channels) and pyramid.pays((height, width), grids, channels, samples):
            return pyramid.empty(grids, channels, samples)
        return gaussian.empty(height * width, sum(channels), samples)

    def collect(self, collected: Any, embedded: Layers, number: Int[Array, " b"]) -> Any:
        if isinstance(collected, pyramid.LevelSamples):
            return pyramid.collect(collected, _with_channels(embedded), number)
        return gaussian.collect(collected, _flat(embedded), number)

    def finish(self, collected: Any, shapes: Shapes) -> gaussian.Gaussian | pyramid.Pyramid:
        if isinstance(collected, pyramid.LevelSamples):
            return pyramid.finish(collected, shapes[0][:2], self._levels(shapes)[0], self.eps, self.block)
        return gaussian.finish(collected, self.eps, self.block)

    def score(self, state: gaussian.Gaussian | pyramid.Pyramid, embedded: Layers, size: int) -> Scored:
        height, width = embedded[0].shape[1:3]
        if isinstance(state, pyramid.Pyramid):
            distances = pyramid.distance(state, _with_channels(embedded), (height, width))
        else:
            distances = gaussian.distance(state, _flat(embedded))
        maps = distance_map(distances.reshape(-1, height, width), size, size, self.sigma)
        return maps, image_score(maps, self.top)

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


class Rows(NamedTuple):
    """Features kept sample by sample: pytree of arrays [n ...], zero where not yet collected."""

    features: Any


def _store(rows: Rows, batch: Any, number: Int[Array, " b"]) -> Rows:
    def put(kept: jax.Array, new: jax.Array) -> jax.Array:
        at = jnp.where(number < 0, kept.shape[0], number)  # out of range: dropped
        return kept.at[at].set(new, mode="drop")

    return Rows(jax.tree.map(put, rows.features, batch))


class Bank(NamedTuple):
    """PatchCore's memory: the coreset's patch features."""

    bank: Float[Array, "m d"]


@dataclass(frozen=True)
class PatchCore:
    """Distance to the nearest patch of a coreset of normal patches (arXiv 2106.08265).

    width: channels after merging, layer by layer and then over layers, by adaptive average pooling. coreset: share of
    all patches that is kept. projection: width of the random projection in which the coreset is chosen. neighbours: of
    the image score's re-weighting, 1 = none.
    """

    width: int = 1024
    coreset: float = 0.1
    projection: int = 128
    neighbours: int = 9
    sigma: float = 4.0
    seed: int = 0

    def embed(self, layers: Layers) -> Float[Array, "b h w d"]:
        """A patch at each position of the first layer's grid, d = `width`."""
        height, width = layers[0].shape[1:3]
        merged = [pool_channels(resize(avg3x3(x), height, width), self.width) for x in layers]
        return pool_channels(jnp.concatenate(merged, -1), self.width)

    def begin(self, shapes: Shapes, samples: int) -> Rows:
        height, width, _ = shapes[0]
        return Rows(jnp.zeros((samples, height, width, self.width)))

    def collect(self, collected: Rows, embedded: Float[Array, "b h w d"], number: Int[Array, " b"]) -> Rows:
        return _store(collected, embedded, number)

    def finish(self, collected: Rows, shapes: Shapes) -> Bank:
        patches = collected.features.reshape(-1, self.width)
        count = max(1, int(self.coreset * len(patches)))
        if count >= len(patches):
            return Bank(patches)
        first_key, projection_key = jax.random.split(jax.random.key(self.seed))
        first = jax.random.randint(first_key, (), 0, len(patches))
        return Bank(patches[greedy_coreset(project(projection_key, patches, self.projection), count, first)])

    def score(self, state: Bank, embedded: Float[Array, "b h w d"], size: int) -> Scored:
        b, height, width, d = embedded.shape
        patches = embedded.reshape(b, height * width, d)
        distances, index = nearest(patches.reshape(-1, d), state.bank)
        distances, index = distances.reshape(b, -1), index.reshape(b, -1)
        grid = distances.reshape(b, height, width)
        score = patchcore_image_score(distances, patches, index, state.bank, self.neighbours)
        return distance_map(grid, size, size, self.sigma), score


class Gallery(NamedTuple):
    """SPADE's memory: pooled features of the normal images, and their features layer by layer."""

    pooled: Float[Array, "n d"]
    layers: tuple[Float[Array, "n P c"], ...]


@dataclass(frozen=True)
class Spade:
    """Images by their nearest normal images, pixels by those images' nearest pixels (arXiv 2005.02357).

    images: normal images retrieved (K of the paper, 50). The image's score is the mean distance of its pooled deepest
    features to them; the map is the mean over layers of each position's distance to the nearest of their positions.
    """

    images: int = 50
    sigma: float = 4.0

    def embed(self, layers: Layers) -> Layers:
        """All of it."""
        return layers

    def begin(self, shapes: Shapes, samples: int) -> Rows:
        return Rows(tuple(jnp.zeros((samples, h * w, c)) for h, w, c in shapes))

    def collect(self, collected: Rows, embedded: Layers, number: Int[Array, " b"]) -> Rows:
        return _store(collected, tuple(x.reshape(x.shape[0], -1, x.shape[-1]) for x in embedded), number)

    def finish(self, collected: Rows, shapes: Shapes) -> Gallery:
        return Gallery(collected.features[-1].mean(1), collected.features)

    def score(self, state: Gallery, embedded: Layers, size: int) -> Scored:
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
            return jnp.stack([resize(m[None, ..., None], size, size)[0, ..., 0] for m in maps]).mean(0)

        grid = jax.lax.map(one, (embedded, neighbours))
        return distance_map(grid, size, size, self.sigma), apart.mean(1)


def pool_channels(x: Float[Array, "b h w c"], width: int) -> Float[Array, "b h w width"]:
    """Adaptive average pooling of the channel axis: output i is the mean of channels floor(i c / width) up to
    ceil((i + 1) c / width); with width > c channels are repeated."""
    c = x.shape[-1]
    if c == width:
        return x
    start, stop = np.arange(width) * c // width, -(-(np.arange(1, width + 1) * c) // width)
    matrix = np.zeros((c, width), np.float32)
    for i, (a, b) in enumerate(zip(start, stop, strict=True)):
        matrix[a:b, i] = 1 / (b - a)
    return jnp.matmul(x, matrix, precision=EXACT)


def _shapes(layers: Layers) -> Shapes:
    return tuple((x.shape[1], x.shape[2], x.shape[3]) for x in layers)
