"""The sections of a recipe on images: their place, what their values mean, and what training draws of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from jaxqc.errors import UserError

if TYPE_CHECKING:
    import jaxqc.tiling


@dataclass(frozen=True)
class DataConfig:
    """The images' place and their way to the device."""

    layout: Any = "auto"
    """The data set's layout on disk: `auto` goes by its folders and files; a key of `jaxqc.data.readers.READERS`, a
    layout of an installed package, a `Reader` itself; `tfds` or `records`."""
    protocol: Literal["auto", "index", "seed", "field"] = "auto"
    """`index`: the data's own split column. `seed`: 270 + 30 a class by a fixed seed. `field`: noisy, test on all.
    `auto`: `index` where the data bring a split, else `seed`; a run's folder records the one it was."""
    mode: Literal["resident", "stream"] = "resident"
    """`resident`: the whole set lives on the device as uint8. `stream`: a grain pipeline feeds each step."""
    size: int = 0
    """Side in pixels to which images are resized when decoded; 0 keeps the size they all share."""
    workers: int = 0
    """grain worker processes (stream mode); 0 decodes in threads of this process."""
    skip_bad: bool = False
    """Leave out unreadable samples (listed in the log) instead of refusing to start."""
    range: tuple[float, ...] = ()
    """Values of black and white in images of more than 8 bits, such as 0,4095; () goes by the files."""
    channels: tuple[int, ...] = ()
    """Bands of the files that are the picture, counted from 1: one, or three as red, green and blue; () goes by the
    files."""
    image_key: str = ""
    """Layout `tfds`: the feature that is the image; "" finds it, as the two below, by kind and usual names."""
    mask_key: str = ""
    """Layout `tfds`: the feature that is the mask."""
    label_key: str = ""
    """Layout `tfds`: the feature that is the class."""
    foreground: str = ""
    """Mask values that mean defect, such as 1,3, where masks are not binary."""
    normal: str = ""
    """The class that is free of defects, where its name does not say so."""
    unmasked: str = ""
    """`good`: images without a mask are free of defects."""
    tile: int = 0
    """Side in the image's own pixels of overlapping square tiles in which a saliency network sees images, each at the
    sizes of `phases` and `eval_size`; 0 = whole images."""
    overlap: int = 0
    """Pixels that neighbouring tiles have in common at least; 0 = a quarter of the tile."""
    tile_defects: float = 0.5
    """Share of the training tiles that see a defect: all of those, and a draw of the others."""

    @property
    def tiling(self) -> "jaxqc.tiling.Tiling | None":
        """The tiles in which images are seen; None = whole."""
        from jaxqc.tiling import tiling_of

        return tiling_of(self.tile, self.overlap)


@dataclass(frozen=True)
class AugmentConfig:
    """On-device augmentation, drawn per image inside the compiled step. Zero switches a part off."""

    flip_horizontal: bool = True
    """Mirror every second image, left to right."""
    flip_vertical: bool = False
    """Mirror every second image, top to bottom."""
    crop_min: float = 1.0
    """Smallest side of the random square crop as a share of the image's; 1 keeps the whole image."""
    brightness: float = 0.0
    """Factor of brightness from U(1 - x, 1 + x)."""
    contrast: float = 0.0
    """Factor of contrast from U(1 - x, 1 + x)."""
    noise: float = 0.0
    """Largest standard deviation of added Gaussian noise, in [0, 1] image units."""


@dataclass(frozen=True)
class PhotometricConfig:
    """Colour and sharpness drawn per image on the device (`jaxqc.data.augment.photometric`). Zero switches one off."""

    brightness: float = 0.5
    """Factors of brightness, contrast and saturation come from U(1 - x, 1 + x), but not below 0."""
    contrast: float = 0.5
    """Spread of the factor of contrast, as that of `brightness`."""
    saturation: float = 0.5
    """Spread of the factor of saturation, as that of `brightness`."""
    hue: float = 0.25
    """The hue turns by U(-x, x) of the whole circle; at most 0.5."""
    jitter: float = 0.8
    """Probability that the four above apply, in random order."""
    grey: float = 0.2
    """Probability that the image loses its colour."""
    blur: float = 0.5
    """Probability of a Gaussian blur of standard deviation U(blur_min, blur_max) pixels."""
    blur_min: float = 0.1
    """Least standard deviation of the blur, in pixels."""
    blur_max: float = 2.0
    """Largest standard deviation of the blur, in pixels."""

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        for name in ("jitter", "grey", "blur"):
            if getattr(self, name) > 1:
                raise UserError(f"{where}: {name}={getattr(self, name)!r} is a probability; give at most 1")
        if self.hue > 0.5:
            raise UserError(f"{where}: hue={self.hue!r}; half a turn is the most: give at most 0.5")
        if self.blur and not 0 < self.blur_min <= self.blur_max:
            raise UserError(f"{where}: blur_min={self.blur_min!r}, blur_max={self.blur_max!r}; give 0 < min <= max")


def range_of(values: Sequence[float], where: str) -> tuple[float, float] | None:
    """The values of black and white, as a recipe has them, as a pair: () → None, one value → from 0 to it.

    Raises:
      UserError: naming `where`, for more than two values, or a second one that is not above the first.

    Examples:
      >>> range_of((4095.0,), "data.range"), range_of((), "data.range")
      ((0.0, 4095.0), None)
    """
    if not values:
        return None
    pair = (0.0, *values) if len(values) == 1 else tuple(values)
    if len(pair) != 2 or not -math.inf < pair[0] < pair[1] < math.inf:
        text = ",".join(f"{v:g}" for v in values)
        raise UserError(f"{where}: {text} is no range; give the values of black and white, as 0,4095")
    return pair[0], pair[1]


def channels_of(values: Sequence[int], where: str) -> tuple[int, ...]:
    """The bands of files that are the picture, counted from 1: one, or three for red, green and blue; () → ().

    Raises:
      UserError: naming `where`, for another number of them, or one below 1.

    Examples:
      >>> channels_of((4, 2, 1), "data.channels")
      (4, 2, 1)
    """
    if values and (len(values) not in (1, 3) or min(values) < 1):
        text = ",".join(map(str, values))
        raise UserError(f"{where}: {text}: give one band, or three as red, green and blue, counted from 1, as 4,2,1")
    return tuple(values)
