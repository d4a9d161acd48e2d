"""Detectors that describe good images by statistics of frozen features: a density, a one-class SVM, a dictionary."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxqc.anomaly.detectors.base import ODD_FEATURES, Image, Layers, Scored, Shapes, check_top
from jaxqc.anomaly.ops.blocks import alone
from jaxqc.anomaly.ops.clusters import kmeans, spread_rows
from jaxqc.anomaly.ops.maps import distance_map, flat_map, pool_grid, top_score
from jaxqc.anomaly.ops.mixture import Gaussians, fitted_mixture, surprise
from jaxqc.anomaly.ops.neighbours import nearest
from jaxqc.anomaly.ops.one_class_svm import dual, rbf, unsupported
from jaxqc.anomaly.ops.principal import Projection, principal, project_onto, units
from jaxqc.anomaly.ops.rows import Rows, keep, on_host, store
from jaxqc.data.resizing import Size, sides
from jaxqc.errors import UserError
from jaxqc.fields import check_positive, check_seed
from jaxqc.types import ArrayLike


class Mixture(NamedTuple):
    """The axes that features are brought to, and the mixture of Gaussians there (`jaxqc.anomaly.ops.mixture`)."""

    shift: Float[Array, " c"]
    basis: Float[Array, "c r"]
    log_share: Float[Array, " k"]
    mean: Float[Array, "k r"]
    whitener: Float[Array, "k r r"]


class Kernel(NamedTuple):
    """Mean and unit of each feature, and the one-class SVM: its support vectors, their weights, and gamma."""

    shift: Float[Array, " c"]
    unit: Float[Array, " c"]
    vectors: Float[Array, "m c"]
    weight: Float[Array, " m"]
    gamma: Float[Array, ""]


class Dictionary(NamedTuple):
    """The axes that a cell's features are brought to, and the words there."""

    shift: Float[Array, " c"]
    basis: Float[Array, "c r"]
    words: Float[Array, "k r"]


class _Described:
    """The part that all three share: features of n images, kept until all have been seen."""

    states: tuple[type, ...]
    advice = ODD_FEATURES

    def embed(self, layers: Layers, image: Image) -> Float[Array, "b c"]:
        """Means over each layer's cells, one layer after the other."""
        return jnp.concatenate([jnp.asarray(x).mean((1, 2)) for x in layers], -1)

    def begin(self, shapes: Shapes, samples: int) -> Rows:
        layers = tuple(jax.ShapeDtypeStruct((samples, *shape), jnp.float32) for shape in shapes)
        embedded = jax.eval_shape(lambda x: self.embed(x, None), layers)
        return Rows(jnp.zeros(embedded.shape, embedded.dtype))

    def collect(self, collected: Rows, embedded: Float[ArrayLike, "b ..."], number: Int[ArrayLike, " b"]) -> Rows:
        return store(collected, embedded, number)

    def drop(self, collected: Rows, used: Int[ArrayLike, " n"]) -> Rows:
        return keep(collected, used)


def _check_share(kept: float, where: str) -> None:
    if not 0 < kept <= 1:
        raise UserError(f"{where}: kept={kept!r} is a share of the variance; give more than 0 and at most 1")


@dataclass(frozen=True)
class Density(_Described):
    """Images by how improbable their mean features are: a Gaussian, or a mixture. Says whether, not where."""

    parts: int = 1
    """Gaussians of the mixture. More than 1 need more than 10 images for each part and component, or `diagonal`."""
    kept: float = 0.99
    """Share of the variance in the principal components of the features, each in units of its own deviation."""
    reg: float = 1e-3
    """Added to the variances."""
    diagonal: bool = False
    """True: variances along the components alone, no covariances."""
    seed: int = 0
    """Draws the start of several Gaussians (k-means++)."""

    states = (Mixture,)
    localises = False

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        check_seed(self.seed, where)
        check_positive({"parts": self.parts, "reg": self.reg}, where)
        _check_share(self.kept, where)

    def finish(self, collected: Rows, shapes: Shapes) -> Mixture:
        rows = on_host(collected.features)
        if len(rows) < self.parts:
            raise UserError(f"detector.parts={self.parts} of {len(rows)} images; give more images or fewer parts")
        axes = principal(rows, self.kept, scaled=True)
        found: Any = fitted_mixture(project_onto(axes, rows), self.parts, self.seed, self.reg, self.diagonal)
        return Mixture(*map(jnp.asarray, axes), *alone(found))

    def score(self, state: Mixture, embedded: Float[ArrayLike, "b c"], size: Size) -> Scored:
        """-log p, less the least that it can be, at every pixel."""
        moved = project_onto(Projection(state.shift, state.basis), embedded)
        scores = surprise(Gaussians(state.log_share, state.mean, state.whitener), moved)
        return flat_map(scores, *sides(size)), scores


