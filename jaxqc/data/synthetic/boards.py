"""Procedural wooden boards, normal or with one kind of defect, with exact masks: data for detectors of normals only.

Modelled on sawn softwood: growth rings along y with late wood darker than early wood, rings that flow round knots, fine
fibres and pores, uneven light, sensor noise. All of that is normal. Defects (`board_defects`) are spots of
colour, holes, liquid and scratches, named as in the wood of MVTec AD. A knot can be as dark as a hole, light drifts
by more than a faint stain changes it, and half of the scratches run along the grain.

Board `index` of `seed` depends on nothing else, so any part of a set can be made again alone, and it is the same board
at every size (only the sensor noise is drawn per pixel); with a defect it is that very board with the defect laid on.
Pixels are promised for one version of numpy only, as in `jaxqc.data.synthetic.plates`.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from jaxqc.data.normals import NORMAL
from jaxqc.data.synthetic import board_defects
from jaxqc.data.synthetic.brushes import axis, blend, field
from jaxqc.data.synthetic.plates import check_item, claim
from jaxqc.errors import UserError, suggest

KINDS = tuple(board_defects.DEFECTS)
"""color, hole, liquid, scratch: folder names of MVTec AD's wood."""

Colour = Float32[np.ndarray, "s s 3"]


@dataclass(frozen=True)
class Board:
    """One generated board. `kind`: one of `KINDS` or `good`. `clean` is the same board without its defect."""

    image: UInt8[np.ndarray, "s s 3"]
    mask: UInt8[np.ndarray, "s s"]
    kind: str
    difficulty: float
    clean: UInt8[np.ndarray, "s s 3"]


def render(seed: int, index: int, size: int = 200, kind: str = NORMAL, difficulty: float | None = None) -> Board:
    """Draws board `index` of the endless set `seed`.

    Args:
      seed, index: non-negative; together they determine the board, and with `kind` the defect.
      size: side in pixels, at least 16.
      kind: what lies on it: one of `KINDS`, or `good` for nothing.
      difficulty: of the defect: 0 (high contrast, large) to 1 (barely visible); None draws it, uniformly.

    Raises:
      UserError: an argument is out of range.

    Examples:
      >>> board = render(seed=0, index=0, size=64, kind="hole")
      >>> board.image.shape, bool(board.mask.any())
      ((64, 64, 3), True)
    """
    check_item("board", seed, index, size, difficulty)
    if kind not in (*KINDS, NORMAL):
        raise UserError(f"kind: {kind!r} is not of these boards{suggest(kind, (*KINDS, NORMAL))}")
    surface = _wood(np.random.default_rng((seed, index)), size)
    light = _light(np.random.default_rng((seed, index, 1)), np.random.default_rng((seed, index, 2)), size)
    clean = _quantise(surface * light)
    if kind == NORMAL:
        return Board(clean, np.zeros((size, size), np.uint8), NORMAL, 0.0, clean)
    rng = np.random.default_rng((seed, index, 3 + KINDS.index(kind)))
    drawn = float(rng.random())
    hardness = drawn if difficulty is None else float(difficulty)
    defect = board_defects.DEFECTS[kind](rng, size, hardness)
    image = _quantise((surface * defect.keep + defect.add) * light)
    return Board(image, defect.mask.astype(np.uint8), kind, hardness, clean)


def _quantise(surface: Colour) -> UInt8[np.ndarray, "s s 3"]:
    return np.round(np.clip(surface, 0, 1) * 255).astype(np.uint8)


def _wood(rng: np.random.Generator, size: int) -> Colour:
    """Rings, knots and fibres in even light, as shares of white."""
    x = np.broadcast_to(axis(size)[None, :], (size, size))
    y = axis(size)[:, None]
    knots = _knots(rng)
    across = x + 0.035 * field(rng, size, 2, 2) + 0.006 * field(rng, size, 4, 7)
    across = across + rng.normal(0, 0.35) * (y - rng.uniform(0.2, 0.8)) ** 2 * (x - 0.5)
    for cx, cy, radius, _ in knots:  # rings part before a knot and close behind it
        dx, dy = x - cx, y - cy
        across = across - 0.9 * dx * np.exp(-0.5 * ((dx / (1.6 * radius)) ** 2 + (dy / (2.6 * radius)) ** 2))
    count = int(rng.integers(9, 17))
    phase = across * count + rng.random()
    ring = phase - np.floor(phase)
    late = ring**2.2 * np.clip((1 - ring) / 0.14, 0, 1) * np.clip(0.8 + 0.25 * field(rng, size, 2, 14), 0.3, 1.3)

    early = np.array((0.80, 0.63, 0.44), np.float32) * rng.uniform(0.88, 1.06) * (1 + rng.normal(0, 0.015, 3))
    dark = early * np.array((0.80, 0.72, 0.62), np.float32) ** rng.uniform(0.7, 1.25)
    surface = early + (dark - early) * late[..., None]
    fibre = rng.uniform(0.018, 0.034) * (field(rng, size, 5, 120) + 0.7 * field(rng, size, 16, 190))
    pores = rng.uniform(0.06, 0.16) * blend(field(rng, size, 26, 170) - 2.0, 0.5)
    wander = 0.025 * field(rng, size, 2, 6)
    surface = surface * (1 + fibre + wander - pores)[..., None]
    tint = np.array((0.0, -0.4, -1.0), np.float32) * np.float32(0.02)
    surface = surface * (1 + tint * field(rng, size, 3, 4)[..., None])
    rough = field(rng, size, 22, 22)
    for cx, cy, radius, depth in knots:
        surface = _with_knot(surface, np.hypot(x - cx, (y - cy) / 1.2) / radius, depth, rough)
    return surface.astype(np.float32)


