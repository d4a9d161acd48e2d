"""Generated deliveries: lots of two suppliers, one of whom drifts, as images and a manifest."""

import datetime
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from jaxqc.data.normals import NORMAL
from jaxqc.data.synthetic import boards, plates
from jaxqc.data.tables.write import write_table
from jaxqc.errors import UserError

STEADY, DRIFTING = "Aldermoor", "Tamar"
"""The two suppliers."""
FIRST_DAY = datetime.datetime(2026, 9, 1, 6, 0, tzinfo=datetime.UTC)
PRODUCTS = {"steel": "strip 1.2 mm", "wood": "board 18 mm"}


def defective_share(supplier: str, lot: int, lots: int) -> float:
    """Probability that an image of a supplier's lot has a defect: 5 %, and of the one who drifts, after a third of the
    lots, ever more, up to 85 %.

    Examples:
      >>> defective_share(STEADY, lot=0, lots=6)
      0.05
    """
    if supplier == STEADY:
        return 0.05
    return 0.05 + 0.8 * max(0.0, (lot + 1) / lots - 1 / 3) * 1.5


class Delivered(NamedTuple):
    """An image of a delivery."""

    lot: str
    supplier: str
    number: int
    """Its place in its lot, from 0 on."""
    round: int
    """Number of the lot among its supplier's, from 0 on."""
    image: np.ndarray
    """uint8 [h w 3]."""


def drawn(kind: Literal["steel", "wood"], size: int, seed: int, difficulty: float | None) -> Callable[..., np.ndarray]:
    """The drawing of a delivery's images: (number, defective) → uint8 [h w 3]. Raises UserError as `render`."""
    if kind == "steel":
        # One product has one finish; on the coarse one, that of the patches, a network of a few minutes' training calls
        # grain a defect, and every lot looks bad.
        return lambda i, bad: plates.render(seed, plates.smooth(i), size, 0.0 if bad else 1.0, difficulty).image
    kinds = boards.KINDS
    return lambda i, bad: boards.render(seed, i, size, kinds[i % len(kinds)] if bad else NORMAL, difficulty).image


def delivered(
    kind: Literal["steel", "wood"],
    lots: int,
    images: int,
    size: int,
    seed: int = 0,
    difficulty: float | None = None,
    in_turns: bool = False,
    earlier: int = 0,
) -> Iterator[Delivered]:
    """The images of deliveries, lot by lot; arguments as `write_lots`.

    in_turns: the two suppliers' lots fill up side by side, an image of each in turns. earlier: number of lots that each
    has delivered before; the names go on from there.

    Raises:
      UserError: as `jaxqc.data.synthetic.plates.render`.
    """
    draw, rng, index = drawn(kind, size, seed, difficulty), np.random.default_rng((seed, 7)), 0
    for lot in range(lots):
        pairs = [(supplier, i) for supplier in (STEADY, DRIFTING) for i in range(images)]
        for supplier, i in sorted(pairs, key=lambda pair: pair[1]) if in_turns else pairs:
            bad = bool(rng.random() < defective_share(supplier, lot, lots)) if index else False
            yield Delivered(f"{supplier[0]}-{2041 + 3 * (earlier + lot)}", supplier, i, lot, draw(index, bad))
            index += 1


def write_lots(
    directory: str | Path,
    kind: Literal["steel", "wood"],
    lots: int = 6,
    images: int = 10,
    size: int = 200,
    seed: int = 0,
    difficulty: float | None = None,
) -> Path:
    """Writes the images and `manifest.csv`, and returns its path; what lay in the folder is replaced.

    Args:
      lots: of each supplier. images: of each lot. size, seed, difficulty: as `jaxqc.data.synthetic.plates.render`.

    Raises:
      UserError: no lots or images, a folder that holds anything else, or as in `render`.

    Examples:
      >>> manifest = write_lots("delivery", "steel", lots=1, images=2, size=32)
      >>> manifest.name, len(manifest.read_text().splitlines())  # a header, and two images of two suppliers
      ('manifest.csv', 5)
    """
    from PIL import Image

    if lots < 1 or images < 1:
        raise UserError(f"lots, images: {lots}, {images}; give 1 or more of both")
    drawn(kind, size, seed, difficulty)(0, False)  # refuses bad arguments before anything is written
    folder, header = Path(directory), ("image", "lot", "supplier", "product", "line", "time")
    about: dict[str, object] = {"kind": f"{kind} lots", "lots": lots, "images": images, "size": size, "seed": seed}
    plates.claim(folder, about | {"difficulty": difficulty})
    rows = []
    for one in delivered(kind, lots, images, size, seed, difficulty):
        if one.number == 0:
            shutil.rmtree(folder / one.lot, ignore_errors=True)
            (folder / one.lot).mkdir(parents=True)
        Image.fromarray(one.image).save(folder / one.lot / f"{one.number:03}.png")
        time = FIRST_DAY + datetime.timedelta(days=2 * one.round, minutes=10 * one.number)
        rows.append(
            (f"{one.lot}/{one.number:03}.png", one.lot, one.supplier, PRODUCTS[kind], f"line {1 + one.round % 2}",
             f"{time:%FT%R}")
        )  # fmt: skip
    manifest = folder / "manifest.csv"
    write_table(manifest, header, (dict(zip(header, row, strict=True)) for row in rows))
    return manifest
