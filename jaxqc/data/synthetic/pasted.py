"""Defects pasted into good images of any size: cracks, scratches, spots, stains, and patches of other images.

They show what a detector finds where no defective image is at hand; of real defects it may find fewer. As in
`plate_defects` a defect is a level function f (> 0 inside), here in pixels: the mask is f > 0, and the blend is one
half on the outline. Contrast is in units of the image's own noise round the place, so that one number means the same
on a dull surface and on a lively one. The forms are modelled on cracks of castings and ceramics; the numbers are ours.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8

from jaxqc.data.synthetic.brushes import Field, blend, field, profile
from jaxqc.errors import UserError, suggest

Image = UInt8[np.ndarray, "h w"] | UInt8[np.ndarray, "h w c"]
Form = tuple[Field, Field]
"""Level function in pixels, and the change of brightness that shows it: about ±1 inside, 0 outside."""

LARGEST = {"crack": 0.6, "scratch": 0.6, "spot": 0.15, "stain": 0.3, "patch": 0.25}
"""Largest size of each kind over the image's shorter side."""
KINDS = tuple(LARGEST)
CONTRASTS = (4.0, 12.0)
"""Least and most contrast that `paste` draws, in units of the noise."""
QUIETEST = 1.5
"""Least noise in grey levels: on a surface of one value a defect must still differ from it."""


@dataclass(frozen=True)
class Pasted:
    """A good image with one defect."""

    image: Image
    mask: Bool[np.ndarray, "h w"]
    kind: str
    size: float
    """Pixels: a crack's or scratch's length, a spot's or stain's diameter, a patch's longer side."""
    contrast: float
    """Brightness of the defect less that of its surroundings, over their noise, at its strongest."""


def sizes(kind: str, side: int, count: int = 4) -> tuple[int, ...]:
    """Sizes in pixels at which a kind is tried on images of this shorter side: doublings, the largest last.

    Examples:
      >>> sizes("crack", side=224), sizes("spot", side=224)
      ((16, 32, 64, 128), (4, 8, 16, 32))
    """
    _check(kind)
    most = max(LARGEST[kind] * side, 2.0)
    step = 2.0 ** np.floor(np.log2(most))
    largest = int(1.5 * step if 1.5 * step <= most else step)
    return tuple(s for s in (largest // 2**i for i in reversed(range(count))) if s >= 2)


def paste(
    image: np.ndarray,
    kind: str,
    size: float,
    rng: np.random.Generator,
    contrast: float | None = None,
    other: np.ndarray | None = None,
) -> Pasted:
    """The image with a defect of that kind and size at a drawn place; the given array stays as it is.

    Args:
      kind: one of `KINDS`. size: pixels, as of `Pasted`.
      contrast: as of `Pasted`; None draws it between `CONTRASTS`. A defect is dark or light, as there is room.
      other: another good image, from which a patch is cut; None cuts it from this one.

    Raises:
      UserError: not uint8 [h w], [h w 1] or [h w 3], an unknown kind, a size below 1.

    Examples:
      >>> good = np.full((64, 96, 3), 120, np.uint8)
      >>> crack = paste(good, "crack", 40, np.random.default_rng(0))
      >>> crack.image.shape, bool(20 < crack.mask.sum() < 200)
      ((64, 96, 3), True)
    """
    _check(kind)
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3)):
        raise UserError(f"image: {image.dtype} {image.shape} is not uint8 [h w], [h w 1] or [h w 3]")
    if not size >= 1:
        raise UserError(f"size: {size!r} must be 1 pixel or more")
    values = np.atleast_3d(image).astype(np.float32)
    drawn = float(np.exp(rng.uniform(*np.log(CONTRASTS)))) if contrast is None else float(contrast)
    level, change = FORMS[kind](rng, size)
    inside, window = _placed(rng, values, len(level))
    level, change = level[window], change[window]
    part = values[inside]
    # A blotch must stand out of what is uneven at its own scale.
    scale = max(2.0, size / 4) if kind == "stain" else 2.0
    amount = drawn * noise_of(_around(values.mean(2), inside), scale) * change
    light = _room(rng, float(part.mean()), float(np.abs(amount).max(initial=0)))
    tint = 1 + rng.uniform(-0.15, 0.15, part.shape[2]) * (part.shape[2] > 1)
    if kind == "patch":
        donor = np.atleast_3d(image if other is None else other).astype(np.float32)
        part = part + blend(level, 0.8)[..., None] * (_cut(rng, donor, part.shape) - part)
    changed = part + (light * amount[..., None] * tint).astype(np.float32)
    out, mask = values, np.zeros(values.shape[:2], bool)
    out[inside], mask[inside] = changed, level > 0
    return Pasted(np.round(np.clip(out, 0, 255)).astype(np.uint8).reshape(image.shape), mask, kind, size, drawn)


