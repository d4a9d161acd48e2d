"""A fitted detector ready for use, and its folder: uint8 images of any size in, maps, scores and masks out.

state/0/      an Orbax checkpoint: the detector's state and the backbone's folded variables, with the record
config.json   the recipe;  meta.json  thresholds, classes, weights' digest, data digest, versions
thresholds.json  where they were moved later (`jaxqc.training.moved`)
golden.npz    two images with their maps and scores, for `jaxqc verify`
"""

import json
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from jaxtyping import Array, Bool, Float, UInt8

from jaxqc.anomaly.calling import at_size
from jaxqc.anomaly.detectors.base import localises
from jaxqc.anomaly.features import apply_function
from jaxqc.anomaly.recipe import FitConfig, from_stored
from jaxqc.anomaly.restored import restored
from jaxqc.anomaly.thresholds import Thresholds
from jaxqc.anomaly.tiles import cut_tiles, joined, places
from jaxqc.data.batching import Images, as_arrays, stack_of
from jaxqc.data.colour import in_colour
from jaxqc.data.depth import range_of_model
from jaxqc.data.resizing import Size, named, resize_image, resize_map, sides
from jaxqc.errors import UserError
from jaxqc.metrics.regions import opened, opened_levels
from jaxqc.outputs import OF_IMAGE, Outputs, chosen
from jaxqc.training.checkpoint import Checkpoints, read
from jaxqc.training.checksums import DamagedError
from jaxqc.training.folder_sums import check_folder, check_promise
from jaxqc.training.moved import moved
from jaxqc.types import Variables


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
        self.side = config.data.tile or config.data.crop
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
        self, state: Any, variables: Variables, pixel: Float[Array, ""], images: UInt8[Array, "b h w c"]
    ) -> tuple[Float[Array, "b h w"], Float[Array, " b"], Bool[Array, "b h w"]]:
        """uint8 images of the network's size → distances, image scores and opened masks: one graph, to be jitted."""
        maps, scores = self._detector.score(state, self._embed(variables, images), self.size)
        masks = opened(maps >= pixel, self.config.decision.opening) if self.localises else jnp.zeros_like(maps, bool)
        return maps, scores, masks

    def score(self, images: UInt8[np.ndarray, "n *t h w c"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Distances [n h w], scores [n] and masks [n h w] of images that have the network's size already.

        Of images in tiles [n t h w c] (`shrunk`), distances and masks are those of the tiles [n t h w].
        """
        if images.ndim == 5:
            n, t = images.shape[:2]
            values, scores, masks = self.score(images.reshape(n * t, *images.shape[2:]))
            by_image = lambda x: x.reshape(n, t, *x.shape[1:])
            return by_image(values), scores.reshape(n, t).max(1), by_image(masks)
        parts = []
        for start in range(0, len(images), self.batch):
            part = images[start : start + self.batch]
            part = in_colour(part)
            padded = np.concatenate([part, np.repeat(part[-1:], self.batch - len(part), 0)])
            out = self._call(self.state, self.variables, np.float32(self.thresholds.pixel), padded)
            parts.append([np.asarray(x)[: len(part)] for x in out])
        if not parts:
            empty = np.zeros((0, *sides(self.size)), np.float32)
            return empty, np.zeros(0, np.float32), empty.astype(bool)
        return tuple(np.concatenate(x) for x in zip(*parts, strict=True))  # type: ignore[return-value]

    def inspect(self, images: Sequence[np.ndarray]) -> list[Found]:
        """Maps, scores, masks and verdicts of uint8 images [h w], [h w 1] or [h w 3] of any sizes."""
        small = [self.shrunk(image, f"images[{i}]") for i, image in enumerate(images)]
        if any(one.ndim == 4 for one in small):  # as many tiles as an image has
            each = ([part[0] for part in self.score(one[None])] for one in small)
            return [self.found(*image.shape[:2], *answer) for image, answer in zip(images, each, strict=True)]
        answers = self.score(np.stack(small) if small else np.zeros((0, 1, 1, 3), np.uint8))
        return [self.found(*image.shape[:2], *answer) for image, *answer in zip(images, *answers, strict=True)]

    def shrunk(self, image: np.ndarray, name: str = "image") -> UInt8[np.ndarray, "*t h w 3"]:
        """An image of any size as `score` takes it; where it is seen in `tiles`, these.

        Raises:
          UserError: not uint8 [h w], [h w 1] or [h w 3]; named `name`.
        """
        image = _channels(image, name)
        cut = self.tiles(*image.shape[:2])
        small = cut_tiles(image, self.side, self.size) if cut else resize_image(image, self.size)
        return in_colour(small)

    def whole(self, values: Float[np.ndarray, "*t a b"], height: int, width: int) -> Float[np.ndarray, "h w"]:
        """One image's distances of `score`; those of tiles put together, at the image's own size."""
        return joined(values, height, width, self.side) if values.ndim == 3 else values

    def tiles(self, height: int, width: int) -> int:
        """Tiles that an image of this size is seen in; 0 = it is seen whole.

        Of a fit to crops (`FitDataConfig.crop`) an image that is larger than one is seen in such.
        """
        if self.tile or (self.side and max(height, width) > self.side):
            return len(places(height, width, self.side))
        return 0

    def found(
        self,
        height: int,
        width: int,
        values: Float[np.ndarray, "*t a b"],
        score: float | np.floating[Any],
        mask: Bool[np.ndarray, "*t a b"],
    ) -> Found:
        """One image's part of `score`'s answer at the image's own size."""
        if values.ndim == 3:
            values = self.whole(values, height, width)
            mask = opened_levels(values, self.config.decision.opening) >= np.float32(self.thresholds.pixel)
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
        handed: Any = as_arrays(images, range_of_model(self))
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


def save(folder: Path, model: AnomalyModel, record: dict[str, Any]) -> None:
    """Writes a fit's state and backbone (config.json and meta.json are `record.write_record`'s).

    Raises:
      UserError: the folder cannot be written.
    """
    saves = Checkpoints(folder / "state")
    try:
        tree = {"state": jax.device_get(model.state), "backbone": jax.device_get(model.variables)}
        saves.save(0, tree, {"state": type(model.state).__name__, **record}, 0)
        saves.wait()
    finally:
        saves.close()


def load(path: str | Path, batch: int = 0) -> AnomalyModel:
    """The model of a fit's folder. batch: most images on the device at once; 0 takes the recipe's.

    Raises:
      UserError: no fit there, or it is damaged or not finished.
    """
    folder = Path(path)
    if not (folder / "state").is_dir() and (folder / "checkpoints").is_dir():
        raise UserError(f"{folder}: an unfinished fit; the same jaxqc fit command goes on with it")
    try:
        check_folder(folder)
        flat, record = read(folder / "state" / "0")
        check_promise(folder, record)
        meta = json.loads((folder / "meta.json").read_text("utf-8"))
        config = from_stored(record["config"], f"{folder}: config")
        config = replace(config, batch=batch or config.batch)
        thresholds, now = Thresholds(**meta["thresholds"]), moved(folder)
        if now:
            image, pixel = thresholds.image * now.factor, thresholds.pixel * now.factor
            thresholds = replace(thresholds, image=image, pixel=pixel, how=now.how)
    except UserError:
        raise
    except (DamagedError, OSError, ValueError, KeyError, TypeError) as e:
        raise UserError(f"{folder}: damaged ({e}); fit again, or copy the whole folder again") from e
    tree = traverse_util.unflatten_dict(flat)
    state = restored(tree["state"], record.get("state"), config.detector.states, folder)
    return AnomalyModel(config, state, tree.get("backbone", {}), thresholds, meta)
