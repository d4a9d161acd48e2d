"""How a strip-steel surface is drawn: smooth random fields, the rolled background, the three defects, the distractors.

Geometry is drawn in units of the image's side with a number of draws that does not depend on the size, so that one
random stream gives the same plate at every size. `x` runs across the rolling direction, `y` along it.

A defect is a level function f (> 0 inside): the mask is f > 0 and the blend is a smooth step over |f| < edge, which is
exactly one half on the mask's outline. So the edges are blurred and the mask is still exact. All brightness changes
are relative gains g: a surface pixel becomes v·(1 + g).
"""

import functools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32
from scipy import ndimage

Field = Float32[np.ndarray, "s s"]
Profile = Float32[np.ndarray, " s"]


@functools.lru_cache(maxsize=256)
def _basis(knots: int, size: int) -> np.ndarray:
    """Uniform cubic B-splines [size knots+3] at the pixel centres; rows of unit norm keep a field's variance at 1."""
    x = (np.arange(size) + 0.5) / size * knots
    i = np.minimum(x.astype(np.int64), knots - 1)
    f = x - i
    weights = ((1 - f) ** 3, 3 * f**3 - 6 * f**2 + 4, -3 * f**3 + 3 * f**2 + 3 * f + 1, f**3)
    basis = np.zeros((size, knots + 3))
    for j, w in enumerate(weights):
        basis[np.arange(size), i + j] = w
    return (basis / np.linalg.norm(basis, axis=1, keepdims=True)).astype(np.float32)


def field(rng: np.random.Generator, size: int, along: int, across: int) -> Field:
    """Smooth Gaussian noise of zero mean and unit variance with `along` x `across` features over the image."""
    grid = rng.standard_normal((along + 3, across + 3), np.float32)
    return (_basis(along, size) @ grid) @ _basis(across, size).T


def profile(rng: np.random.Generator, size: int, knots: int) -> Profile:
    """As `field`, in one dimension."""
    return _basis(knots, size) @ rng.standard_normal(knots + 3, np.float32)


def axis(size: int) -> Profile:
    """Pixel centres in units of the side."""
    return ((np.arange(size) + 0.5) / size).astype(np.float32)


def blend(level: Field, edge: float) -> Field:
    """Smooth step of the level function from 0 at -edge to 1 at +edge; one half where the level is 0."""
    a = np.clip(level * (0.5 / edge) + 0.5, 0, 1)
    return a * a * (3 - 2 * a)


@dataclass(frozen=True)
class Look:
    """Ranges that make one kind of plate, relative to its brightness but for `level` itself (share of white)."""

    level: tuple[float, float]
    drift: tuple[float, float]
    streak: tuple[float, float]
    mottle: tuple[float, float]
    grain: tuple[float, float]
    sensor: tuple[float, float]


LOOKS = (
    Look((0.25, 0.52), (0.05, 0.18), (0.015, 0.045), (0.010, 0.030), (0.010, 0.022), (0.015, 0.030)),
    Look((0.25, 0.72), (0.08, 0.22), (0.020, 0.060), (0.040, 0.090), (0.060, 0.110), (0.060, 0.120)),
    Look((0.18, 0.52), (0.05, 0.18), (0.020, 0.060), (0.010, 0.035), (0.006, 0.018), (0.015, 0.030)),
)
"""Typical plates that carry inclusions, patches and scratches: plain, coarse-grained, smooth and dark."""


def surface(rng: np.random.Generator, pixels: np.random.Generator, size: int, look: Look) -> Field:
    """A plate without anything on it, as share of white (not clipped): lighting x rolled texture x grain.

    `pixels` draws the sensor noise, the one thing that is drawn per pixel.
    """
    level, drift, streak, mottle, grain, sensor = (
        rng.uniform(*r) for r in (look.level, look.drift, look.streak, look.mottle, look.grain, look.sensor)
    )
    y, x = axis(size)[:, None] - 0.5, axis(size)[None, :] - 0.5
    tilt = rng.normal(0, 1, 2)
    light = 1 + drift * (field(rng, size, 1, 2) * 0.6 + tilt[0] * x * 1.2 + tilt[1] * y * 0.6)
    texture = streak * (0.7 * field(rng, size, 2, 14) + 0.6 * field(rng, size, 3, 50) + 0.4 * field(rng, size, 9, 90))
    texture += mottle * (0.7 * field(rng, size, 6, 8) + 0.7 * field(rng, size, 22, 26))
    texture += grain * (0.7 * field(rng, size, 60, 90) + 0.7 * field(rng, size, 30, 110))
    white = pixels.standard_normal((size + 1, size + 1), np.float32)
    # Averaging 2x2 gives the slight softness of a real camera; halving instead of quartering keeps the variance.
    soft = (white[1:, 1:] + white[1:, :-1] + white[:-1, 1:] + white[:-1, :-1]) * 0.5
    return (level * np.clip(light, 0.25, 2.2) * (1 + texture) * (1 + sensor * soft)).astype(np.float32)


