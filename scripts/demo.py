"""The demo: TSCARNet learns procedural strip steel in minutes, is measured on unseen plates, and draws what it sees.

make demo          (or: python scripts/demo.py --out demo)
"""

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

# Plates are made by many tiny matrix products, which a thread pool slows down tenfold. Read when numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

import jaxqc
from jaxqc.api import evaluate
from jaxqc.config import load_config
from jaxqc.data.synthetic.plates import CLASSES, render, synthetic_arrays, write_sd900
from jaxqc.errors import UserError
from jaxqc.memory import use_huge_pages
from jaxqc.overrides import override
from jaxqc.pictures.figures import Row, result_figure, training_curve
from jaxqc.saliency.model import Model

BEGAN = time.monotonic()
RECIPE = "tscarnet_synthetic"
TRAIN, VAL, TEST, DRAWN, LABELLED = 0, 1, 2, 3, 4
"""Seeds of the generated sets: no plate of one occurs in another."""
GOAL = 0.75
DIFFICULTY = 0.35
"""Difficulty of all plates: low contrast and soft edges, without the extremes that minutes of training do not reach."""


def main() -> int:
    """Runs the demo; 0 when the goal is reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("demo"))
    parser.add_argument("--plates", type=int, default=480, help="plates to learn from")
    parser.add_argument("--unseen", type=int, default=120, help="plates to measure on")
    parser.add_argument("--labelled", type=int, default=160, help="of the delivered finish, about half of them good")
    parser.add_argument("--size", type=int, default=224, help="their side in pixels")
    args, flags = parser.parse_known_args()

    try:
        config = override(load_config(RECIPE), flags)
        run = args.out / "run"
        if (run / "golden.npz").is_file():  # a finished demo: show it anew; an interrupted one goes on
            shutil.rmtree(run)
        say(f"generating {args.plates} plates to learn from")
        train = synthetic_arrays(args.plates, args.size, TRAIN, difficulty=DIFFICULTY)
        val = synthetic_arrays(max(3, args.plates // 10), args.size, VAL, difficulty=DIFFICULTY)
        say(f"training {config.model.name} (compiling it comes first)")
        jaxqc.train(config, train, run, val=val)

        say(f"measuring on {args.unseen} plates that it has not seen")
        model = jaxqc.load(run, batch=8)  # as many as are drawn at once: one graph is compiled for both
        shutil.rmtree(args.out / "unseen", ignore_errors=True)
        unseen = write_sd900(args.out / "unseen", args.unseen, args.size, TEST, difficulty=DIFFICULTY)
        result = evaluate(model, unseen, args.out / "evaluation", split="all", worst=6)
        say(f"counting misses and false alarms on {args.labelled} plates of the finish that is delivered")
        shutil.rmtree(args.out / "strip", ignore_errors=True)
        strip = write_sd900(
            args.out / "strip", args.labelled, args.size, LABELLED, 0.5, difficulty=DIFFICULTY, finish="smooth"
        )
        # Into the run's folder: inspections correct a lot's share by these counts.
        counted = evaluate(model, strip, args.out / "evaluation_strip", run=run, split="all", worst=0)
        draw(model, args.size, args.out / "demo.png")
        training_curve(run / "metrics.jsonl", args.out / "training_curve.png", "TSCARNet on synthetic strip steel")
    except UserError as e:
        print(f"demo: {e}", file=sys.stderr)
        return 2

    result.print()
    print("\n".join(counted.misses.lines))
    reached = result.metrics["s_measure"]
    print(f"S-measure {reached:.4f} on unseen plates (goal {GOAL}); {time.monotonic() - BEGAN:.0f} s in all")
    print(f"pictures: {args.out / 'demo.png'}, {args.out / 'training_curve.png'}, {args.out / 'evaluation' / 'worst'}")
    print(f"next: jaxqc verify {run}")
    return 0 if reached >= GOAL else 1


def draw(model: Model, size: int, path: Path) -> None:
    """Two unseen plates of each class, and one without a defect."""
    plates = [render(DRAWN, i, size, defect_free=0.0, difficulty=DIFFICULTY) for i in range(6)]
    plates.append(render(DRAWN, 6, size, defect_free=1.0))
    found = model.predict_full(np.stack([plate.image for plate in plates]))
    rows = []
    for i, plate in enumerate(plates):
        coarse = {name: found[name][i] for name in ("m3", "m2", "m1") if name in found}
        label = CLASSES[plate.label] if plate.label >= 0 else ""
        predicted = model.classes[int(found["class"][i].argmax())] if "class" in found and label else ""
        name = f"{label or 'Free'}_{i}"
        rows.append(Row(name, plate.image, found["map"][i], plate.mask, coarse, label, predicted))
    result_figure(rows, path)


def say(text: str) -> None:
    """A line of progress, with the seconds since the start."""
    print(f"demo: {time.monotonic() - BEGAN:3.0f} s  {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    use_huge_pages()
    sys.exit(main())
