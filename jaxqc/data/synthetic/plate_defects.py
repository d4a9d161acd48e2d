"""Defects of a strip-steel surface: inclusions, patches and scratches with exact masks, and distractors without.

A defect is a level function f (> 0 inside): the mask is f > 0 and the blend is a smooth step over |f| < edge, which is
exactly one half on the mask's outline. So the edges are blurred and the mask is still exact. All brightness changes
are relative gains g: a surface pixel becomes v·(1 + g). The forms are modelled on SD-saliency-900; the numbers are
ours.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool

from jaxqc.data.synthetic.brushes import Field, axis, blend, field, profile, stroke


@dataclass(frozen=True)
class Drawing:
    """A defect as laid on a plate: its mask, and the relative gain of brightness that shows it."""

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
            x1 = float(np.clip(x0 + rng.normal(0, 0.6 * half), 0.04, 0.96))
            level = stroke(
                rng, size, x1, (y0 - length / 2, y0 + length / 2), half, lens=True,
                slope=rng.normal(0, 0.05), wobble=0.35 * half, ragged=0.24,
            )  # fmt: skip
            level += np.float32(0.12 * half) * rough
            mask |= level > 0
            np.maximum(alpha, blend(level, edge) * rng.uniform(0.8, 1.2), out=alpha)
            y0 += rng.choice((-1, 1)) * length * rng.uniform(0.35, 0.75)
            y0 = float(np.clip(y0, 0.05, 0.95))
    return Drawing(mask, -depth * alpha * inner)


def patch(rng: np.random.Generator, size: int, difficulty: float) -> Drawing:
    """Diffuse blotches, drawn out along the rolling direction and often in chains; one plate in ten has bright ones."""
    sign = 1 if rng.random() < 0.1 else -1
    depth = strength(rng, difficulty, 0.62, 0.34)
    edge = rng.uniform(0.14, 0.22) + 0.14 * difficulty
    y, x = axis(size)[:, None], axis(size)[None, :]
    # One warp for all blotches: bends the ellipses into the irregular shapes that rolled-in patches have.
    y = y + 0.03 * field(rng, size, 5, 5) + 0.010 * field(rng, size, 14, 14)
    x = x + 0.02 * field(rng, size, 5, 5) + 0.010 * field(rng, size, 14, 14)
    level = np.full((size, size), -8, np.float32)
    for _ in range(rng.integers(1, 5)):
        cx, cy = rng.uniform(0.08, 0.92, 2)
        for _ in range(rng.integers(1, 5)):
            rx = rng.uniform(0.05, 0.13)
            ry = rx * rng.uniform(0.9, 2.6)
            np.maximum(level, 1 - np.hypot((x - cx) / rx, (y - cy) / ry), out=level)
            cx, cy = cx + rng.normal(0, 0.07), cy + rng.choice((-1, 1)) * rng.uniform(0.1, 0.3)
    # The noise fades away from the blotches, so that it shapes their outline but makes no crumbs.
    near = np.clip(1 + level, 0, 1)
    level += near * (0.14 * field(rng, size, 12, 14) + 0.09 * field(rng, size, 26, 28))
    inner = np.clip(1 + 0.12 * field(rng, size, 8, 10), 0.6, 1.4)
    rim = 1 + 0.12 * np.exp(-(((level - 0.3) / 0.2) ** 2))
    return Drawing(level > 0, (sign * depth * (1 if sign < 0 else 0.8)) * blend(level, edge) * rim * inner)


def _scratch_strokes(rng: np.random.Generator, tilt: float) -> list[dict[str, Any]]:
    """Arguments for the strokes of one scratch: a bundle of parallel lines, a line, dashes in a row, or a fan."""
    x0 = rng.uniform(0.07, 0.93)
    kind = rng.choice(("bundle", "line", "dashes", "fan"), p=(0.34, 0.26, 0.30, 0.10))
    if kind == "bundle":
        end = rng.choice((1.2, rng.uniform(0.5, 0.9)), p=(0.75, 0.25))
        half = rng.uniform(0.018, 0.042)
        return [{"x0": x0, "span": (-0.2, end), "half": half, "slope": tilt, "ragged": 0.03, "wobble": 0.02 * half}]
    if kind == "line":
        half = rng.uniform(0.008, 0.013)
        return [{"x0": x0, "span": (-0.2, 1.2), "half": half, "slope": tilt, "ragged": 0.15, "wobble": 0.2 * half}]
    strokes = []
    if kind == "dashes":
        y0 = rng.uniform(0.0, 0.35)
        for _ in range(rng.integers(1, 5)):
            length, half = rng.uniform(0.12, 0.5), rng.uniform(0.009, 0.016)
            strokes.append({"x0": x0 + tilt * (y0 - 0.5), "span": (y0, y0 + length), "half": half, "slope": tilt,
                            "ragged": 0.35, "wobble": 0.25 * half, "lens": True})  # fmt: skip
            y0 += length + rng.uniform(0.0, 0.12)
        return strokes
    y0, spread = rng.uniform(0.0, 0.4), rng.choice((-1, 1)) * rng.uniform(0.12, 0.35)
    for turn in rng.uniform(0.4, 1.3, 3):
        slope, length = spread * turn, rng.uniform(0.35, 0.8)
        strokes.append({"x0": x0 + slope * length / 2, "span": (y0, y0 + length), "half": rng.uniform(0.009, 0.014),
                        "slope": slope, "ragged": 0.3, "wobble": 0.002, "lens": True})  # fmt: skip
    return strokes


def scratch(rng: np.random.Generator, size: int, difficulty: float) -> Drawing:
    """Thin lines, broken lines, bundles of parallel lines and fans; mostly bright, one plate in eight has dark ones."""
    bright = rng.random() >= 0.12
    height = strength(rng, difficulty, 1.1, 0.32) if bright else -strength(rng, difficulty, 0.5, 0.25)
    edge = rng.uniform(0.003, 0.006) + 0.005 * difficulty
    # Fine lines along the scratch (kept parallel by few features along it) and glints.
    comb = 0.30 * field(rng, size, 2, 120) + 0.25 * field(rng, size, 2, 50) + 0.12 * field(rng, size, 40, 60)
    fine = np.clip(0.85 + comb, 0.5, 1.7)
    mask = np.zeros((size, size), bool)
    alpha = np.zeros((size, size), np.float32)
    tilt = rng.normal(0, 0.015)
    for _ in range(rng.integers(1, 4)):
        for arguments in _scratch_strokes(rng, tilt):
            level = stroke(rng, size, **arguments)
            along = rng.uniform(0.8, 1.2) * np.clip(1 + 0.2 * profile(rng, size, 9), 0.6, 1.5)
            mask |= level > 0
            np.maximum(alpha, blend(level, edge) * along[:, None], out=alpha)
    return Drawing(mask, height * alpha * fine)


DEFECTS = (inclusion, patch, scratch)


def distractors(rng: np.random.Generator, size: int, kind: int, difficulty: float) -> Field:
    """Gain of what a plate shows without being defective: stains, faint streaks and lines, tiny specks.

    Stains and streaks resemble the defects of `kind` and stay well below their contrast; specks may be as dark or as
    bright as a defect but are only a pixel or a few wide.
    """
    share = rng.uniform(0.25, 0.35) + 0.15 * difficulty
    reach = (0.36 - 0.21 * difficulty, 0.62 - 0.28 * difficulty, 0.7 - 0.40 * difficulty)[kind] * share
    stain = blend(field(rng, size, 3, 4) - 0.9, 0.9) + 0.6 * blend(field(rng, size, 2, 12) - 1.0, 0.8)
    gain = -reach * stain
    lines = np.zeros((size, size), np.float32)
    for _ in range(rng.integers(4, 10)):
        y0, length = rng.uniform(-0.2, 0.9), rng.uniform(0.08, 0.6)
        half = rng.uniform(0.006, 0.014) if kind != 1 else rng.uniform(0.01, 0.03)
        level = stroke(rng, size, rng.uniform(0, 1), (y0, y0 + length), half, lens=kind != 2, wobble=0.004, ragged=0.3)
        np.maximum(lines, blend(level, 0.012) * rng.uniform(0.4, 1), out=lines)
    gain += (reach if kind == 2 else -reach) * lines
    grid = axis(size)
    if kind == 1:
        crust = blend(field(rng, size, 50, 40) - 1.1, 0.3)
        for _ in range(rng.integers(0, 4)):
            cy, cx = rng.uniform(0, 1, 2)
            ry, rx = rng.uniform(0.02, 0.06, 2)
            gain -= 0.7 * crust * (np.exp(-(((grid - cy) / ry) ** 2))[:, None] * np.exp(-(((grid - cx) / rx) ** 2)))
    for _ in range(rng.integers(0, 16)):
        cy, cx = rng.uniform(0, 1, 2)
        radius = max(rng.uniform(0.002, 0.006), 0.35 / size)
        peak = rng.uniform(-0.5, 0.5 if kind != 1 else 0.1)
        spot = np.exp(-(((grid - cy) / radius) ** 2) / 2)[:, None] * np.exp(-(((grid - cx) / radius) ** 2) / 2)
        gain += np.float32(peak) * spot.astype(np.float32)
    return np.maximum(gain, -0.8)