def _knots(rng: np.random.Generator) -> list[tuple[float, float, float, float]]:
    """Centre, radius and darkness of up to five knots; pin knots are the most usual."""
    draws = rng.random((5, 4))
    count = int(rng.choice(6, p=(0.36, 0.32, 0.18, 0.08, 0.04, 0.02)))
    return [(float(a), float(b), 0.012 + 0.036 * float(c) ** 2, 0.15 + 0.45 * float(d)) for a, b, c, d in draws[:count]]


def _with_knot(surface: np.ndarray, distance: np.ndarray, depth: float, rough: np.ndarray) -> np.ndarray:
    """A knot: rings of its own, darkest at rim and heart, a soft brown halo that fades into the grain."""
    distance = distance * (1 + 0.08 * rough)
    inside = blend(1 - distance, 0.3)
    rings = 0.75 + 0.15 * np.sin(14 * distance) + 0.25 * np.exp(-((distance / 0.3) ** 2))
    halo = 0.25 * np.exp(-((np.maximum(distance - 0.8, 0) / 0.7) ** 2)) * (1 - inside)
    absorbed = np.array((0.85, 1.05, 1.2), np.float32) * (depth * (inside * rings + halo))[..., None]
    return surface * np.clip(1 - absorbed, 0.08, 1)


def _light(rng: np.random.Generator, pixels: np.random.Generator, size: int) -> Colour:
    """Uneven light and sensor noise, around one."""
    y, x = axis(size)[:, None] - 0.5, axis(size)[None, :] - 0.5
    tilt = rng.normal(0, 0.05, 2)
    light = rng.uniform(0.93, 1.05) * (1 + 0.03 * field(rng, size, 1, 1) + tilt[0] * x + tilt[1] * y)
    noise = rng.uniform(0.008, 0.018) * pixels.standard_normal((size, size, 3), np.float32)
    return (np.clip(light, 0.6, 1.4)[..., None] * (1 + noise)).astype(np.float32)


def write_mvtec(
    directory: str | Path,
    normals: int,
    defects: int,
    size: int = 200,
    seed: int = 0,
    test_normals: int = 0,
    difficulty: float | None = None,
) -> Path:
    """Writes boards in the layout of MVTec AD and returns the folder.

    `train/good` gets `normals` boards; `test/good` gets `test_normals` (0: as many as there are defects), `test/KIND`
    the `defects`, kinds in turn, with masks `ground_truth/KIND/NNN_mask.png`. No board occurs twice.

    Raises:
      UserError: no normal boards, a negative count, a folder that holds anything else, or as in `render`.

    Examples:
      >>> folder = write_mvtec("wood", normals=2, defects=1, size=32)
      >>> sorted(path.name for path in folder.iterdir())
      ['ground_truth', 'synthetic.json', 'test', 'train']
    """
    from PIL import Image

    test_normals = test_normals or defects
    if normals < 1 or defects < 0 or test_normals < 0:
        raise UserError(f"normals, defects: {normals}, {defects}; a set needs at least one normal board to learn from")
    render(seed, 0, size, difficulty=difficulty)  # refuses bad arguments before anything is written
    about = {"kind": "wood", "normals": normals, "defects": defects, "size": size, "seed": seed}
    claim(Path(directory), {**about, "test_normals": test_normals, "difficulty": difficulty})
    plan = [("train", NORMAL, i) for i in range(normals)] + [("test", NORMAL, i) for i in range(test_normals)]
    plan += [("test", KINDS[i % len(KINDS)], i // len(KINDS)) for i in range(defects)]
    for index, (split, kind, number) in enumerate(plan):
        board = render(seed, index, size, kind, difficulty)
        folder = Path(directory, split, kind)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(board.image).save(folder / f"{number:03}.png")
        if kind != NORMAL:
            masks = Path(directory, "ground_truth", kind)
            masks.mkdir(parents=True, exist_ok=True)
            Image.fromarray(board.mask * np.uint8(255)).save(masks / f"{number:03}_mask.png")
    return Path(directory)