@dataclass(frozen=True)
class OneClassSvm(_Described):
    """Images by a nu one-class SVM of their mean features. Says whether, not where."""

    nu: float = 0.1
    """Share of the fitted images that may lie outside, at most; and of those that are kept, at least."""
    kernel: str = "rbf"
    """`rbf`: exp(-gamma |x - y|^2), with gamma 1 over the number of features times their variance; each feature
    is in units of its own deviation before."""
    images: int = 5000
    """Images at most that the machine is made of, since each is compared with each; of more, so many are drawn."""
    seed: int = 0
    """Draws them."""

    states = (Kernel,)
    localises = False

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        check_seed(self.seed, where)
        check_positive({"images": self.images}, where)
        if not 0 < self.nu <= 1:
            raise UserError(f"{where}: nu={self.nu!r} is a share; give more than 0 and at most 1")
        if self.kernel == "linear":
            raise UserError(f"{where}: kernel='linear' is worse than chance on centred features; take rbf")
        if self.kernel != "rbf":
            raise UserError(f"{where}: kernel={self.kernel!r} is not known; take rbf")

    def remarks(self, samples: int) -> tuple[str, ...]:
        """A line on images of a fit that the machine is not made of, where there are such."""
        if samples <= self.images:
            return ()
        drawn = f"{self.images} of {samples} images, drawn by detector.seed {self.seed}, make the one-class SVM"
        return (f"{drawn}; {samples - self.images} are not used (detector.images)",)

    def finish(self, collected: Rows, shapes: Shapes) -> Kernel:
        rows = on_host(collected.features)
        if len(rows) > self.images:
            rows = rows[np.sort(np.random.default_rng(self.seed).choice(len(rows), self.images, replace=False))]
        mean, unit = units(rows)
        own = (rows - mean) / unit
        gamma = jnp.asarray(1 / (own.shape[1] * max(float(own.var()), 1e-12)), jnp.float32)
        weight = np.asarray(dual(jnp.exp(rbf(own, own, gamma)), self.nu))
        kept = weight > 0
        return Kernel(*map(jnp.asarray, (mean, unit, own[kept], weight[kept], gamma)))

    def score(self, state: Kernel, embedded: Float[ArrayLike, "b c"], size: Size) -> Scored:
        """-log of the weighted sum of kernels, at every pixel: in the order of the machine's own score."""
        own = (jnp.asarray(embedded) - state.shift) / state.unit
        scores = unsupported(own, state.vectors, state.weight, state.gamma)
        return flat_map(scores, *sides(size)), scores


@dataclass(frozen=True)
class NearestWords(_Described):
    """Cells by their distance to the nearest words of a dictionary, found by k-means (Napoletano, Sensors 2018)."""

    words: int = 500
    """Centres of clusters of the good images' cells; the authors' 10 find far less."""
    kept: float = 0.95
    """Share of the variance in the principal components of a cell's features."""
    neighbours: int = 1
    """Nearest words whose mean distance is a cell's."""
    top: float = 0.0
    """Highest cells whose mean distance is the image's score; below 1 a share of all; 0 = the mean of all cells."""
    sigma: float = 4.0
    """Standard deviation of the map's smoothing, in pixels."""
    seed: int = 0
    """Draws the start of the words (k-means++)."""

    states = (Dictionary,)

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        check_seed(self.seed, where)
        check_positive({"words": self.words, "neighbours": self.neighbours}, where)
        _check_share(self.kept, where)
        if self.neighbours > self.words:
            raise UserError(f"{where}: neighbours={self.neighbours} of {self.words} words; lower it")
        if self.top:
            check_top(self.top, where)

    def embed(self, layers: Layers, image: Image) -> Float[Array, "b h w c"]:
        """All layers on the last one's grid, finer ones averaged."""
        height, width = layers[-1].shape[1:3]
        return jnp.concatenate([pool_grid(x, height, width) for x in layers], -1)

    def finish(self, collected: Rows, shapes: Shapes) -> Dictionary:
        rows = on_host(collected.features)
        rows = rows.reshape(-1, rows.shape[-1])
        axes = principal(rows, self.kept, scaled=False)
        moved = project_onto(axes, rows)
        start = spread_rows(jax.random.key(self.seed), moved, min(self.words, len(rows)))
        return Dictionary(jnp.asarray(axes.shift), jnp.asarray(axes.basis), kmeans(moved, start)[0])

    def score(self, state: Dictionary, embedded: Float[ArrayLike, "b h w c"], size: Size) -> Scored:
        b, height, width, _ = embedded.shape
        moved = project_onto(Projection(state.shift, state.basis), embedded)
        k = min(self.neighbours, state.words.shape[0])
        apart = nearest(moved.reshape(-1, moved.shape[-1]), state.words, k)[0].mean(1)
        grid = apart.reshape(b, height, width)
        maps = distance_map(grid, *sides(size), self.sigma)
        return maps, top_score(grid, self.top) if self.top else grid.mean((1, 2))


MEMBERS: dict[str, type[Density] | type[OneClassSvm] | type[NearestWords]] = {
    "density": Density,
    "ocsvm": OneClassSvm,
    "dictionary": NearestWords,
}
"""By the names of `jaxqc.anomaly.detectors.DETECTORS`."""
