"""The recipe of `jaxqc fit`: detector, backbone, data and decision as frozen dataclasses."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from jaxqc.anomaly.detectors import DETECTORS, Gaussian
from jaxqc.anomaly.detectors.base import BackboneConfig as BackboneConfig
from jaxqc.anomaly.detectors.base import Detector, is_trained, lacks, localises
from jaxqc.anomaly.detectors.learner import Learner, learners_of
from jaxqc.config import load_config
from jaxqc.data.resizing import sides
from jaxqc.errors import UserError
from jaxqc.fields import check_positive, check_seed, choices, chosen, from_dict, validate
from jaxqc.image_config import channels_of, range_of
from jaxqc.models.dinov2 import VITS
from jaxqc.tiling import Tiling, tiling_of


@dataclass(frozen=True)
class FitDataConfig:
    """The images that are fitted, and their way to the network."""

    layout: Any = "auto"
    """The data set's layout on disk; `auto` goes by its folders and files (`jaxqc.config.DataConfig.layout`)."""
    size: int | tuple[int, int] = 224
    """Pixels to which images are resized: the side of a square, or height and width (640,256), which keep a shape."""
    tile: int = 0
    """Side in the image's own pixels of overlapping square tiles, each seen at `size`; 0 = the whole image is."""
    overlap: int = 0
    """Pixels that neighbouring tiles have in common at least; 0 = a quarter of the tile."""
    crop: int = 0
    """Cut images into squares of this side first (the paper: 224 of 1,024); 0 = whole images."""
    samples: int = 0
    """Normal images to fit, drawn by the seed; 0 = all."""
    held_out: float = 0.2
    """Share of the groups of normal training images that calibrate the threshold, where the data bring none and they
    are not held out in turn (`decision.folds` 1)."""
    products: Literal["layout", "group", "none"] = "layout"
    """Products that one detector is fitted to, each with thresholds of its own: those of the data (column `product`,
    layout `products`), each `group`, or all as one."""
    worst: float = 0.0
    """Share of the good images that is left out, named: the farthest from the others, where defects may have gone
    unnoticed among them."""
    skip_bad: bool = False
    """Leave out images that cannot be read (listed at the end) instead of refusing."""
    range: tuple[float, ...] = ()
    """Values of black and white in images of more than 8 bits, such as 0,4095; () goes by the files."""
    channels: tuple[int, ...] = ()
    """Bands of the files that are the picture, counted from 1: one, or three as red, green and blue; () goes by the
    files."""
    foreground: str = ""
    """Mask values that mean defect, such as 1,3, where masks are not binary."""
    normal: str = ""
    """The class that is free of defects, where its name does not say so."""
    unmasked: str = ""
    """`good`: images without a mask are free of defects."""

    @property
    def tiling(self) -> Tiling | None:
        """The tiles in which images are seen; of a fit to crops, those in which larger images are."""
        if self.crop:
            return Tiling(self.crop, self.crop // 4, reflect=False)
        return tiling_of(self.tile, self.overlap)


@dataclass(frozen=True)
class DecisionConfig:
    """The way from scores to decisions."""

    threshold: Literal["quantile", "f1"] = "quantile"
    """`quantile`: of held-out normals, by `false_alarm`. `f1`: the best F1 on the defective and normal images of split
    `val`, which then must not be what is tested on."""
    false_alarm: float = 0.02
    """Share of good pieces of which the verdict may be `review` or `reject`."""
    unit: Literal["image", "group"] = "image"
    """A piece: each image, which is called alone, or each `group`, called where any of its images is (its views)."""
    folds: int = 10
    """Parts of whole groups that are held out in turn, each scored by a fit to the others, before all are fitted; 1
    holds out `data.held_out` for good. So it is for a detector that is trained, and with `data.samples`."""
    minutes: float = 15.0
    """Time for the fits of the folds; where the first one shows that they would take longer, it stays the only one."""
    opening: int = 4
    """Radius in pixels of the disk that opens the mask; 0 = none."""
    smallest: int = 1
    """Pixels below which a marked region is dropped."""


@dataclass(frozen=True)
class FitConfig:
    """Everything a fit is made of, but the data's path and the folder it goes to."""

    detector: Any = field(default_factory=Gaussian, metadata=chosen("detectors", DETECTORS, flag="method"))
    """One value of a class of `DETECTORS`, or any frozen dataclass that is a `Collecting` or a `Trained`."""
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    data: FitDataConfig = field(default_factory=FitDataConfig)
    decision: DecisionConfig = field(default_factory=DecisionConfig)
    batch: int = 16
    """Images on a device at once."""
    pasted: int = 240
    """Most held-out images with a pasted defect that are scored at the end, to say what is found; 0 = none."""
    devices: int = 0
    """Local devices to use; 0 takes all. Images are spread over them, and so are the positions of the Gaussians."""
    seed: int = 0
    """Draws `data.samples` and the held-out groups, and starts and orders a training; other draws have their own."""

    @property
    def name(self) -> str:
        """The detector's name: its key of `DETECTORS`, or where else its class is (`package.module:Class`)."""
        return choices(FitConfig)["detector"].name_of(self.detector)

    @property
    def ready(self) -> Detector:
        """The detector for this backbone."""
        on = getattr(self.detector, "on", None)
        return self.detector if on is None else on(self.backbone)

    @property
    def learners(self) -> tuple[Learner, ...]:
        """The detector's members that are trained."""
        return learners_of(self.detector, self.backbone)

    @property
    def aligned(self) -> bool:
        """True where each place in the grid of tiles has a state of its own."""
        return bool(getattr(self.detector, "at_places", False))

    @property
    def trains(self) -> bool:
        """True where the one loop trains the detector, or a member of it."""
        return is_trained(self.ready) or bool(self.learners)

    @property
    def folds(self) -> int:
        """Parts that are held out in turn; 1 where the held-out images are never fitted."""
        heard = getattr(self.ready, "heard", None) is not None  # held-out images give it a unit
        return 1 if self.data.samples or self.trains or heard else self.decision.folds

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        check_seed(self.seed, where)
        check_positive({"decision.folds": self.decision.folds, "decision.minutes": self.decision.minutes}, where)
        range_of(self.data.range, f"{where}: data.range")
        channels_of(self.data.channels, f"{where}: data.channels")
        check_positive({"batch": self.batch, "data.size": min(sides(self.data.size))}, where)
        for name, share in (("data.held_out", self.data.held_out), ("decision.false_alarm", self.decision.false_alarm)):
            if not 0 < share < 1:
                raise UserError(f"{where}: {name}={share!r} must be between 0 and 1")
        if not 0 <= self.data.worst < 0.5:
            raise UserError(f"{where}: data.worst={self.data.worst!r} must be from 0 to below .5")
        vit = VITS.get(self.backbone.name)
        most = vit.depth if vit else 4
        if not self.backbone.layers or not set(self.backbone.layers) <= set(range(1, most + 1)):
            those = f"1 to {most}" if vit else "1,2,3,4"
            raise UserError(f"{where}: backbone.layers={self.backbone.layers!r}; choose one or more of {those}")
        if not self.backbone.scales or not all(0 < scale <= 1 for scale in self.backbone.scales):
            raise UserError(f"{where}: backbone.scales={self.backbone.scales!r}; give shares above 0 and at most 1")
        own = ((self.ready, self.backbone),) if is_trained(self.ready) else ()
        for trained, backbone in (*own, *((each.ready, each.backbone) for each in self.learners)):
            if backbone.scales != (1.0,) and not getattr(trained, "any_scale", False):
                kind = type(getattr(trained, "config", trained)).__name__
                raise UserError(f"{where}: backbone.scales: {kind} is trained on one size; set it to 1")
        if self.backbone.tokens and not vit:
            raise UserError(f"{where}: backbone.tokens: {self.backbone.name} has none; set it to false")
        check = getattr(self.detector, "check", None)
        if check is not None:
            check(f"{where}: detector")
        whole = not localises(self.ready) or getattr(self.ready, "heard", None) is not None
        tiling_of(self.data.tile, self.data.overlap, f"{where}: data")
        if self.data.tile and (self.data.crop or whole):
            other = "data.crop" if self.data.crop else f"{self.name}, which has scores of whole images"
            raise UserError(f"{where}: data.tile={self.data.tile} does not go with {other}; set one of them to 0")
        if self.aligned and not self.data.tile:
            raise UserError(f"{where}: detector.aligned is of the places of tiles; set data.tile, or leave it out")
        if self.trains and not isinstance(self.data.size, int):
            raise UserError(f"{where}: data.size={self.data.size!r}: {self.name} trains on squares; give one side")
        if absent := lacks(self.ready):
            kind = type(self.detector).__name__
            raise UserError(f"{where}: detector: {kind} has no {', '.join(absent)} (jaxqc.anomaly.detectors.base)")


def load_recipe(source: str | Path) -> FitConfig:
    """A recipe by name or path (`jaxqc.config.load_config`), or the one that a fit's `config.json` holds.

    Raises:
      UserError: no such recipe, or not one of a fit.
    """
    if Path(source).suffix != ".json":
        return load_config(source, FitConfig)
    try:
        stored = json.loads(Path(source).read_text("utf-8"))
    except (OSError, ValueError) as e:
        raise UserError(f"--config: {source} cannot be read as JSON ({e}); give the config.json of a fit") from e
    if not isinstance(stored, dict):
        raise UserError(f"--config: {source} is not the config.json of a fit")
    return validate(from_stored(stored, str(source)), str(source))


def from_stored(values: Mapping[str, Any], where: str) -> FitConfig:
    """The recipe that a fit's folder holds. One from before `detector` was a field had `method` and a section a name.
    One from before `decision.folds` was a field held images out once, and took a group for a piece.

    Raises:
      UserError: unknown keys or values, a detector whose package is missing or does not register it.
    """
    values = dict(values)
    if "detector" not in values:
        name = values.pop("method", "gaussian")
        old = {key: values.pop(key, {}) for key in ("gaussian", "patchcore", "spade")}
        values["detector"] = {"name": name, **old.get(name, {})}
    # Before folds were a field, the held-out images were never fitted, and a group was a piece.
    if isinstance(decision := values.get("decision", {}), Mapping):
        values["decision"] = {"folds": 1, "unit": "group", **decision}
    return from_dict(values, FitConfig, where)
