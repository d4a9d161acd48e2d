"""The layers of a report's picture: photo, heat and mask as small files, the mask's outline as polygons; and back."""

import io
import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from jaxqc.inspection.defects import opencv
from jaxqc.scorer import PLAIN

LONGEST = 480
"""Longest side of a photo and a mask in pixels; no smaller image is enlarged."""
HEAT_LONGEST = 240
"""Longest side of the heat, which is smooth."""
LEVELS = 64
"""Steps of the heat's scale from 0 to 1."""
FAINTEST, STRONGEST = 0.3, 0.75
"""Opacities at the ends of the heat's scale, of what is seen at all."""
OUTLINES = 200
"""Most outlines a mask keeps, longest first: a mask of noise must not make a page of megabytes."""

Outline = tuple[tuple[float, float], ...]


class Layers(NamedTuple):
    """Files as bytes, and the mask's outlines in the photo's pixels, holes among them."""

    width: int
    height: int
    photo: bytes
    """JPEG, grey or RGB."""
    heat: bytes
    """PNG with a palette: `LEVELS` colours that cannot be seen, for what is below the threshold, and the same seen."""
    mask: bytes
    """PNG of one bit, white where the mask is."""
    outline: tuple[Outline, ...]


def make_layers(
    image: UInt8[np.ndarray, "h w *c"],
    scores: Float[np.ndarray, "h w"],
    mask: Bool[np.ndarray, "h w"],
    threshold: float = PLAIN,
) -> Layers:
    """The layers of an image of one or three channels with its map in [0, 1] and its decided mask.

    The heat is seen exactly where any of the map's pixels in it reaches the threshold; a lower one is transparent.

    Raises:
      ValueError: the three differ in size.
    """
    if not image.shape[:2] == scores.shape == mask.shape:
        raise ValueError(f"image {image.shape[:2]}, map {scores.shape} and mask {mask.shape} differ in size")
    cv2 = opencv()
    width, height = fitting(image.shape, LONGEST)
    small = shrunk(cv2, plain(image), (width, height))
    decided = _holds_any(cv2, mask, (width, height))
    smooth = fitting(image.shape, HEAT_LONGEST)
    above = _holds_any(cv2, _holds_any(cv2, scores >= threshold, (width, height)), smooth)
    values = np.clip(np.nan_to_num(np.asarray(scores, np.float32)), 0, 1)
    levels = np.round(shrunk(cv2, values, smooth) * (LEVELS - 1)).astype(np.uint8)
    return Layers(width, height, jpeg(small), _heat(levels, above), _bits(decided), _outlines(cv2, decided))


def read_layers(photo: bytes, heat: bytes, mask: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The photo uint8 [h w 3], the map float32 [h w] in steps of 1 / (LEVELS - 1), and the mask bool [h w]."""
    from PIL import Image

    with Image.open(io.BytesIO(photo)) as opened:
        picture = np.asarray(opened.convert("RGB"))
    height, width = picture.shape[:2]
    with Image.open(io.BytesIO(heat)) as opened:
        levels = np.asarray(opened) % LEVELS
    with Image.open(io.BytesIO(mask)) as opened:
        decided = np.asarray(opened.convert("L")) > 0
    # A program that opens the file may have packed its palette's levels in fewer bits; PIL gives bytes again.
    values = opencv().resize(levels.astype(np.float32) / (LEVELS - 1), (width, height))
    return picture, values, decided


def heat_from(heat: bytes, threshold: float) -> bytes:
    """A heat with what is below this threshold transparent, whatever it was made with."""
    from PIL import Image

    with Image.open(io.BytesIO(heat)) as opened:
        levels = np.asarray(opened) % LEVELS
    return _heat(levels, levels >= math.ceil(threshold * (LEVELS - 1)))


@lru_cache(maxsize=1)
def _palette() -> tuple[bytes, bytes]:
    """Colours of the heat's levels, those of `pictures.figures`, twice, and their opacities: first none."""
    from matplotlib import colormaps

    from jaxqc.pictures.sheet import HEAT

    p = np.linspace(0, 1, LEVELS)
    colors = np.tile(np.asarray(colormaps[HEAT](0.35 + 0.6 * p))[:, :3], (2, 1))
    opacity = np.concatenate([np.zeros(LEVELS), FAINTEST + (STRONGEST - FAINTEST) * p])
    return np.round(colors * 255).astype(np.uint8).tobytes(), np.round(opacity * 255).astype(np.uint8).tobytes()


def heat_stops(count: int = 9) -> list[tuple[float, str]]:
    """The heat's colours as a gradient's stops: offset in [0, 1], and #rrggbb."""
    colors = np.frombuffer(_palette()[0], np.uint8).reshape(2 * LEVELS, 3)
    at = np.linspace(0, LEVELS - 1, count).round().astype(int)
    return [(round(float(i) / (LEVELS - 1), 3), f"#{colors[i].tobytes().hex()}") for i in at]


def fitting(shape: tuple[int, ...], longest: int) -> tuple[int, int]:
    """Width and height of an image no longer than `longest`."""
    share = min(1.0, longest / max(shape[:2]))
    return max(1, round(shape[1] * share)), max(1, round(shape[0] * share))


def plain(image: UInt8[np.ndarray, "h w *c"]) -> UInt8[np.ndarray, "h w *d"]:
    """An image of one or three channels as JPEG takes it: [h w] or [h w 3]."""
    return image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image


def shrunk(cv2: Any, values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Values at a smaller width and height, each the mean of what it holds."""
    if (values.shape[1], values.shape[0]) == size:
        return values
    return cv2.resize(values, size, interpolation=cv2.INTER_AREA)


def _holds_any(cv2: Any, flags: Bool[np.ndarray, "h w"], size: tuple[int, int]) -> Bool[np.ndarray, "y x"]:
    """Every smaller pixel that holds any flag, so that a scratch thinner than a pixel of the photo is still seen."""
    return shrunk(cv2, np.where(flags, np.uint8(255), np.uint8(0)), size) > 0


def jpeg(image: UInt8[np.ndarray, "h w *c"], quality: int = 82, fine: bool = False) -> bytes:
    """An image, grey [h w] or RGB [h w 3], as a JPEG file. fine: colours have a value for each pixel, not for four."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(image).save(out, "JPEG", quality=quality, optimize=True, subsampling=0 if fine else 2)
    return out.getvalue()


def _heat(levels: UInt8[np.ndarray, "h w"], seen: Bool[np.ndarray, "h w"]) -> bytes:
    from PIL import Image

    colors, opacity = _palette()
    picture = Image.fromarray(levels + np.uint8(LEVELS) * seen)
    picture = picture.convert("L")
    picture.putpalette(colors)
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=False, bits=8, transparency=opacity, compress_level=9)
    return out.getvalue()


def _bits(mask: Bool[np.ndarray, "h w"]) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(mask).save(out, "PNG", compress_level=9)
    return out.getvalue()


def _outlines(cv2: Any, mask: Bool[np.ndarray, "h w"]) -> tuple[Outline, ...]:
    found, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    found = sorted(found, key=len, reverse=True)[:OUTLINES]
    # OpenCV's contours run through the middle of the pixels.
    simple = (cv2.approxPolyDP(line, 0.6, True)[:, 0] + 0.5 for line in found)
    return tuple(tuple(map(tuple, line.tolist())) for line in simple)
