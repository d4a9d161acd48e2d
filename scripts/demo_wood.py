"""The demo on boards: two detectors learn what normal wood looks like, and find what is not; about a minute.

make demo          (or: python scripts/demo_wood.py --out demo)
"""

import argparse
import os
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path

# Boards are made by many tiny matrix products, which a thread pool slows down tenfold. Read when numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from jaxqc.anomaly.model import AnomalyModel
from jaxqc.anomaly.recipe import FitConfig
from jaxqc.api import evaluate, fit
from jaxqc.config import load_config
from jaxqc.data.normals import NORMAL
from jaxqc.data.resizing import sides
from jaxqc.data.synthetic.boards import KINDS, render, write_mvtec
from jaxqc.errors import UserError
from jaxqc.memory import use_huge_pages
from jaxqc.overrides import override
from jaxqc.pictures.figures import Row, result_figure

BEGAN = time.monotonic()
RECIPE, BESIDE = "wood_synthetic", "gaussian_wood_synthetic"
BOARDS, DRAWN = 10, 11
"""Seeds: no board of one occurs in the other."""
GOAL = 0.9
FOLDS, PASTED, CORESET = 3, 120, 0.01
"""Parts of the good boards that are held out in turn, each of which costs a fit; pasted defects; share of patches that
are kept. Enough to see what a fit promises, in a minute."""
DIFFICULTY = 0.35
"""Difficulty of all defects: low contrast, without the extremes that hide in the grain; as in the demo on steel."""


def main() -> int:
    """Runs the demo; 0 when the goal is reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("demo"))
    parser.add_argument("--normals", type=int, default=210, help="normal boards to learn from and to calibrate on")
    parser.add_argument("--unseen", type=int, default=120, help="boards to measure on, half of them with a defect")
    args, flags = parser.parse_known_args()

    try:
        recipe = load_config(RECIPE, FitConfig)
        detector = replace(recipe.detector, coreset=CORESET)
        recipe = replace(recipe, detector=detector, decision=replace(recipe.decision, folds=FOLDS), pasted=PASTED)
        config = override(recipe, flags)
        boards = args.out / "boards"
        shutil.rmtree(boards, ignore_errors=True)
        say(f"generating {args.normals} normal boards, and {args.unseen} to measure on")
        half = args.unseen // 2
        write_mvtec(boards, args.normals, half, sides(config.data.size)[0], BOARDS, args.unseen - half, DIFFICULTY)
        # Beside it for its table and its maps alone: held out once, and kept in no folder.
        once = replace(config.decision, folds=1)
        beside = replace(config, detector=load_config(BESIDE, FitConfig).detector, decision=once)
        gaussian, _ = learn(beside, boards, None)
        model, reached = learn(config, boards, args.out / "wood")
        draw(gaussian, model, args.out / "wood.png")
    except UserError as e:
        print(f"demo: {e}", file=sys.stderr)
        return 2

    print(f"image AUROC {reached:.4f} on unseen boards (goal {GOAL}); {time.monotonic() - BEGAN:.0f} s in all")
    pictures = args.out / "wood" / "evaluation"
    print(f"pictures: {args.out / 'wood.png'}, {pictures / 'cases.png'}, {pictures / 'worst.png'}")
    print(f"next: jaxqc predict --checkpoint {args.out / 'wood'} --images {boards / 'test'} --out maps")
    return 0 if reached >= GOAL else 1


def learn(config: FitConfig, boards: Path, run: Path | None) -> tuple[AnomalyModel, float]:
    """A fit, measured on boards that it has not seen: the model and its image AUROC.

    run: its folder, which also keeps how many of the defective boards are called, and of the good ones: inspections
    count by it. None keeps the model in memory.
    """
    say(f"fitting {config.name}, features of {config.backbone.name} ({config.backbone.weights or 'its own'})")
    if run is not None:
        shutil.rmtree(run, ignore_errors=True)
    model = fit(config, boards, run, progress=False, note=say).model
    say(f"measuring {config.name} on boards that it has not seen")
    result = evaluate(model, boards, run and run / "evaluation", run=run, progress=False)
    result.print()
    for line in result.misses.lines:
        say(line)
    return model, float(result.metrics["image_auroc"])


def draw(gaussian: AnomalyModel, model: AnomalyModel, path: Path) -> None:
    """The first unseen boards of their seed: one of each kind, one more of the hardest, and two without a defect."""
    kinds = (*KINDS, "scratch", NORMAL, NORMAL)
    boards = [render(DRAWN, i, sides(model.size)[0], kind, DIFFICULTY) for i, kind in enumerate(kinds)]
    images = [board.image for board in boards]
    rows = []
    for board, beside, found in zip(boards, gaussian.inspect(images), model.inspect(images), strict=True):
        maps = {"Map of gaussian": beside.map}
        row = Row(board.kind, board.image, found.map, board.mask, maps, board.kind, "", found.defective, found.mask)
        rows.append(row)
    result_figure(rows, path, scale="distance / (2 threshold)")


def say(text: str) -> None:
    """A line of progress, with the seconds since the start."""
    print(f"demo: {time.monotonic() - BEGAN:3.0f} s  {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    use_huge_pages()
    sys.exit(main())