def noise_of(grey: Float[np.ndarray, "h w"], scale: float = 2.0) -> float:
    """Standard deviation of the structure finer than `scale` pixels or so (robust), in grey levels.

    Examples:
      >>> round(noise_of(np.random.default_rng(0).normal(100, 6, (200, 200))))
      6
    """
    from scipy import ndimage

    fine = grey - ndimage.gaussian_filter(grey, scale)
    return max(QUIETEST, 1.4826 * float(np.median(np.abs(fine))))


def _check(kind: str) -> None:
    if kind not in KINDS:
        raise UserError(f"kind: {kind!r} is no kind of pasted defect{suggest(kind, KINDS)}")


def _placed(rng: np.random.Generator, values: np.ndarray, side: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Place of a window of that side in the image, and the part of the window that is inside.

    A place in full black or white, which is rather background than surface, is drawn anew a few times.
    """
    inside = window = (slice(0), slice(0))
    for _ in range(10):
        starts = [int(np.floor(rng.random() * (n - side + 1))) if n > side else (n - side) // 2
                  for n in values.shape[:2]]  # fmt: skip
        pairs = [(max(a, 0), min(a + side, n), a) for a, n in zip(starts, values.shape[:2], strict=True)]
        inside = tuple(slice(lo, hi) for lo, hi, _ in pairs)
        window = tuple(slice(lo - a, hi - a) for lo, hi, a in pairs)
        if 4 < np.median(values[inside]) < 251:
            break
    return inside, window  # type: ignore[return-value]


def _around(grey: np.ndarray, inside: tuple[slice, slice], margin: int = 16) -> np.ndarray:
    return grey[tuple(slice(max(s.start - margin, 0), s.stop + margin) for s in inside)]


def _room(rng: np.random.Generator, mean: float, most: float) -> int:
    """Light (-1 turns a form, which is dark, round) or dark (1): as drawn, where the other side has more room."""
    dark = rng.random() < 0.65
    if (mean - most < 4) if dark else (mean + most > 251):
        dark = mean > 255 - mean
    return 1 if dark else -1


def _cut(rng: np.random.Generator, donor: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A part of the donor of that shape, mirrored or turned round; the donor is repeated where it is smaller."""
    h, w, channels = shape
    donor = np.tile(donor, (-(-h // donor.shape[0]), -(-w // donor.shape[1]), 1))
    top, left = (int(rng.integers(n - k + 1)) for n, k in zip(donor.shape, (h, w), strict=False))
    part = donor[top : top + h, left : left + w][:: int(rng.choice((-1, 1))), :: int(rng.choice((-1, 1)))]
    return part if part.shape[2] == channels else np.repeat(part.mean(2, keepdims=True), channels, 2)


def _grid(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns in pixels, 0 in the middle."""
    at = (np.arange(side) - (side - 1) / 2).astype(np.float32)
    return at[:, None], at[None, :]


def _walk(rng: np.random.Generator, length: float, bend: float, jag: float, heading: float) -> np.ndarray:
    """Points [k 2] every half pixel of a line that bends slowly and turns sharply now and then."""
    n = max(2, round(2 * length))
    sharp = (rng.random(n) < 0.06) * rng.normal(0, 1, n)
    turned = heading + np.cumsum(bend * rng.normal(0, 1, n)) * min(1.0, 40 / length) + np.cumsum(jag * sharp)
    turned = heading + np.clip(turned - heading, -1.3, 1.3)  # a crack does not run back
    return 0.5 * np.cumsum(np.stack([np.sin(turned), np.cos(turned)], 1), 0)


def _line(paths: list[tuple[np.ndarray, np.ndarray]], strength: np.ndarray) -> tuple[Field, Field]:
    """Level function of lines, each of points [k 2] and half widths [k], and the strength of the nearest point."""
    from scipy import spatial

    points, half = (np.concatenate(x) for x in zip(*paths, strict=True))
    low, high = points.min(0), points.max(0)
    side = int(np.ceil((high - low).max())) + 9
    y, x = _grid(side)
    pixels = np.stack(np.broadcast_arrays(y, x), -1).reshape(-1, 2)
    away, nearest = spatial.KDTree(points - (low + high) / 2).query(pixels)
    level = (half[nearest] - away).reshape(side, side).astype(np.float32)
    return level, strength[nearest].reshape(side, side).astype(np.float32)


def _crack(rng: np.random.Generator, size: float) -> Form:
    """A dark line of 1 to 3 pixels that wanders, thins out to its ends and fades here and there; half have a branch."""
    heading, half = rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 1.4)
    main = _walk(rng, size, 0.05, 0.6, heading)
    taper = np.sin(np.pi * np.linspace(0.04, 0.96, len(main))) ** 0.5
    rough = np.clip(1 + 0.25 * profile(rng, len(main), max(2, len(main) // 16)), 0.5, 1.6)
    paths = [(main, np.maximum(half * taper * rough, 0.55))]
    if size >= 24 and rng.random() < 0.5:
        start = int(rng.integers(len(main) // 4, 3 * len(main) // 4))
        turn = heading + rng.choice((-1, 1)) * rng.uniform(0.5, 1.0)
        branch = main[start] + _walk(rng, 0.3 * size, 0.05, 0.6, turn)
        paths.append((branch, np.linspace(0.8 * half, 0.5, len(branch))))
    count = sum(len(points) for points, _ in paths)
    level, strength = _line(paths, np.clip(1 + 0.3 * profile(rng, count, 8), 0.4, 1.4))
    return level, -blend(level, 0.8) * strength


def _scratch(rng: np.random.Generator, size: float) -> Form:
    """A nearly straight line of 1 to 2 pixels with a bright core, worn through in places."""
    points = _walk(rng, size, 0.004, 0.0, rng.uniform(0, 2 * np.pi))
    half = np.full(len(points), rng.uniform(0.5, 1.0))
    level, worn = _line([(points, half)], np.clip(0.9 + 0.35 * profile(rng, len(points), 9), 0.2, 1.3))
    flank = np.exp(-(((level + 1.2) / 0.7) ** 2))
    return level, worn * (blend(level, 0.7) - 0.3 * flank)


def _spot(rng: np.random.Generator, size: float) -> Form:
    """A pit or grain: sharp, round but for dents, darker to its middle, one side of the rim lit."""
    y, x = _grid(int(np.ceil(1.4 * size)) + 6)
    turn, radius = rng.uniform(0, 2 * np.pi), size / 2
    squash = rng.uniform(0.85, 1.15)
    dy, dx = y * squash, x / squash
    away = np.hypot(dy, dx)
    level = (radius - away * np.exp(0.1 * field(rng, len(away), 4, 4))).astype(np.float32)
    side = (dx * np.cos(turn) + dy * np.sin(turn)) / np.maximum(away, 0.5)
    rim = np.clip(side, 0, 1) * np.exp(-(((level + 1) / 1.2) ** 2))
    return level, (-blend(level, 0.8) * (0.8 + 0.2 * np.clip(level / radius, 0, 1)) + 0.35 * rim).astype(np.float32)


def _stain(rng: np.random.Generator, size: float) -> Form:
    """A soft blotch with an irregular outline, uneven inside."""
    y, x = _grid(int(np.ceil(1.8 * size)) + 6)
    turn, stretch = rng.uniform(0, np.pi), rng.uniform(1.0, 1.6)
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    away = np.hypot(u / stretch**0.5, v * stretch**0.5)
    level = (size / 2 - away * np.exp(0.15 * field(rng, len(away), 4, 4))).astype(np.float32)
    uneven = np.clip(1 + 0.15 * field(rng, len(away), 7, 7), 0.6, 1.4)
    return level, (-0.6 * blend(level, max(1.0, 0.2 * size)) * uneven).astype(np.float32)


def _patch(rng: np.random.Generator, size: float) -> Form:
    """A turned rectangle, a third as wide as long up to a square; its change of brightness is slight."""
    y, x = _grid(int(np.ceil(1.5 * size)) + 4)
    turn, width = rng.uniform(0, np.pi), size * rng.uniform(0.33, 1.0)
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    level = np.minimum(size / 2 - np.abs(u), width / 2 - np.abs(v)).astype(np.float32)
    return level, -0.5 * blend(level, 0.8)


FORMS: dict[str, Callable[[np.random.Generator, float], Form]] = {
    "crack": _crack,
    "scratch": _scratch,
    "spot": _spot,
    "stain": _stain,
    "patch": _patch,
}
