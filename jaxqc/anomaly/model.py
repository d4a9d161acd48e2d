"""A fitted detector ready for use: uint8 images of any size in, maps, scores and masks out."""

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8

from jaxqc.anomaly.aligned import AtPlaces, check_aligned, places_of, score_at
from jaxqc.anomaly.calling import at_size
from jaxqc.anomaly.detectors.base import localises
from jaxqc.anomaly.features import apply_function
from jaxqc.anomaly.recipe import FitConfig
from jaxqc.anomaly.seen_in_tiles import Strip, strips_of, tile_answers_of
from jaxqc.anomaly.thresholds import Thresholds
from jaxqc.data.batching import Images, as_arrays, stack_of
from jaxqc.data.colour import in_colour
from jaxqc.data.rendering import rendering_of_model
from jaxqc.data.resizing import Size, named, resize_image, resize_map, sides
from jaxqc.errors import UserError
from jaxqc.metrics.regions import cleaned, opened
from jaxqc.outputs import OF_IMAGE, Outputs, chosen
from jaxqc.types import ArrayLike, Variables


@dataclass(frozen=True)
class Found:
    """A detector's answer for one image of its own size.

    map: float32 [h w] in [0, 1]: the distance over twice the pixel threshold, so 0.5 is the threshold. score: the
    image's, in the detector's own unit. mask: bool [h w], opened. defective: score at or above the image threshold.
    """

    map: np.ndarray
    score: float
    mask: np.ndarray
    defective: bool


