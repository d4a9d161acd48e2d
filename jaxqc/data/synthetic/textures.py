"""Procedural textures and marks with names, in many tints: what a small backbone is trained on.

A texture is a scalar pattern in [0, 1] that mixes two colours of one tint. Marks lie on a random texture and are named
by what they are, and whether they are darker, lighter or of another hue. A class is a pattern (a texture or a mark) and
a tint, so that features must see both: a network that is asked for patterns alone learns to overlook colour. No steel
plate and no wooden board is among them, nor any defect of theirs: detectors meet those for the first time.

Item `index` of `seed` depends on nothing else; patterns take turns, tints are drawn.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from jaxqc.data.synthetic.brushes import axis, blend, field

Pattern = Float32[np.ndarray, "s s"]
Maker = Callable[[np.random.Generator, int], Pattern]


def _stretched(values: np.ndarray) -> Pattern:
    """To zero mean and deviation one half, cut at ±1, then to [0, 1]."""
    values = (values - values.mean()) / (2 * values.std() + 1e-6)
    return (0.5 + 0.5 * np.clip(values, -1, 1)).astype(np.float32)


def _noise(low: float, high: float, turn: float | None = None) -> Maker:
    """Noise of `low` to `high` cycles a side, in all directions or within 13 degrees of `turn` (degrees)."""

    def make(rng: np.random.Generator, size: int) -> Pattern:
        fy, fx = np.fft.fftfreq(size)[:, None] * size, np.fft.rfftfreq(size)[None, :] * size
        radius = np.hypot(fx, fy)
        band = ((radius >= low) & (radius <= high)).astype(np.float64)
        if turn is not None:
            apart = np.angle(np.exp(2j * (np.arctan2(fy, fx) - np.deg2rad(turn + rng.uniform(-8, 8))))) / 2
            band *= np.exp(-0.5 * (apart / np.deg2rad(13)) ** 2)
        return _stretched(np.fft.irfft2(np.fft.rfft2(rng.standard_normal((size, size))) * band, (size, size)))

    return make


def _grid(rng: np.random.Generator, size: int, turn: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates in units of the side, turned (at random where no angle is given) and slightly warped."""
    angle = np.deg2rad(rng.uniform(0, 180) if turn is None else turn + rng.uniform(-8, 8))
    x, y = np.meshgrid(axis(size), axis(size))
    x, y = x + 0.008 * field(rng, size, 3, 3), y + 0.008 * field(rng, size, 3, 3)
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


def _stripes(turn: float) -> Maker:
    def make(rng: np.random.Generator, size: int) -> Pattern:
        u, _ = _grid(rng, size, turn)
        wave = np.sin(2 * np.pi * (rng.uniform(4, 13) * u + rng.random()))
        return (0.5 + 0.5 * np.tanh(rng.uniform(0.5, 4) * wave)).astype(np.float32)

    return make


def _weave(rng: np.random.Generator, size: int) -> Pattern:
    u, v = _grid(rng, size)
    n = 2 * np.pi * rng.uniform(4, 10)
    return _stretched(np.sin(n * u) * np.sin(n * v) + 0.3 * np.sin(2 * n * u))


def _dots(rng: np.random.Generator, size: int) -> Pattern:
    u, v = _grid(rng, size)
    n, radius = rng.uniform(4, 9), rng.uniform(0.2, 0.36)
    away = np.hypot((u * n + 0.5 * np.floor(v * n)) % 1 - 0.5, (v * n) % 1 - 0.5)
    return np.clip((radius - away) * 8 + 0.5, 0, 1).astype(np.float32)


def _cells(edges: bool) -> Maker:
    """Voronoi cells: as faces of different lightness, or as a net of their borders."""

    def make(rng: np.random.Generator, size: int) -> Pattern:
        points = rng.uniform(-0.1, 1.1, (int(rng.integers(16, 50)), 2))
        x, y = np.meshgrid(axis(size), axis(size))
        away = np.hypot(x[..., None] - points[:, 0], y[..., None] - points[:, 1])
        if not edges:
            return rng.random(len(points)).astype(np.float32)[away.argmin(-1)]
        first, second = np.moveaxis(np.partition(away, 1, -1)[..., :2], -1, 0)
        return np.clip((second - first) * rng.uniform(15, 30), 0, 1).astype(np.float32)

    return make


def _rings(rng: np.random.Generator, size: int) -> Pattern:
    u, v = _grid(rng, size)
    away = np.hypot(u - rng.uniform(u.min(), u.max()), v - rng.uniform(v.min(), v.max()))
    return (0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(5, 12) * away)).astype(np.float32)


TEXTURES: dict[str, Maker] = {
    "flat": lambda rng, size: _stretched(field(rng, size, 2, 2)),
    "coarse": _noise(2, 5),
    "middle": _noise(6, 12),
    "fine": _noise(14, 30),
    **{f"lines_{turn}": _noise(4, 16, turn) for turn in (0, 45, 90, 135)},
    **{f"fibres_{turn}": _noise(12, 32, turn) for turn in (0, 45, 90, 135)},
    **{f"stripes_{turn}": _stripes(turn) for turn in (0, 45, 90, 135)},
    "weave": _weave,
    "dots": _dots,
    "cells": _cells(False),
    "net": _cells(True),
    "rings": _rings,
}


