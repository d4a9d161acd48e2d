"""The cost of unnoticed defects: detectors fitted to good images of which some share is defective.

A cell is a recipe on data with so many defective images among the good ones, with or without leaving the worst out.
Half of the defective test images are measured in every cell; of the other half so many are fitted as are wanted.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from jaxqc.anomaly.evaluate import evaluate_detector
from jaxqc.anomaly.fit import fit
from jaxqc.anomaly.recipe import FitConfig
from jaxqc.data.dataset import Dataset
from jaxqc.data.normals import is_defective, is_normal, normal_class
from jaxqc.data.splits import rank
from jaxqc.errors import UserError
from jaxqc.fields import to_dict
from jaxqc.training.logs import append_row, finished_rows

ROWS = "rows.jsonl"
KEPT = 0.5
"""Share of the defective test images that is never fitted, and measured in each cell."""


@dataclass(frozen=True)
class Cell:
    """A detector's name, the share of defects among its good images, the share that it leaves out, and the draw."""

    method: str
    dirty: float
    worst: float
    seed: int


def contaminated(data: Dataset, share: float, seed: int) -> Dataset:
    """The data where `share` of the good training images have become defective ones of the test set, said to be good.

    So many good ones are left out as defects come in. Measured are the good test images and half of the defective ones,
    the same for each share.

    Raises:
      UserError: too few defective images to test on.

    Examples:
      >>> from jaxqc.data.open import open_data
      >>> from jaxqc.data.synthetic.boards import write_mvtec
      >>> data = contaminated(open_data(write_mvtec("boards", normals=10, defects=4, size=32)), 0.2, seed=0)
      >>> train, test = data.split("train").samples, data.split("test").samples
      >>> len(train), sum(s.id.startswith("test/") for s in train), len(test)
      (10, 2, 6)
    """
    train = [s for s in data.split("train").samples if is_normal(s, data)]
    wrong = sorted((s for s in data.split("test").samples if is_defective(s, data)), key=lambda s: rank(seed, s.id))
    spare, count = wrong[int(KEPT * len(wrong)) :], round(share * len(train))
    if count > len(spare):
        raise UserError(f"{data.name}: {count} defective images are wanted among the good ones; {len(spare)} are there")
    out = {s.id for s in sorted(train, key=lambda s: rank(seed, s.id))[:count]} | {s.id for s in spare}
    label = normal_class(data)
    taken = tuple(replace(s, split="train", label=label, normal=True, mask=None) for s in spare[:count])
    return replace(data, samples=(*(s for s in data.samples if s.id not in out), *taken))


def measure(config: FitConfig, data: Dataset, cell: Cell) -> dict[str, Any]:
    """A cell's measures; `caught` is the share of the fitted defects that was left out, None where there were none."""
    dirty = contaminated(data, cell.dirty, cell.seed)
    config = replace(config, data=replace(config.data, worst=cell.worst), pasted=0, seed=cell.seed)
    model = fit(config, dirty, progress=False).model
    found = evaluate_detector(model, dirty.split("test"), "test", progress=False)
    left = {str(Path(name)) for name in model.meta.get("left_out", ())}
    fitted = [str(s.image) for s in dirty.split("train").samples if s.id.startswith("test")]
    caught = sum(image in left for image in fitted) / len(fitted) if fitted and cell.worst else None
    keys = ("image_auroc", "image_tpr", "image_fpr", "pixel_auroc", "au_pro")
    return asdict(cell) | {key: found.metrics[key] for key in keys} | {"caught": caught}


def run_cells(
    cells: Iterable[tuple[Cell, FitConfig]], data: Dataset, out: Path, note: Callable[[str], None]
) -> list[dict[str, Any]]:
    """All rows, of which the missing ones are measured and written to OUT/rows.jsonl, one after the other."""
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    done = {row["key"]: row for row in finished_rows(out / ROWS)}
    for cell, config in cells:
        key = hashlib.sha256(json.dumps([asdict(cell), to_dict(config), data.name]).encode()).hexdigest()[:16]
        if key not in done:
            done[key] = {"key": key} | measure(config, data, cell)
            append_row(out / ROWS, done[key])
            note(f"{cell}: image AUROC {done[key]['image_auroc']:.3f}")
        rows.append(done[key])
    return rows


def markdown(rows: list[dict[str, Any]]) -> str:
    """A table: a row for each detector and share left out, image AUROC and TPR at each share of defects."""
    shares = sorted({row["dirty"] for row in rows})
    percent = lambda share: f"{100 * share:g} %"
    mean = lambda some, key: sum(r[key] for r in some) / len(some) if some else float("nan")
    head = ["detector", "left out", *(f"AUROC, {percent(s)}" for s in shares), *(f"TPR, {percent(s)}" for s in shares)]
    lines = ["| " + " | ".join([*head, "defects left out"]) + " |", "|---|---:|" + "---:|" * (2 * len(shares) + 1)]
    for method, left in dict.fromkeys((row["method"], "as many" if row["worst"] else "none") for row in rows):
        own = [r for r in rows if r["method"] == method and bool(r["worst"]) == (left == "as many")]
        cells = [f"{mean([r for r in own if r['dirty'] == s], 'image_auroc'):.3f}" for s in shares]
        cells += [f"{mean([r for r in own if r['dirty'] == s], 'image_tpr'):.2f}" for s in shares]
        caught = [r for r in own if r["caught"] is not None]
        lines.append(f"| `{method}` | {left} | " + " | ".join(cells) + f" | {_share(mean(caught, 'caught'))} |")
    return "\n".join(lines).replace("nan", "–") + "\n"


def _share(value: float) -> str:
    return f"{100 * value:.0f} %" if value == value else "–"
