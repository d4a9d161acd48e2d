"""A ledger and a gallery as two suppliers of steel would leave them, one of whom drifts; and the page of it.

By hand:  python tests/support/report_samples.py FOLDER [--lots 12] [--images 24]
"""

import argparse
import datetime
import functools
import hashlib
from pathlib import Path

import numpy as np
from scipy import ndimage

from jaxqc.data.synthetic.plates import CLASSES, Plate, render
from jaxqc.error_rates import ErrorRates
from jaxqc.inspection.acceptance.grading import judge
from jaxqc.inspection.defects import Scored, find_regions
from jaxqc.inspection.findings import Finding
from jaxqc.inspection.ledger.store import Ledger, ModelInfo, open_ledger
from jaxqc.inspection.report import Gallery, write_report
from jaxqc.inspection.rules import GradeRules

RULES = GradeRules()
THRESHOLD = 0.5
MODEL = ModelInfo(
    hashlib.sha256(b"sample").hexdigest(),
    "tscarnet",
    {
        "dataset": "synthetic-steel",
        "date": "2026-08-20",
        "train": 3000,
        "val": 200,
        "classes": list(CLASSES),
        "threshold": THRESHOLD,
        "threshold_is": "largest F1 of pixels (0.871) on the run's validation images",
        "probability_is": "class probability of the image",
        "metrics": {"S-measure": 0.8912, "MAE": 0.0123, "image AUROC": 0.991},
        "evaluated": {"data": "synthetic-steel", "split": "test", "images": 900},
        "error_rates": [ErrorRates(437, 450, 6, 450, "labelled images", "synthetic-steel").to_dict()],
        "step": 20000,
        "seed": 0,
        "git_commit": "0a1b2c3",
    },
)
SUPPLIERS = {"Aldermoor Steel": lambda t: 0.012, "Tamar Rolling Mills": lambda t: 0.015 + 1.3 * max(0.0, t - 0.55)}
"""Share of defective plates by the time from 0 to 1."""
START = datetime.datetime(2026, 9, 1, 6, 0, tzinfo=datetime.UTC)


def score_map(plate: Plate, rng: np.random.Generator) -> np.ndarray:
    """A fair model's map of a plate: its mask blurred, uneven, noisy."""
    truth = ndimage.gaussian_filter(plate.mask.astype(np.float32), 1.6)
    uneven = ndimage.zoom(rng.normal(0, 1, (9, 9)), plate.mask.shape[0] / 9, order=1)[: len(truth), : len(truth)]
    noise = ndimage.gaussian_filter(rng.normal(0, 1, truth.shape), 2) * 0.5
    certain = 1 - 0.35 * plate.difficulty
    return np.clip(certain * truth * (1 + 0.12 * uneven) + 0.05 + 0.07 * noise + 0.02 * uneven, 0, 1).astype(np.float32)


@functools.cache
def plate_and_map(index: int, defective: bool, size: int) -> tuple[Plate, np.ndarray]:
    plate = render(7, index, size, defect_free=0.0 if defective else 1.0)
    return plate, score_map(plate, np.random.default_rng((11, index)))


def inspected(rng: np.random.Generator, share: float, image: str, plates: int = 40, size: int = 200) -> tuple:
    """Finding, plate and map of a plate that is defective with probability `share`, one of `plates` of each kind."""
    plate, values = plate_and_map(int(rng.integers(plates)), bool(rng.random() < share), size)
    chances = np.full(len(CLASSES), 0.04)
    chances[plate.label if plate.label >= 0 else 0] = 0.92
    regions = find_regions(Scored(values, probabilities=chances), THRESHOLD, RULES.defects, CLASSES, 0.2)
    sha256 = hashlib.sha256(plate.image.tobytes() + image.encode()).hexdigest()
    found: Finding = judge(regions, RULES, image=image, sha256=sha256, score=float(values.max()))
    return found, plate, values


def fill(ledger: Ledger, gallery: Gallery, lots: int = 12, images: int = 24, plates: int = 40) -> None:
    """Two suppliers' lots, in turns."""
    rng = np.random.default_rng(5)
    for k in range(lots):
        for name, share in SUPPLIERS.items():
            lot = f"{name[0]}-{2041 + 3 * k}"
            found, rows = [], []
            for i in range(images + 4 * (k % 3)):
                image = f"{lot}/plate_{i:03d}.png"
                finding, plate, values = inspected(rng, share(k / max(1, lots - 1)), image, plates)
                gallery.offer(finding, lot, plate.image, values, values >= THRESHOLD)
                time = START + datetime.timedelta(days=2 * k, minutes=7 * i)
                found.append(finding)
                rows.append({"lot": lot, "supplier": name, "product": "strip 1.2 mm", "line": f"line {1 + k % 2}",
                             "time": time.isoformat()})  # fmt: skip
            ledger.add(found, MODEL, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lots", type=int, default=12)
    parser.add_argument("--images", type=int, default=24)
    args = parser.parse_args()
    gallery = Gallery(args.folder / "gallery")
    with open_ledger(args.folder / "ledger.db") as ledger:
        fill(ledger, gallery, args.lots, args.images)
        page = write_report(ledger, gallery, args.folder / "report.html", rules=RULES, model=MODEL.digest,
                            title="Steel strip, incoming inspection")  # fmt: skip
    print(page)


if __name__ == "__main__":
    main()