def _blob(rng: np.random.Generator, size: int) -> Pattern:
    """A soft, irregular blot."""
    u, v = _grid(rng, size)
    cx, cy = (rng.uniform(np.quantile(w, 0.25), np.quantile(w, 0.75)) for w in (u, v))
    radius, stretch = rng.uniform(0.08, 0.25), rng.uniform(1, 2)
    level = 1 - np.hypot((u - cx) / radius, (v - cy) / radius / stretch) + 0.15 * field(rng, size, 7, 7)
    return blend(level.astype(np.float32), rng.uniform(0.15, 0.5))


def _disc(rng: np.random.Generator, size: int) -> Pattern:
    """A small sharp disc or a few."""
    x, y = np.meshgrid(axis(size), axis(size))
    level = np.full((size, size), -8.0)
    for _ in range(int(rng.integers(1, 4))):
        cx, cy = rng.uniform(0.15, 0.85, 2)
        level = np.maximum(level, rng.uniform(0.03, 0.09) - np.hypot(x - cx, y - cy))
    return blend(level.astype(np.float32), 0.012)


def _stroke(rng: np.random.Generator, size: int) -> Pattern:
    """A thin line of any direction, or a few, that ends somewhere."""
    cover = np.zeros((size, size), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        u, v = _grid(rng, size)
        cu, cv, half = np.median(u) + rng.normal(0, 0.15), np.median(v) + rng.normal(0, 0.15), rng.uniform(0.1, 0.4)
        away = np.hypot(u - cu, np.maximum(np.abs(v - cv) - half, 0))
        cover = np.maximum(cover, blend((rng.uniform(0.006, 0.016) - away).astype(np.float32), 0.008))
    return cover


MARKS: dict[str, Maker] = {"blob": _blob, "disc": _disc, "stroke": _stroke}
SHADES = ("darker", "lighter", "hue")

PATTERNS = tuple(sorted((*TEXTURES, *(f"{mark}_{shade}" for mark in MARKS for shade in SHADES))))
HUES = ("grey", "red", "yellow", "green", "cyan", "blue", "violet")
TINTS = tuple(sorted(f"{depth}_{hue}" for depth in ("dark", "light") for hue in HUES))
CLASSES = tuple(f"{pattern}-{tint}" for pattern in PATTERNS for tint in TINTS)
"""In the order in which folders are listed, too: tints of a pattern stand together."""


def render(seed: int, index: int, size: int = 72) -> tuple[UInt8[np.ndarray, "s s 3"], int]:
    """Image and class (index into `CLASSES`) of item `index` of the endless set `seed`; both non-negative.

    Examples:
      >>> image, label = render(seed=0, index=3, size=32)
      >>> image.shape, CLASSES[label] in CLASSES
      ((32, 32, 3), True)
    """
    rng = np.random.default_rng((seed, index))
    number, tint = index % len(PATTERNS), int(rng.integers(len(TINTS)))
    name, label = PATTERNS[number], number * len(TINTS) + tint
    contrast = rng.uniform(0.15, 1)
    if name in TEXTURES:
        pattern = TEXTURES[name](rng, size)
    else:
        pattern = list(TEXTURES.values())[int(rng.integers(len(TEXTURES)))](rng, size)
        contrast *= 0.5
    first, second = _colour(rng, TINTS[tint]), _colour(rng, TINTS[tint])
    second = first + (second - first) * contrast
    image = first + (second - first) * pattern[..., None]
    if name not in TEXTURES:
        mark, shade = name.split("_")
        cover = (MARKS[mark](rng, size) * rng.uniform(0.5, 1))[..., None]
        image = image + cover * (_shaded(rng, image, shade) - image)
    light = 1 + rng.uniform(0, 0.12) * field(rng, size, 1, 1)[..., None]
    image = image * light + rng.uniform(0, 0.03) * rng.standard_normal(image.shape)
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8), label


def gallery(count: int, size: int) -> UInt8[np.ndarray, "n s s 3"]:
    """The first images of the set of seed 0: pictures of nothing that is inspected, always the same.

    Examples:
      >>> gallery(2, 32).shape
      (2, 32, 32, 3)
    """
    return np.stack([render(0, index, size)[0] for index in range(count)])


def _colour(rng: np.random.Generator, tint: str) -> np.ndarray:
    """RGB of a tint: a sixth of the colour circle or none, dark or light; mostly dull, as materials are."""
    depth, hue = tint.split("_")[0], HUES.index(tint.split("_")[1])
    value = rng.uniform(0.5, 0.9) if depth == "light" else rng.uniform(0.15, 0.45)
    turn = np.deg2rad(60 * (hue - 1) + rng.uniform(-24, 24) - np.array((0, 120, 240)))
    return np.clip(value * (1 + (rng.uniform(0.12, 0.45) if hue else 0.0) * np.cos(turn)), 0.02, 0.98)


def _shaded(rng: np.random.Generator, image: np.ndarray, shade: str) -> np.ndarray:
    """The image under a mark."""
    if shade == "darker":
        return image * rng.uniform(0.2, 0.75)
    if shade == "lighter":
        return image + (1 - image) * rng.uniform(0.25, 0.8)
    # The same lightness, another balance of the colours.
    turned = image * np.exp(rng.choice((-1, 1), 3) * rng.uniform(0.25, 0.6, 3))
    return turned * image.mean(-1, keepdims=True) / (turned.mean(-1, keepdims=True) + 1e-6)


def write_classes(directory: str | Path, train: int, val: int, size: int = 72, seed: int = 0) -> Path:
    """Writes `train/CLASS/N.png` and `val/CLASS/N.png`, so many images in all; returns the folder."""
    from PIL import Image

    for index in range(train + val):
        image, label = render(seed, index, size)
        folder = Path(directory, "train" if index < train else "val", CLASSES[label])
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{index:06}.png", compress_level=1)
    return Path(directory)