class AnomalyModel:
    """State, backbone and thresholds of a fit, compiled once for its batch size.

    `size`: pixels at which the network sees an image, as of `FitDataConfig`. `classes`: `defect` alone.

    Examples:
      >>> from jaxqc import fit
      >>> from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig
      >>> from jaxqc.data.synthetic.boards import write_mvtec
      >>> backbone = BackboneConfig("resnet18", weights="synthetic-resnet18", layers=(1,))
      >>> boards = write_mvtec("boards", normals=4, defects=2, size=32)
      >>> config = FitConfig(backbone=backbone, data=FitDataConfig(size=32), pasted=0)
      >>> model = fit(config, boards, progress=False).model
      >>> found = model.predict(np.zeros((32, 48, 3), np.uint8), outputs=("map", "score"))
      >>> found["map"].shape, found["score"] > 0
      ((32, 48), True)
    """

    classes: tuple[str, ...] = ("defect",)
    mixes_sizes = True
    kind = "anomaly"
    """Its entry of `jaxqc.kinds.KINDS`."""
    outputs = ("map", "score", "mask", "defective")
    """Names that `predict` takes, the default first."""

    def __init__(
        self, config: FitConfig, state: Any, variables: Variables, thresholds: Thresholds, meta: dict[str, Any]
    ) -> None:
        self.config, self.thresholds, self.meta = config, thresholds, meta
        self.size, self.tile, self.batch = config.data.size, config.data.tile, config.batch
        self.tiling = config.data.tiling
        self.state = jax.tree.map(jnp.asarray, state)
        self.variables = jax.tree.map(jnp.asarray, variables)
        self._detector = config.ready
        self.localises = localises(self._detector)
        views = getattr(self._detector, "views", None)
        self._embed = apply_function(config.backbone, self._detector.embed, views)
        self._call = jax.jit(partial(self.forward))

    @property
    def products(self) -> tuple[str, ...]:
        """Products with thresholds of their own; none of a fit to one."""
        return tuple(self.meta.get("products", {}))

    def of(self, product: str) -> "AnomalyModel":
        """The same detector with one product's thresholds, moved by as much as those of all were since the fit.

        Raises:
          UserError: no such product.
        """
        if product not in self.products:
            known = f"it knows {', '.join(self.products)}" if self.products else "it is of one product alone"
            raise UserError(f"product {product!r}: {known}")
        own, was = Thresholds(**self.meta["products"][product]["thresholds"]), self.meta["thresholds"]
        image, pixel = (getattr(self.thresholds, name) / was[name] for name in ("image", "pixel"))
        how = own.how if image == pixel == 1 else f"{own.how}; then {self.thresholds.how}"
        out = copy(self)
        out.meta = {name: value for name, value in self.meta.items() if name != "products"}
        out.thresholds = replace(own, image=own.image * image, pixel=own.pixel * pixel, how=how)
        return out

    def forward(
        self,
        state: Any,
        variables: Variables,
        pixel: Float[Array, ""],
        images: UInt8[Array, "b h w c"],
        place: Int[Array, " b"] | None = None,
    ) -> tuple[Float[Array, "b h w"], Float[Array, " b"], Bool[Array, "b h w"]]:
        """uint8 images of the network's size → distances, image scores and opened masks: one graph, to be jitted.

        Of tiles the masks are empty: the image's is that of the map which they make. place: as of `score`.
        """
        maps, scores = self.distances(state, variables, images, place)
        return maps, scores, self.decided(maps, pixel)

    def distances(
        self, state: Any, variables: Variables, images: UInt8[Array, "b h w c"], place: Int[Array, " b"] | None = None
    ) -> tuple[Float[Array, "b h w"], Float[Array, " b"]]:
        """The part of `forward` that no threshold changes."""
        embedded = self._embed(variables, images)
        if isinstance(state, AtPlaces) and place is not None:
            return score_at(self._detector.score, state, embedded, self.size, place)
        return self._detector.score(state, embedded, self.size)

    def decided(self, maps: Float[ArrayLike, "b h w"], pixel: ArrayLike) -> Bool[Array, "b h w"]:
        """Opened masks of distances; of tiles empty ones."""
        maps = jnp.asarray(maps)
        marks = self.localises and not self.tile
        return opened(maps >= pixel, self.config.decision.opening) if marks else jnp.zeros_like(maps, bool)

    def run_by(self, call: Callable[..., tuple[Any, Any, Any]]) -> "AnomalyModel":
        """This model, with `call` in place of its compiled `forward`."""
        self._call = call
        return self

    def score(
        self, images: UInt8[np.ndarray, "n h w c"], place: Int[np.ndarray, " n"] | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Distances [n h w], scores [n] and masks [n h w] of images that have the network's size already.

        place: of a detector of aligned tiles, each one's number in its image; None = they follow one another.
        """
        parts = []
        place = np.arange(len(images), dtype=np.int32) % self.places if place is None else place
        for start in range(0, len(images), self.batch):
            part, at = images[start : start + self.batch], place[start : start + self.batch]
            padded = np.concatenate([part, np.repeat(part[-1:], self.batch - len(part), 0)])
            out = self.on_device(padded, np.concatenate([at, np.zeros(self.batch - len(part), np.int32)]))
            parts.append([np.asarray(x)[: len(part)] for x in out])
        if not parts:
            empty = np.zeros((0, *sides(self.size)), np.float32)
            return empty, np.zeros(0, np.float32), empty.astype(bool)
        return tuple(np.concatenate(x) for x in zip(*parts, strict=True))  # type: ignore[return-value]

    def on_device(self, images: UInt8[np.ndarray, "b h w c"], place: Int[np.ndarray, " b"]) -> tuple[Any, Any, Any]:
        """A whole batch's answers, which may still be at work."""
        threshold = np.float32(self.thresholds.pixel)
        return self._call(self.state, self.variables, threshold, in_colour(images), place)

    def answers(self, prepared: Sequence[UInt8[np.ndarray, "..."]]) -> list[tuple[Any, float, Any]]:
        """Distances, score and mask of each image as `shrunk` gives it, all in tiles or all whole.

        Distances are [h w] of the network's size; of images in tiles, of the image's own, and the mask is None.
        """
        if not prepared or prepared[0].ndim == 3:
            parts = zip(*self.score(np.stack(prepared)), strict=True) if prepared else ()
            return [(distances, float(score), mask) for distances, score, mask in parts]
        return [(*found, None) for found in tile_answers_of(self, [image for (image,) in prepared])]

    def inspect(self, images: Sequence[np.ndarray]) -> list[Found]:
        """Maps, scores, masks and verdicts of uint8 images [h w], [h w 1] or [h w 3] of any sizes."""
        prepared = [self.shrunk(image, f"images[{i}]") for i, image in enumerate(images)]
        found = dict[int, Found]()
        for axes in {one.ndim for one in prepared}:
            at = [i for i, one in enumerate(prepared) if one.ndim == axes]
            for i, answer in zip(at, self.answers([prepared[i] for i in at]), strict=True):
                found[i] = self.found(images[i].shape[0], images[i].shape[1], *answer)
        return [found[i] for i in range(len(images))]

    def shrunk(self, image: np.ndarray, name: str = "image") -> UInt8[np.ndarray, "*one h w c"]:
        """An image of any size as `answers` takes it: at the network's size, or [1 h w c] where it is seen in tiles.

        Raises:
          UserError: not uint8 [h w], [h w 1] or [h w 3]; named `name`. Or of another size than the aligned ones fitted.
        """
        image = _channels(image, name)
        if self.in_tiles(*image.shape[:2]):
            if isinstance(self.state, AtPlaces):
                check_aligned(self.state, *image.shape[:2])
            return image[None]
        return in_colour(resize_image(image, self.size))

    def in_tiles(self, height: int, width: int) -> bool:
        """True where an image of this size is seen in tiles: of a fit to crops, one that is larger than a crop."""
        return bool(self.tile) or (self.tiling is not None and max(height, width) > self.tiling.side)

    @property
    def places(self) -> int:
        """Places of tiles that have a state of their own; 1 where all share one."""
        if self.tiling is None or not isinstance(self.state, AtPlaces):
            return 1
        return places_of(self.state, self.tiling)

    def marked(self, values: Float[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
        """The opened mask of a map at its image's own size."""
        return cleaned(values >= np.float32(self.thresholds.pixel), self.config.decision.opening, 1)

    def found(
        self,
        height: int,
        width: int,
        values: Float[np.ndarray, "a b"],
        score: float | np.floating[Any],
        mask: Bool[np.ndarray, "a b"] | None,
    ) -> Found:
        """One image's part of `answers` at the image's own size."""
        mask = self.marked(values) if mask is None else mask
        scaled = resize_map(values, height, width) / (2 * self.thresholds.pixel)
        np.clip(scaled, 0, 1, out=scaled)  # in place: of a large image each copy counts
        decided = at_size(mask, height, width, self.config.decision)
        return Found(scaled, float(score), decided, bool(score >= np.float32(self.thresholds.image)))

    def predict(self, images: Images, *, size: Size | None = None, outputs: Outputs = None) -> Any:
        """Maps in [0, 1], each at its image's own size (0.5 = the threshold); or the outputs that are named.

        Args:
          images: uint8 [n h w c] (c = 1 or 3), grey [n h w], one image [h w] or [h w c], a path, an image of PIL's, or
            a list of such, whose sizes may differ. An array with 3 axes is one image where the last is 1 or 3 long,
            else n grey ones.
          size: None, or the one that the detector was fitted at.
          outputs: names of `self.outputs`: `map` float32 and `mask` bool [n h w]; `score` float32 and `defective` bool
            [n]. See `Found`.

        Returns:
          [n h w], [h w] for one image, or a list of [h w] for a list; with `outputs` given, a dict of such by name,
          where `score` and `defective` are one array for a list too (a scalar for one image).

        Raises:
          UserError: another dtype or shape, another `size`, or an unknown output.
        """
        self.check_size(size)
        names = ("map",) if outputs is None else chosen(outputs, self.outputs)
        handed: Any = as_arrays(images, rendering_of_model(self))
        array = isinstance(handed, np.ndarray)
        stack, single = stack_of(handed) if array else (handed, False)
        each = self.inspect(list(stack))
        found: dict[str, Any] = {name: [getattr(one, name) for one in each] for name in names}
        for name, values in found.items():
            if single:
                found[name] = values[0]
            elif name in OF_IMAGE:
                found[name] = np.asarray(values, np.float32 if name == "score" else bool)
            elif array:
                none = np.zeros(np.shape(stack)[:3], bool if name == "mask" else np.float32)
                found[name] = np.stack(values) if values else none
        return found["map"] if outputs is None else found

    def strips(self, image: UInt8[np.ndarray, "h w c"], size: Size | None = None) -> Iterator[Strip]:
        """The map of `predict` of one image in tiles, strip by strip from its top: no more is held at a time.

        Raises:
          UserError: as `predict`.
        """
        self.check_size(size)
        (whole,) = self.shrunk(image)
        for top, values in strips_of(self, whole):
            yield top, np.clip(values / (2 * self.thresholds.pixel), 0, 1)

    def check_size(self, size: Size | None) -> None:
        """Raises UserError for a size that is not the one of the fit; None is."""
        if size not in (None, self.size):
            raise UserError(
                f"--size: {size}; this detector was fitted at {named(self.size)} pixels and has no other size"
            )


def scaled(model: AnomalyModel, images: UInt8[np.ndarray, "n h w c"]) -> Float[np.ndarray, "n h w"]:
    """Maps over twice the pixel threshold, of images of the network's size; not clipped."""
    return model.score(images)[0] / np.float32(2 * model.thresholds.pixel)


def _channels(image: np.ndarray, name: str) -> UInt8[np.ndarray, "h w c"]:
    image = image[..., None] if image.ndim == 2 else image
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] not in (1, 3):
        raise UserError(f"{name}: {image.dtype} {image.shape} is not uint8 [h w], [h w 1] or [h w 3]")
    return image
