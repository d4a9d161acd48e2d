"""Measures what tiles find of tiny defects in large images: recall at 2 % false alarms, and the time of an image.

    python -m scripts.large_images --make boards --data data/holes
    python -m scripts.large_images --make sheets --source data/magnetic-tile --data data/sheets
    python -m scripts.large_images --data data/holes --out runs/large --name "holes, tiles of 512" \\
        --data.tile 512 --data.size 512 --batch 4
    python -m scripts.large_images --data data/holes --out runs/large --name "holes, whole at 512" --data.size 512

`boards` are generated boards of 2,048 pixels; the defective ones have one hole of 8 pixels. `sheets` are good magnetic
tiles on 2,048 pixels, faded into each other; in a defective one a single image has a blowhole or a crack. Images of the
fit and of the test come from other tiles. Both sets lie as MVTec AD's do, so that `jaxqc fit` and `evaluate` take them.

Any field of the recipe is a flag. The result is a line of OUT/rows.jsonl; OUT/table.md has all of them.
"""

import argparse
import csv
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from jaxqc.anomaly.detectors import Gaussian
from jaxqc.anomaly.recipe import BackboneConfig, DecisionConfig, FitConfig
from jaxqc.errors import UserError
from jaxqc.memory import use_huge_pages
from jaxqc.overrides import override

SIDE, HOLE = 2048, 8
FALSE_ALARM = 0.02
EVERYWHERE = 10_000
"""Cells round a position whose features count as its own: nothing lies still on boards and sheets."""


def with_hole(image: np.ndarray, rng: np.random.Generator, side: int = HOLE) -> tuple[np.ndarray, np.ndarray]:
    """An image with a dark round hole of so many pixels, soft by half a pixel at its rim, and its mask."""
    height, width = image.shape[:2]
    y, x = (rng.uniform(2 * side, n - 2 * side) for n in (height, width))
    rows, columns = np.mgrid[:height, :width]
    cover = np.clip(side / 2 + 0.5 - np.hypot(rows + 0.5 - y, columns + 0.5 - x), 0, 1)
    dark = image * (1 - rng.uniform(0.5, 0.8) * cover[..., None])
    return np.round(dark).astype(np.uint8), (cover >= 0.5).astype(np.uint8) * 255


def make_boards(folder: Path, fitted: int, tested: int, side: int) -> None:
    """Boards to fit, good ones to test, and as many with a hole."""
    from jaxqc.data.synthetic.boards import render

    for number in range(fitted + 2 * tested):
        image = render(7, number, side).image
        if number < fitted + tested:
            _save(folder, "train/good" if number < fitted else "test/good", number, image)
        else:
            _save(folder, "test/hole", number, *with_hole(image, np.random.default_rng((11, number))))


