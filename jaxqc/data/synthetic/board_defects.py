"""Defects of a board: spots of colour, holes, liquid and scratches, with exact masks.

As in `plate_defects` a defect is a level function f (> 0 inside): the mask is f > 0, and the blend is a
smooth step over |f| < edge, exactly one half on the outline, so edges are soft and the mask is still exact. A defect
turns a pixel's value v into v·keep + add, channel by channel, before light and noise fall on it. The numbers are ours.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32

from jaxqc.data.synthetic.brushes import Field, axis, blend, field, profile, stroke
from jaxqc.data.synthetic.plate_defects import strength

PAINTS = ((0.25, 0.38, 0.62), (0.62, 0.22, 0.20), (0.32, 0.52, 0.36), (0.42, 0.40, 0.46), (0.88, 0.86, 0.80))
"""Chalk, marker and mould: blue, red, green, grey and white."""


@dataclass(frozen=True)
class Drawing:
    """A defect as laid on a board: its mask, and its change of values, v·keep + add."""

    mask: Bool[np.ndarray, "s s"]
    keep: Float32[np.ndarray, "s s _"]
    add: Float32[np.ndarray, "s s 3"]


def _painted(mask: np.ndarray, cover: np.ndarray, paint: np.ndarray) -> Drawing:
    """Cover in [0, 1] by a colour [3] or [s s 3]."""
    cover = cover[..., None].astype(np.float32)
    return Drawing(mask, 1 - cover, (cover * paint).astype(np.float32))


def _absorbed(mask: np.ndarray, gain: np.ndarray) -> Drawing:
    """Relative change of brightness by channel [s s 3]."""
    return Drawing(mask, (1 + gain).astype(np.float32), np.zeros_like(gain, np.float32))


def _blots(rng: np.random.Generator, size: int, count: int, radius: tuple[float, float], stretch: float) -> Field:
    """Level function, in shares of a radius, of round blots near one another, drawn out along the grain."""
    y, x = axis(size)[:, None], axis(size)[None, :]
    y = y + 0.012 * field(rng, size, 6, 6) + 0.004 * field(rng, size, 18, 18)
    x = x + 0.010 * field(rng, size, 6, 6) + 0.004 * field(rng, size, 18, 18)
    level = np.full((size, size), -8, np.float32)
    cx, cy = rng.uniform(0.15, 0.85, 2)
    for _ in range(count):
        r = max(rng.uniform(*radius), 1.2 / size)
        np.maximum(level, 1 - np.hypot((x - cx) / r, (y - cy) / (r * stretch)), out=level)
        cx, cy = np.clip(rng.normal((cx, cy), 1.1 * r), 0.08, 0.92)
    return level


def color(rng: np.random.Generator, size: int, difficulty: float) -> Drawing:
    """A spot or smear of paint, chalk or mould through which the grain still shows."""
    cover = strength(rng, difficulty, 0.85, 0.45)
    paint = np.array(PAINTS[int(rng.integers(len(PAINTS)))], np.float32)
    level = _blots(rng, size, int(rng.integers(1, 4)), (0.03, 0.075), rng.uniform(0.6, 1.8))
    # Paint catches on the fibres.
    body = np.clip(1 + 0.14 * field(rng, size, 8, 90), 0.6, 1.25)
    return _painted(level > 0, np.clip(cover * blend(level, 0.18) * body, 0, 1), paint)


def hole(rng: np.random.Generator, size: int, difficulty: float) -> Drawing:
    """Holes bored by insects or tools: sharp, dark, without rings, one side of the rim lit; the grain runs up to it."""
    depth = np.clip(strength(rng, difficulty, 0.85, 0.50), 0, 0.95)
    count = int(rng.choice((1, 1, 2, 3)))
    level = np.full((size, size), -8, np.float32)
    rim = np.zeros((size, size), np.float32)
    y, x = axis(size)[:, None], axis(size)[None, :]
    turn = rng.uniform(0, 2 * np.pi)
    for _ in range(count):
        cx, cy = rng.uniform(0.1, 0.9, 2)
        radius = max(rng.uniform(0.016, 0.045) * (1 - 0.35 * difficulty), 1.2 / size)
        squash = rng.uniform(0.85, 1.18)
        dx, dy = (x - cx) / (radius * squash), (y - cy) * squash / radius
        distance = np.hypot(dx, dy) * (1 + 0.06 * field(rng, size, 16, 16))
        np.maximum(level, 1 - distance, out=level)
        side = (dx * np.cos(turn) + dy * np.sin(turn)) / np.maximum(distance, 0.1)
        rim += np.clip(side, 0, 1) * np.exp(-(((distance - 1.05) / 0.14) ** 2))
    inside = blend(level, 0.14)
    shade = np.clip(1 + 0.15 * level, 0.8, 1.2)
    gain = -depth * inside * shade + 0.22 * rim * (1 - inside)
    return _absorbed(level > 0, gain[..., None] * np.array((1.0, 1.02, 1.04), np.float32))


def liquid(rng: np.random.Generator, size: int, difficulty: float) -> Drawing:
    """Oil or water soaked in: the wood turns darker and warmer, most at the rim, and the grain carries it along."""
    depth = strength(rng, difficulty, 0.48, 0.20)
    level = _blots(rng, size, int(rng.integers(2, 6)), (0.05, 0.12), rng.uniform(1.1, 2.4))
    fingers = np.clip(1 + level, 0, 1) * (0.10 * field(rng, size, 4, 60) + 0.08 * field(rng, size, 10, 24))
    level = level + fingers.astype(np.float32)
    rim = 1 + 0.35 * np.exp(-(((level - 0.12) / 0.12) ** 2))
    gain = -depth * blend(level, 0.10 + 0.12 * difficulty) * rim
    return _absorbed(level > 0, gain[..., None] * np.array((0.85, 1.0, 1.2), np.float32))


def scratch(rng: np.random.Generator, size: int, difficulty: float) -> Drawing:
    """Thin lines, as often along the grain as not: bright where bare wood shows, or dark, in single lines or a few."""
    bright = rng.random() < 0.6
    height = strength(rng, difficulty, 0.60, 0.28) if bright else -strength(rng, difficulty, 0.65, 0.35)
    along = rng.random() < 0.5
    slope = rng.normal(0, 0.04) if along else rng.uniform(-0.7, 0.7)
    mask = np.zeros((size, size), bool)
    cover = np.zeros((size, size), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        start, length = rng.uniform(0.05, 0.5), rng.uniform(0.25, 0.7) * (1 - 0.3 * difficulty)
        half = rng.uniform(0.005, 0.010)
        level = stroke(
            rng, size, rng.uniform(0.15, 0.85), (start, start + length), half, lens=True,
            slope=slope + rng.normal(0, 0.03), wobble=0.004, ragged=0.2,
        )  # fmt: skip
        worn = rng.uniform(0.8, 1.2) * np.clip(1 + 0.25 * profile(rng, size, 9), 0.5, 1.5)
        mask |= level > 0
        np.maximum(cover, blend(level, 0.005) * worn[:, None], out=cover)
    if not along:
        mask, cover = mask.T, cover.T
    tint = np.array((0.9, 1.0, 1.15), np.float32)
    return _absorbed(np.ascontiguousarray(mask), np.clip(height * cover, -0.9, 1.5)[..., None] * tint)


DEFECTS: dict[str, Callable[[np.random.Generator, int, float], Drawing]] = {
    "color": color,
    "hole": hole,
    "liquid": liquid,
    "scratch": scratch,
}