def stroke(
    rng: np.random.Generator,
    size: int,
    x0: float,
    span: tuple[float, float],
    half: float,
    *,
    lens: bool = False,
    slope: float = 0.0,
    wobble: float = 0.0,
    ragged: float = 0.0,
) -> Field:
    """Level function (units of the side) of a streak along y over `span`, of half width `half` around x0.

    `lens` tapers it like a spindle or a tadpole, otherwise only its two ends are rounded. `wobble` bends the centre
    line (units of the side), `ragged` varies the width (relative).
    """
    y, x = axis(size), axis(size)
    half = max(half, 0.75 / size)  # never thinner than the pixel grid can show
    start, stop = span
    length = max(stop - start, 2.5 / size)
    u = (y - start) / length
    skew = rng.uniform(0.6, 1.7)
    centre = x0 + slope * (y - 0.5 * (start + stop)) + wobble * profile(rng, size, 5)
    inside = np.clip(u, 0, 1)
    if lens:
        taper = np.maximum(np.sin(np.pi * inside**skew), 0) ** 0.7  # rounding takes sin(pi) below 0
    else:
        taper = np.sqrt(np.minimum(1, 14 * np.minimum(inside, 1 - inside)))
    width = half * taper * np.clip(1 + ragged * profile(rng, size, 16), 0.35, 1.8)
    width -= length * (np.maximum(-u, 0) + np.maximum(u - 1, 0))  # falls off beyond the ends
    return (width[:, None] - np.abs(x[None, :] - centre[:, None])).astype(np.float32)


@dataclass(frozen=True)
class Drawing:
    """What is laid on a plate: the mask of the defect and the relative gain of brightness that shows it."""

    mask: Bool[np.ndarray, "s s"]
    gain: Field


def strength(rng: np.random.Generator, difficulty: float, easy: float, hard: float) -> float:
    """A contrast between `easy` (difficulty 0) and `hard` (difficulty 1), spread by 15 % either way."""
    return (easy + (hard - easy) * difficulty) * rng.uniform(0.85, 1.15)


def inclusion(rng: np.random.Generator, size: int, difficulty: float) -> Drawing:
    """Dark spindles along the rolling direction, single or in chains, some merging into a wide streak."""
    depth = strength(rng, difficulty, 0.36, 0.15)
    edge = rng.uniform(0.004, 0.008) + 0.007 * difficulty * rng.random()
    rough = field(rng, size, 30, 45)
    inner = np.clip(1 + 0.18 * field(rng, size, 8, 20), 0.55, 1.5)
    mask = np.zeros((size, size), bool)
    alpha = np.zeros((size, size), np.float32)
    for _ in range(rng.integers(1, 4)):
        x0, y0 = rng.uniform(0.08, 0.92, 2)
        wide = rng.random() < 0.4
        for _ in range(rng.integers(1, 5)):
            half = rng.uniform(0.02, 0.045) if wide else rng.uniform(0.009, 0.018)
            length = half * rng.uniform(9, 22) if wide else half * rng.uniform(10, 26)
            level = stroke(
                rng, size, x0 + rng.normal(0, 0.6 * half), (y0 - length / 2, y0 + length / 2), half,
                lens=True, slope=rng.normal(0, 0.05), wobble=0.35 * half, ragged=0.3,
            )  # fmt: skip
            level += np.float32(0.12 * half) * rough
            mask |= level > 0
            np.maximum(alpha, blend(level, edge) * rng.uniform(0.8, 1.2), out=alpha)
            y0 += rng.choice((-1, 1)) * length * rng.uniform(0.35, 0.75)
            y0 = float(np.clip(y0, 0.05, 0.95))
    return Drawing(mask, -depth * alpha * inner)


def patch(rng: np.random.Generator, size: int, difficulty: float) -> Drawing:
    """Blotches of a few per cent to two fifths of the plate, with diffuse outlines; one in ten is bright."""
    sign = 1 if rng.random() < 0.1 else -1
    depth = strength(rng, difficulty, 0.62, 0.30)
    edge = rng.uniform(0.06, 0.12) + 0.12 * difficulty
    y, x = axis(size)[:, None], axis(size)[None, :]
    level = np.full((size, size), -4, np.float32)
    for _ in range(rng.integers(1, 4)):
        cx, cy = rng.uniform(0.05, 0.95, 2)
        for _ in range(rng.integers(1, 4)):
            rx, ry = rng.uniform(0.07, 0.17), rng.uniform(0.09, 0.3)
            np.maximum(level, 1 - np.hypot((x - cx) / rx, (y - cy) / ry), out=level)
            cx, cy = cx + rng.normal(0, 0.1), cy + rng.normal(0, 0.2)
    level += 0.16 * field(rng, size, 6, 8) + 0.09 * field(rng, size, 16, 18) + 0.03 * field(rng, size, 36, 36)
    share = rng.uniform(0.06, 0.36)
    k = int((1 - share) * level.size)
    level -= np.partition(level.ravel(), k)[k]
    pieces, count = ndimage.label(level > 0, np.ones((3, 3)))
    areas = np.bincount(pieces.ravel(), minlength=count + 1)
    # Crumbs that the noise cut off are pushed below the outline, so that they are neither marked nor fully dark.
    crumbs = (areas < max(0.002 * level.size, 0.1 * areas[1:].max()))[pieces] & (pieces > 0)
    level[crumbs] = -np.abs(level[crumbs])
    rim = 1 + 0.18 * np.exp(-(((level - 0.2) / 0.12) ** 2))
    inner = np.clip(1 + 0.1 * field(rng, size, 10, 14), 0.6, 1.4)
    return Drawing(level > 0, (sign * depth * (1 if sign < 0 else 0.8)) * blend(level, edge) * rim * inner)