def make_sheets(folder: Path, source: Path, fitted: int, tested: int, side: int) -> None:
    """Sheets of good magnetic tiles to fit and to test, and as many in which one has a blowhole or a crack."""
    with open(source / "index.csv", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if int(row["height"]) >= CELL]
    groups = sorted({row["group"] for row in rows})
    ours = set(np.random.default_rng(5).permutation(groups)[: len(groups) // 3])
    good = lambda own: [row for row in rows if row["cls"] == "Free" and (row["group"] in ours) == own]
    bad = [row for row in rows if row["cls"] in ("Blowhole", "Crack") and row["group"] not in ours]
    for number in range(fitted + 2 * tested):
        rng = np.random.default_rng((13, number))
        marred = bad[(number - fitted - tested) % len(bad)] if number >= fitted + tested else None
        image, mask = _sheet(source, good(number < fitted), marred, rng, side)
        kind = "train/good" if number < fitted else "test/good" if marred is None else f"test/{marred['cls'].lower()}"
        _save(folder, kind, number, image, *(() if marred is None else (mask,)))


CELL, FADE = 256, 32
"""Rows of a sheet's strips, and the pixels over which an image passes into its neighbours."""


def _sheet(
    source: Path, good: Sequence[dict[str, str]], marred: dict[str, str] | None, rng: np.random.Generator, side: int
) -> tuple[np.ndarray, np.ndarray]:
    """Strips of images of one brightness, each faded into the next: hard joints would be the most unusual places.

    The defective image stands somewhere in one of the strips.
    """
    total, weights = np.zeros((side, side), np.float32), np.full((side, side), 1e-6, np.float32)
    mask = np.zeros((side, side), np.uint8)
    strips = -(-(side - FADE) // (CELL - FADE))
    at, turn = int(rng.integers(strips - 1)), int(rng.integers(1, 4))  # the last strip may reach beyond the sheet
    for strip in range(strips):
        left, number = -int(rng.integers(FADE, 96)), 0
        while left < side - FADE:
            own = marred if strip == at and number == turn else None
            part, marks = _part(source, own or good[int(rng.integers(len(good)))], own is not None, rng)
            weight = np.outer(_fade(CELL), _fade(part.shape[1]))
            here, there = _meet(strip * (CELL - FADE), CELL, side), _meet(left, part.shape[1], side)
            (rows, inner_rows), (columns, inner_columns) = here, there
            total[rows, columns] += (part * weight)[inner_rows, inner_columns]
            weights[rows, columns] += weight[inner_rows, inner_columns]
            mask[rows, columns] |= (marks & (weight > 0.5))[inner_rows, inner_columns].astype(np.uint8) * 255
            left, number = left + part.shape[1] - FADE, number + 1
    return np.clip(np.rint(total / weights), 0, 255).astype(np.uint8), mask


def _part(source: Path, row: dict[str, str], marred: bool, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """`CELL` rows of an image, about its defect where it has one, at a mean of 128; and its mask there."""
    whole = np.asarray(Image.open(source / row["image"]).convert("L"), np.float32)
    marks = np.zeros(whole.shape, bool)
    top = int(rng.integers(whole.shape[0] - CELL + 1))
    if marred:
        marks = np.asarray(Image.open(source / row["mask"]).convert("L")) > 128
        middle = int(np.flatnonzero(marks.any(1)).mean())
        top = int(np.clip(middle - CELL // 2, 0, whole.shape[0] - CELL))
    part = whole[top : top + CELL]
    return part - part.mean() + 128, marks[top : top + CELL]


def _fade(length: int) -> np.ndarray:
    """Weights along a side of an image: rising from 0 to 1 over `FADE` pixels at each end."""
    rise = np.sin(np.pi / 2 * (np.arange(FADE) + 0.5) / FADE) ** 2
    return np.concatenate([rise, np.ones(length - 2 * FADE), rise[::-1]]).astype(np.float32)


def _meet(start: int, length: int, side: int) -> tuple[slice, slice]:
    """The part of a sheet that a piece covers, and that part of the piece."""
    first = max(start, 0)
    last = max(first, min(start + length, side))
    return slice(first, last), slice(first - start, last - start)


def _save(folder: Path, kind: str, number: int, image: np.ndarray, mask: np.ndarray | None = None) -> None:
    (folder / kind).mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(folder / kind / f"{number:03}.png", compress_level=1)
    if mask is not None:
        place = folder / "ground_truth" / Path(kind).name
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(place / f"{number:03}_mask.png")


def recall_at(good: np.ndarray, defective: np.ndarray, false_alarm: float = FALSE_ALARM) -> float:
    """The share of defective images above the threshold that calls at most this share of the good ones.

    Examples:
      >>> recall_at(np.arange(50), np.array([10, 48, 48.5, 60]))
      0.5
    """
    most = int(false_alarm * len(good))
    return float((defective > np.sort(good)[-1 - most]).mean())


def measure(config: FitConfig, data: Path, note: Callable[[str], None]) -> dict[str, float]:
    """Fits the recipe and scores the test images: recall, AUROC, and seconds of each stage."""
    from jaxqc.anomaly.calibration import load_image, scored
    from jaxqc.anomaly.fit import fit
    from jaxqc.data.normals import is_normal
    from jaxqc.data.open import open_data

    dataset, began = open_data(data), time.monotonic()
    model = fit(config, dataset, progress=False, note=note).model
    spent, test = time.monotonic() - began, dataset.split("test")
    first = replace(test, samples=test.samples[:1])
    list(scored(model, first.samples, load_image, []))  # compiled
    began, busy, bad = time.monotonic(), time.process_time(), list[str]()
    rows = [(one.score, is_normal(one.job, test)) for one in scored(model, test.samples, load_image, bad)]
    seconds, busy = time.monotonic() - began, time.process_time() - busy
    if bad:
        raise UserError(bad[0])
    scores, normal = np.array([s for s, _ in rows]), np.array([n for _, n in rows])
    return {
        "recall": recall_at(scores[normal], scores[~normal]),
        "auroc": float(np.sign(scores[~normal][:, None] - scores[normal]).mean() / 2 + 0.5),
        "good": int(normal.sum()),
        "defective": int((~normal).sum()),
        "images_per_second": len(rows) / seconds,
        "cpu_seconds": busy / len(rows),
        "fit_seconds": spent,
    }


def table(rows: Sequence[dict[str, float | str]]) -> str:
    """The rows as a table in Markdown."""
    head = ("run", "recall at 2 % false alarms", "AUROC", "images/s", "CPU seconds an image", "fit, s")
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for row in rows:
        lines.append(
            f"| {row['name']} | {row['recall']:.2f} | {row['auroc']:.3f} | {row['images_per_second']:.2f} |"
            f" {row['cpu_seconds']:.2f} | {row['fit_seconds']:.0f} |"
        )
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Runs the command; the exit code is that of `jaxqc`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the set")
    parser.add_argument("--make", choices=("boards", "sheets"), help="make the set, and do nothing else")
    parser.add_argument("--source", type=Path, metavar="DIR", help="magnetic tiles with their index.csv, of sheets")
    parser.add_argument("--fitted", type=int, default=16, help="images to fit")
    parser.add_argument("--tested", type=int, default=50, help="good images to test, and defective ones")
    parser.add_argument("--side", type=int, default=SIDE, help="of the images, in pixels")
    parser.add_argument("--out", type=Path, default=Path("runs/large"), metavar="DIR", help="rows and table")
    parser.add_argument("--name", default="", help="of the run, in the table")
    args, rest = parser.parse_known_args(argv)
    try:
        if args.make == "boards":
            make_boards(args.data, args.fitted, args.tested, args.side)
            return 0
        if args.make:
            if args.source is None:
                raise UserError("--source: give the folder of the magnetic tiles")
            make_sheets(args.data, args.source, args.fitted, args.tested, args.side)
            return 0
        config = FitConfig(
            detector=Gaussian(channels=0, around=EVERYWHERE, sigma=2.0),
            backbone=BackboneConfig(layers=(1, 2)),
            decision=DecisionConfig(folds=1),
            pasted=0,
        )
        note = lambda line: print(line, file=sys.stderr, flush=True)
        found = measure(override(config, rest), args.data, note)
    except UserError as e:
        print(f"large_images: {' '.join(str(e).split())}", file=sys.stderr)
        return 2
    args.out.mkdir(parents=True, exist_ok=True)
    row = {"name": args.name or f"{args.data.name} {' '.join(rest)}", **found, "flags": rest}
    with open(args.out / "rows.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    rows = [json.loads(line) for line in (args.out / "rows.jsonl").read_text("utf-8").splitlines()]
    (args.out / "table.md").write_text(table(rows), "utf-8")
    print(json.dumps(row))
    return 0


if __name__ == "__main__":
    use_huge_pages()
    sys.exit(main())
