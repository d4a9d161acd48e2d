"""Procedural strip-steel plates with exact masks and classes: the embedded data of the demo and of the tests.

Modelled on what SD-saliency-900 shows: inclusions (In) are dark spindles along the rolling direction, patches (Pa)
diffuse blotches on a coarse grain, scratches (Sc) thin bright lines, along or across. Low contrast, blurred edges,
uneven light, and distractors (stains, faint streaks, specks) that look like defects and are none. Plates without a
defect have an empty mask and the label -1.

Item `index` of `seed` depends on nothing else, so any part of a set can be made again alone, and it is the same plate
at every size (only the sensor noise is drawn per pixel). Streams come from numpy's PCG64; numpy may change how its
distributions use the stream between feature releases, so pixels are promised for one numpy version only.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from jaxqc.data.dataset import ArrayDataset
from jaxqc.data.synthetic import brushes, plate_defects
from jaxqc.errors import UserError

CLASSES = ("In", "Pa", "Sc")
"""Inclusion, patch, scratch: the file prefixes of SD-saliency-900."""

FREE = "Free"
"""File prefix of plates without a defect."""

DEFECT_FREE = 0.1
"""Default share of plates without a defect."""

MIN_SIZE = 16


@dataclass(frozen=True)
class Plate:
    """One generated plate. `clean` is the same plate before its defects were laid on it, distractors included."""

    image: UInt8[np.ndarray, "s s"]
    mask: UInt8[np.ndarray, "s s"]
    label: int
    difficulty: float
    clean: UInt8[np.ndarray, "s s"]


def check_item(what: str, seed: int, index: int, size: int, difficulty: float | None) -> None:
    """Raises UserError where item `index` of `seed` cannot be drawn; `what` it is, for the message."""
    if size < MIN_SIZE:
        raise UserError(f"size: {size} is too small for a synthetic {what}; use {MIN_SIZE} pixels or more")
    if seed < 0 or index < 0:
        raise UserError(f"seed, index: {seed}, {index}; synthetic {what}s are numbered from 0 upwards")
    if difficulty is not None and not 0 <= difficulty <= 1:
        raise UserError(f"difficulty: {difficulty} is out of range; use a number from 0 (easy) to 1 (hard)")


def _label(rng: np.random.Generator, index: int, defect_free: float) -> int:
    """Class of item `index`: classes take turns, each item is free of defects with probability `defect_free`."""
    return -1 if rng.random() < defect_free else index % len(CLASSES)


def _quantise(surface: np.ndarray) -> np.ndarray:
    return np.round(np.clip(surface, 0, 1) * 255).astype(np.uint8)


def render(
    seed: int, index: int, size: int = 200, defect_free: float = DEFECT_FREE, difficulty: float | None = None
) -> Plate:
    """Draws item `index` of the endless set `seed`, with everything known about it.

    Args:
      seed, index: non-negative; together they determine the plate.
      size: side in pixels, at least 16.
      defect_free: probability that a plate has no defect (0 to 1).
      difficulty: 0 (high contrast, sharp edges) to 1 (barely visible, blurred); None draws it per plate, uniformly.

    Raises:
      UserError: an argument is out of range.

    Examples:
      >>> plate = render(seed=0, index=2, size=64, defect_free=0.0)
      >>> plate.image.shape, CLASSES[plate.label], bool(plate.mask.any())
      ((64, 64), 'Sc', True)
    """
    check_item("plate", seed, index, size, difficulty)
    if not 0 <= defect_free <= 1:
        raise UserError(f"defect_free: {defect_free} is not a share; use a number from 0 to 1")
    rng = np.random.default_rng((seed, index))
    label = _label(rng, index, defect_free)
    drawn = rng.random()
    hardness = drawn if difficulty is None else difficulty
    # A plate without a defect looks like one of a class and carries that class's distractors. Inclusions and scratches
    # share their looks now and then; patches come on coarse grain alone, as in the real set.
    kind = label if label >= 0 else index % len(CLASSES)
    swap = rng.random() < 0.2
    look = brushes.LOOKS[2 - kind if swap else kind]
    across = rng.random() < (0.3 if kind == 2 else 0.0)
    surface = brushes.surface(rng, np.random.default_rng((seed, index, 1)), size, look)
    surface *= 1 + plate_defects.distractors(rng, size, kind, hardness)
    if label < 0:
        image = clean = _quantise(surface)
        mask = np.zeros((size, size), np.uint8)
    else:
        defect = plate_defects.DEFECTS[label](rng, size, hardness)
        if defect.gain.max() > 0:  # a shorter exposure, lest a bright defect drown in white
            surface *= min(1.0, 0.5 / float(surface.mean()))
        clean, image = _quantise(surface), _quantise(surface * (1 + defect.gain))
        mask = defect.mask.astype(np.uint8)
    if across:
        image, mask, clean = (np.ascontiguousarray(a.T) for a in (image, mask, clean))
    return Plate(image, mask, label, float(hardness), clean)


def generate(
    seed: int, index: int, size: int = 200, defect_free: float = DEFECT_FREE, difficulty: float | None = None
) -> tuple[np.ndarray, np.ndarray, int]:
    """Image uint8 [size size], mask uint8 {0, 1} [size size] and label (index into `CLASSES`, -1 = no defect).

    Arguments and errors as in `render`.

    Examples:
      >>> image, mask, label = generate(seed=0, index=1, size=64, defect_free=0.0)
      >>> image.shape, CLASSES[label]
      ((64, 64), 'Pa')
    """
    plate = render(seed, index, size, defect_free, difficulty)
    return plate.image, plate.mask, plate.label


def smooth(index: int) -> int:
    """The index-th plate of those with a smooth surface: inclusions and scratches come on it, patches on coarse grain.

    Examples:
      >>> [smooth(index) for index in range(4)]
      [0, 2, 3, 5]
    """
    return 3 * (index // 2) + 2 * (index % 2)


def name(label: int, index: int) -> str:
    """Id of a plate: `In_12`, `Pa_13`, `Sc_14`, or `Free_15` for one without a defect.

    Examples:
      >>> name(0, 12), name(-1, 15)
      ('In_12', 'Free_15')
    """
    return f"{CLASSES[label] if label >= 0 else FREE}_{index}"


def synthetic_arrays(
    n: int,
    size: int = 200,
    seed: int = 0,
    defect_free: float = DEFECT_FREE,
    difficulty: float | None = None,
    start: int = 0,
) -> ArrayDataset:
    """Items start .. start+n-1 of the set `seed`, in memory: images uint8 [n size size 1], the rest as `ArrayDataset`.

    Training and test sets are disjoint when their index ranges or seeds are.

    Raises:
      UserError: n is below 1, or as in `render`.
    """
    if n < 1:
        raise UserError(f"n: {n}; a synthetic set needs at least one plate")
    images = np.empty((n, max(size, 0), max(size, 0), 1), np.uint8)
    masks = np.empty(images.shape[:3], np.uint8)
    labels = np.empty(n, np.int32)
    for i in range(n):
        images[i, ..., 0], masks[i], labels[i] = generate(seed, start + i, size, defect_free, difficulty)
    ids = tuple(name(int(label), start + i) for i, label in enumerate(labels))
    return ArrayDataset("synthetic-steel", CLASSES, ids, images, masks, labels)


def write_sd900(
    directory: str | Path,
    n: int,
    size: int = 200,
    seed: int = 0,
    defect_free: float = 0.0,
    start: int = 0,
    difficulty: float | None = None,
    finish: Literal["all", "smooth"] = "all",
) -> Path:
    """Writes n plates in the published layout of SD-saliency-900 and returns the folder.

    `Source Images/NAME.bmp` (8-bit grey) and `Ground truth/NAME.png` (8-bit grey, 0 or 255); NAME is `In_`, `Pa_` or
    `Sc_` and the item's index. Where `defect_free` is above 0, plates without a defect are called `Free_...`, a prefix
    that the real set does not have. `finish`: plates of every surface, or of the `smooth` ones alone.

    Raises:
      UserError: n is below 1, or as in `render`.
    """
    from PIL import Image

    if n < 1:
        raise UserError(f"n: {n}; a synthetic set needs at least one plate")
    generate(seed, start, size, defect_free, difficulty)  # refuses bad arguments before anything is written
    about = {"n": n, "size": size, "seed": seed, "start": start, "defect_free": defect_free, "difficulty": difficulty}
    claim(Path(directory), about if finish == "all" else {**about, "finish": finish})
    images, masks = Path(directory) / "Source Images", Path(directory) / "Ground truth"
    images.mkdir(parents=True, exist_ok=True)
    masks.mkdir(parents=True, exist_ok=True)
    for item in range(start, start + n):
        index = smooth(item) if finish == "smooth" else item
        image, mask, label = generate(seed, index, size, defect_free, difficulty)
        Image.fromarray(image).save(images / f"{name(label, index)}.bmp")
        Image.fromarray(mask * np.uint8(255)).save(masks / f"{name(label, index)}.png")
    return Path(directory)


def claim(directory: Path, about: dict[str, object]) -> None:
    """Notes in `synthetic.json` what the folder holds; refuses one that holds anything else."""
    note, text = directory / "synthetic.json", json.dumps(about) + "\n"
    if directory.is_dir() and any(directory.iterdir()):
        if not note.is_file() or note.read_text("utf-8") != text:
            raise UserError(f"{directory}: holds other files already; give an empty or a new folder")
        return
    directory.mkdir(parents=True, exist_ok=True)
    note.write_text(text, "utf-8")