def scratch(rng: np.random.Generator, size: int, difficulty: float) -> Drawing:
    """Thin lines, broken lines, bundles of parallel lines and fans; mostly bright, one plate in seven has dark ones."""
    sign = -1 if rng.random() < 0.15 else 1
    height = strength(rng, difficulty, 0.95, 0.30) if sign > 0 else strength(rng, difficulty, 0.5, 0.25)
    edge = rng.uniform(0.003, 0.006) + 0.004 * difficulty
    fine = np.clip(0.85 + 0.3 * field(rng, size, 4, 110) + 0.12 * field(rng, size, 30, 60), 0.5, 1.5)
    mask = np.zeros((size, size), bool)
    alpha = np.zeros((size, size), np.float32)
    tilt = rng.normal(0, 0.015)
    for _ in range(rng.integers(1, 4)):
        x0 = rng.uniform(0.07, 0.93)
        kind = rng.choice(("bundle", "line", "dashes", "fan"), p=(0.34, 0.26, 0.28, 0.12))
        strokes: list[tuple[float, tuple[float, float], float, float]] = []
        if kind == "bundle":
            end = rng.choice((1.2, rng.uniform(0.5, 0.9)))
            strokes = [(x0, (-0.2, end), rng.uniform(0.018, 0.042), tilt)]
        elif kind == "line":
            strokes = [(x0, (-0.2, 1.2), rng.uniform(0.008, 0.014), tilt)]
        elif kind == "dashes":
            y0 = rng.uniform(0.0, 0.35)
            for _ in range(rng.integers(1, 4)):
                length = rng.uniform(0.12, 0.4)
                strokes.append((x0 + tilt * (y0 - 0.5), (y0, y0 + length), rng.uniform(0.008, 0.014), tilt))
                y0 += length + rng.uniform(0.02, 0.1)
        else:
            y0, length, spread = rng.uniform(-0.1, 0.5), rng.uniform(0.35, 0.7), rng.choice((-1, 1)) * rng.uniform(0.2, 0.4)
            for turn in rng.uniform(0.3, 1.2, 3):
                slope = spread * turn
                strokes.append((x0 + slope * length / 2, (y0, y0 + length), rng.uniform(0.008, 0.012), slope))
        for cx, span, half, slope in strokes:
            level = stroke(rng, size, cx, span, half, slope=slope, wobble=0.12 * half, ragged=0.12)
            mask |= level > 0
            np.maximum(alpha, blend(level, edge) * rng.uniform(0.75, 1.2), out=alpha)
    return Drawing(mask, sign * height * alpha * fine)


DEFECTS = (inclusion, patch, scratch)


def distractors(rng: np.random.Generator, size: int, kind: int, difficulty: float) -> Field:
    """Gain of what a plate shows without being defective: stains, faint streaks and lines, tiny specks.

    Stains and streaks resemble the defects of `kind` and stay well below their contrast; specks may be as dark or as
    bright as a defect but are only a pixel or a few wide.
    """
    share = rng.uniform(0.2, 0.3) + 0.15 * difficulty
    reach = (0.36 - 0.21 * difficulty, 0.62 - 0.32 * difficulty, 0.5 - 0.25 * difficulty)[kind] * share
    stain = blend(field(rng, size, 3, 4) - 0.9, 0.9) + 0.6 * blend(field(rng, size, 2, 12) - 1.0, 0.8)
    gain = -reach * stain
    lines = np.zeros((size, size), np.float32)
    for _ in range(rng.integers(3, 9)):
        y0, length = rng.uniform(-0.2, 0.9), rng.uniform(0.08, 0.6)
        half = rng.uniform(0.006, 0.014) if kind != 1 else rng.uniform(0.01, 0.03)
        level = stroke(rng, size, rng.uniform(0, 1), (y0, y0 + length), half, lens=kind != 2, wobble=0.004, ragged=0.3)
        np.maximum(lines, blend(level, 0.012) * rng.uniform(0.4, 1), out=lines)
    gain += (reach if kind == 2 else -reach) * lines
    grid = axis(size)
    for _ in range(rng.integers(0, 16)):
        cy, cx = rng.uniform(0, 1, 2)
        radius = max(rng.uniform(0.002, 0.006), 0.35 / size)
        peak = rng.uniform(-0.5, 0.5 if kind != 1 else 0.1)
        spot = np.exp(-(((grid - cy) / radius) ** 2) / 2)[:, None] * np.exp(-(((grid - cx) / radius) ** 2) / 2)
        gain += np.float32(peak) * spot.astype(np.float32)
    return np.maximum(gain, -0.8)
