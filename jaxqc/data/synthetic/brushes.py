"""Brushes for strip-steel surfaces: smooth random fields, the rolled background, the stroke.

Geometry is drawn in units of the image's side with a number of draws that does not depend on the size, so that one
random stream gives the same plate at every size. `x` runs across the rolling direction, `y` along it.
"""

import functools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

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
    Look((0.30, 0.80), (0.14, 0.34), (0.020, 0.060), (0.040, 0.080), (0.050, 0.100), (0.070, 0.130)),
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
    light = 0.5 * field(rng, size, 1, 2) + 0.4 * field(rng, size, 2, 5) + tilt[0] * 1.2 * x + tilt[1] * 0.6 * y
    light = np.clip(1 + drift * light, 0.25, 2.2)
    texture = streak * (0.8 * field(rng, size, 2, 10) + 0.4 * field(rng, size, 3, 40) + 0.3 * field(rng, size, 4, 90))
    texture += mottle * (0.8 * field(rng, size, 5, 6) + 0.6 * field(rng, size, 18, 22))
    texture += grain * (0.7 * field(rng, size, 60, 90) + 0.7 * field(rng, size, 30, 110))
    white = pixels.standard_normal((size + 1, size + 1), np.float32)
    # Averaging 2x2 gives the slight softness of a real camera; halving instead of quartering keeps the variance.
    soft = (white[1:, 1:] + white[1:, :-1] + white[:-1, 1:] + white[:-1, :-1]) * 0.5
    return (level * light * (1 + texture) * (1 + sensor * soft)).astype(np.float32)


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
    half = max(half, 1 / size)  # never thinner than the pixel grid can show
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
    width = np.where(taper > 0.5, np.maximum(width, 0.75 / size), width)
    width -= length * (np.maximum(-u, 0) + np.maximum(u - 1, 0))  # falls off beyond the ends
    return (width[:, None] - np.abs(x[None, :] - centre[:, None])).astype(np.float32)
