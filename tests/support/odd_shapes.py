"""A report of drawn images of odd shapes, portrait, very wide, tiny and large, with defects at borders and corners."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from jaxqc.inspection.acceptance.grading import judge
from jaxqc.inspection.defects import find_regions
from jaxqc.inspection.ledger.store import open_ledger
from jaxqc.inspection.report import Gallery, write_report
from jaxqc.inspection.rules import GradeRules
from jaxqc.scorer import Scored
from tests.support.ledger_makers import MODEL

RULES = GradeRules()
CLASSES = ("crack with a rather long name", "stain")
SHAPES = ((630, 250), (1240, 500), (300, 2000), (24, 24), (200, 200), (1500, 1500))
THRESHOLD = 0.5


def drawn(shape, seed):
    """An image, its map, and the boxes of its defects: one in each corner, one in the middle."""
    rng = np.random.default_rng(seed)
    h, w = shape
    y, x = np.mgrid[:h, :w]
    image = 120 + 25 * np.sin(x / 9) * np.cos(y / 13) + rng.normal(0, 8, shape)
    size_y, size_x = max(6, h // 14), max(6, w // 14)
    scores = np.full(shape, 0.12, np.float32)
    for top, left in ((0, 0), (0, w - size_x), (h - size_y, 0), (h - size_y, w - size_x), (h // 2, w // 2)):
        scores[top : top + size_y, left : left + size_x] = 0.9
        image[top : top + size_y, left : left + size_x] -= 70
    sigma = min(h, w) / 150
    scores = ndimage.gaussian_filter(scores, sigma) if sigma > 0.5 else scores
    return np.clip(image, 0, 255).astype(np.uint8)[..., None], np.clip(scores, 0, 1).astype(np.float32)


def found_on(scores, name, verdict, label=0):
    """The finding on a map."""
    chances = np.where(np.arange(len(CLASSES)) == label, 0.9, 0.1)
    regions = find_regions(Scored(scores, probabilities=chances), THRESHOLD, RULES.defects, CLASSES)
    made = judge(
        regions, RULES, image=name, sha256=hashlib.sha256(name.encode()).hexdigest(), score=float(scores.max())
    )
    return replace(made, verdict=verdict), regions.mask


def page(folder, shapes=SHAPES, each=2, per_lot=12):
    """Writes FOLDER/report.html and returns it. Every second image waits for review; a lot for each shape."""
    folder = Path(folder)
    gallery = Gallery(folder / "gallery", per_lot)
    findings, rows = [], []
    for number, shape in enumerate(shapes):
        for k in range(each):
            name = f"{shape[1]} x {shape[0]}/{k}.png"
            image, scores = drawn(shape, 10 * number + k)
            found, mask = found_on(scores, name, "review" if k % 2 else "reject", k % 2)
            lot = f"lot {shape[1]} x {shape[0]}"
            gallery.offer(found, lot, image, scores, mask, THRESHOLD)
            if found.verdict == "review":
                gallery.thumbnails.offer(found.sha256, image)
            findings.append(found)
            rows.append({"image": name, "lot": lot, "supplier": "North", "time": f"2026-02-{number + 1:02d}"})
    with open_ledger(folder / "ledger.db") as ledger:
        ledger.add(findings, MODEL, rows)
        return write_report(ledger, gallery, folder / "report.html", rules=RULES, model=MODEL.digest, title="Shapes")
