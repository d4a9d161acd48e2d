"""The second demo: a detector learns what normal boards look like, and finds what is not; a minute, no training.

python scripts/demo_wood.py --out demo
"""

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

# Boards are made by many tiny matrix products, which a thread pool slows down tenfold. Read when numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from jaxqc.anomaly.model import AnomalyModel
from jaxqc.anomaly.recipe import FitConfig
from jaxqc.api import evaluate_detector, fit
from jaxqc.config import load_config
from jaxqc.data.normals import NORMAL
from jaxqc.data.wood import KINDS, render, write_mvtec
from jaxqc.errors import UserError
from jaxqc.overrides import override
from jaxqc.pictures.figures import Row, result_figure

RECIPE = Path(__file__).resolve().parents[1] / "configs" / "gaussian_synthetic.py"
BOARDS, DRAWN = 0, 1
"""Seeds: no board of one occurs in the other."""
GOAL = 0.85


def main() -> int:
    """Runs the demo; 0 when the goal is reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("demo"))
    parser.add_argument("--normals", type=int, default=200, help="normal boards to learn from and to calibrate on")
    parser.add_argument("--unseen", type=int, default=120, help="boards to measure on, half of them with a defect")
    args, flags = parser.parse_known_args()
    began = time.monotonic()

    try:
        config = override(load_config(RECIPE, FitConfig), flags)
        boards, run = args.out / "boards", args.out / "wood"
        for folder in (boards, run):
            shutil.rmtree(folder, ignore_errors=True)
        say(f"generating {args.normals} normal boards, and {args.unseen} to measure on")
        half = args.unseen // 2
        write_mvtec(boards, args.normals, half, config.data.size, BOARDS, args.unseen - half)
        say(f"fitting {config.method}, features of {config.backbone.name} ({config.backbone.weights or 'its own'})")
        fitted = fit(config, boards, run, progress=False, note=say)
        say("measuring on boards that it has not seen")
        result = evaluate_detector(fitted.model, boards, run / "evaluation", progress=False)
        draw(fitted.model, args.out / "wood.png")
    except UserError as e:
        print(f"demo: {e}", file=sys.stderr)
        return 2

    result.print()
    reached = result.metrics["image_auroc"]
    print(f"image AUROC {reached:.4f} on unseen boards (goal {GOAL}); {time.monotonic() - began:.0f} s in all")
    print(f"pictures: {args.out / 'wood.png'}, {run / 'evaluation' / 'cases.png'}, {run / 'evaluation' / 'worst.png'}")
    print(f"next: jaxqc evaluate --checkpoint {run} --data {boards}")
    return 0 if reached >= GOAL else 1


def draw(model: AnomalyModel, path: Path) -> None:
    """The first unseen boards of their seed: one of each kind, one more of the hardest, and two without a defect."""
    kinds = (*KINDS, "scratch", NORMAL, NORMAL)
    boards = [render(DRAWN, i, 2 * model.size, kind) for i, kind in enumerate(kinds)]
    rows = []
    for board, found in zip(boards, model.inspect([board.image for board in boards]), strict=True):
        verdict = "defect" if found.defective else NORMAL
        label = NORMAL if board.kind == NORMAL else "defect"
        rows.append(
            Row(board.kind, board.image, found.map, board.mask, label=label, predicted=verdict, found=found.mask)
        )
    result_figure(rows, path, scale="distance / (2 threshold)")


def say(text: str) -> None:
    """A line of progress."""
    print(f"demo: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
