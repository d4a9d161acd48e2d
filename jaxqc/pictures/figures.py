"""Pictures of results: rows of input, truth, coarse maps, final map and boxes; the worst cases; overlays.

matplotlib is imported on first use and only through Figure and FigureCanvasAgg: no pyplot, no window, no global
state, so it works in threads and without a display.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Num, UInt8

from jaxqc.data.colour import in_colour
from jaxqc.metrics.regions import labelled
from jaxqc.pictures.curves import training_curve as training_curve
from jaxqc.pictures.sheet import HEAT, Box, Sheet, draw_boxes, show

if TYPE_CHECKING:
    import matplotlib.figure

HIT, MISSED, FALSE = "#009E73", "#E69F00", "#CC79A7"
"""Okabe and Ito's green, orange and purple: distinct with any colour vision."""


@dataclass(frozen=True)
class Row:
    """One image of `result_figure`. image uint8 [h w], [h w 1] or [h w 3]; map float [h w] in [0, 1].

    `mask` {0, 1} [h w] and the class names may be absent. `coarse` holds maps that stand before it, by
    name: stage-1 maps (m3, m2, m1) or another model's, each float [h' w'] in [0, 1] at its own resolution, in order.
    """

    id: str
    image: np.ndarray
    map: np.ndarray
    mask: np.ndarray | None = None
    coarse: Mapping[str, np.ndarray] = field(default_factory=dict)
    label: str = ""
    predicted: str = ""
    verdict: bool | None = None
    """True: the image was called defective, where that is all that was decided; `label` then names the truth."""
    found: np.ndarray | None = None
    """Decided mask {0, 1} [h w], where it is more than the map above a threshold; the boxes are then round it."""


def boxes(probability: Num[np.ndarray, "h w"], threshold: float = 0.5, min_area: int = 1) -> list[Box]:
    """Boxes round the 8-connected regions of `probability > threshold` of at least `min_area` pixels, largest first.

    Examples:
      >>> boxes(np.array([[0.0, 0.75, 1.0]]))
      [Box(top=0, left=1, bottom=1, right=3, area=2, score=0.875)]
    """
    from scipy import ndimage

    regions, count = labelled(probability > threshold)
    if not count:
        return []
    numbers = np.arange(1, count + 1)
    areas = np.bincount(regions.ravel(), minlength=count + 1)[1:]
    scores = ndimage.mean(probability, regions, numbers)
    found = [
        Box(rows.start, columns.start, rows.stop, columns.stop, int(area), float(score))
        for (rows, columns), area, score in zip(ndimage.find_objects(regions), areas, scores, strict=True)
        if area >= min_area
    ]
    return sorted(found, key=lambda b: (-b.area, b.top, b.left))


def grey_to_rgb(image: UInt8[np.ndarray, "h w ..."]) -> UInt8[np.ndarray, "h w 3"]:
    """An image of one or three channels as RGB.

    Examples:
      >>> grey_to_rgb(np.zeros((4, 6), np.uint8)).shape
      (4, 6, 3)
    """
    image = image[..., None] if image.ndim == 2 else image
    return in_colour(image)


def result_figure(
    rows: Sequence[Row], path: str | Path, threshold: float = 0.5, scale: str = "probability of defect"
) -> "matplotlib.figure.Figure":
    """Draws a row of panels an image and writes them to `path` (PNG, or what its ending says).

    Columns: input, ground truth (where a row has one), each coarse map, final map, the decided mask (where a row has
    one), boxes round its regions or else round those above `threshold` (of at least 1/2000 of the image) on the input.
    `scale` names the map's values. Beside each row: id, classes, MAE, IoU at `threshold`.

    Raises:
      ValueError: no rows.

    Examples:
      >>> row = Row("plate 1", np.zeros((32, 32), np.uint8), np.zeros((32, 32), np.float32))
      >>> figure = result_figure([row], "result.png")
      >>> Path("result.png").exists()
      True
    """
    if not rows:
        raise ValueError("result_figure needs at least one row")
    coarse = list(dict.fromkeys(name for row in rows for name in row.coarse))
    columns = ["Input", *(["Ground truth"] if any(r.mask is not None for r in rows) else [])]
    decided = ["Predicted mask"] if any(r.found is not None for r in rows) else []
    columns += [_coarse_title(name, rows) for name in coarse] + ["Final map", *decided, "Detected regions"]
    # Images of many shapes get panels of the middle one.
    shapes = sorted((row.image.shape for row in rows), key=lambda shape: shape[0] / shape[1])
    sheet = Sheet(len(rows), columns, shapes[len(shapes) // 2])
    for i, row in enumerate(rows):
        panels = iter(sheet.axes[i])
        show(next(panels), grey_to_rgb(row.image))
        if "Ground truth" in columns:
            show(next(panels), row.mask, "gray") if row.mask is not None else next(panels).axis("off")
        for name in coarse:
            ax = next(panels)
            show(ax, row.coarse[name], HEAT) if name in row.coarse else ax.axis("off")
        show(next(panels), row.map, HEAT)
        if decided:
            show(next(panels), row.found, "gray") if row.found is not None else next(panels).axis("off")
        ax = next(panels)
        show(ax, grey_to_rgb(row.image))
        if row.found is None:
            regions = boxes(row.map, threshold, max(1, row.map.size // 2000))
        else:
            regions = boxes(row.map * (row.found > 0), 0.0)
        # Whoever only decided that there is a defect did not say its kind.
        name = row.predicted or ("defect" if row.verdict is not None else row.label)
        draw_boxes(ax, regions, row.image.shape, sheet.panel, name)
        sheet.caption(i, *_caption(row, threshold))
    sheet.heat_bar(scale)
    return sheet.save(path)


def worst_cases(
    ids: Sequence[str],
    images: Sequence[np.ndarray] | np.ndarray,
    masks: Sequence[np.ndarray] | np.ndarray,
    maps: Sequence[np.ndarray] | np.ndarray,
    scores: Sequence[float] | np.ndarray,
    outdir: str | Path,
    n: int = 10,
    score_name: str = "S-measure",
    threshold: float = 0.5,
) -> list[Path]:
    """Writes one picture for each of the `n` lowest scores, `worst_01_ID.png` first, and returns their paths.

    Panels: input, ground truth, map, and what is found, missed and falsely found at `threshold`. The arrays share
    their order: images uint8 [h w (c)], masks {0, 1} [h w], maps float [h w] in [0, 1], one score each (NaN is worst).
    Pictures with such names from an earlier call are removed.
    """
    from matplotlib.colors import to_rgb

    outdir = Path(outdir)
    outdir.mkdir(parents=True, exist_ok=True)
    for old in outdir.glob("worst_[0-9][0-9]*_*.png"):
        old.unlink()
    scores = np.asarray(scores, np.float64)
    order = np.argsort(np.where(np.isnan(scores), -np.inf, scores), kind="stable")[: max(n, 0)]
    paths = []
    for rank, i in enumerate(order, 1):
        row = Row(ids[int(i)], images[i], maps[i], masks[i])
        sheet = Sheet(1, ["Input", "Ground truth", "Final map", "Found, missed, false"], row.image.shape)
        found, truth = row.map > threshold, np.asarray(row.mask) > 0
        verdict = grey_to_rgb(row.image).astype(np.float64)
        for where, colour in ((found & truth, HIT), (~found & truth, MISSED), (found & ~truth, FALSE)):
            verdict[where] = 0.35 * verdict[where] + 0.65 * 255 * np.array(to_rgb(colour))
        for ax, picture, cmap in zip(
            sheet.axes[0],
            (grey_to_rgb(row.image), row.mask, row.map, np.round(verdict).astype(np.uint8)),
            (None, "gray", HEAT, None),
            strict=True,
        ):
            show(ax, picture, cmap)
        lines, _ = _caption(row, threshold)
        sheet.caption(0, [lines[0], f"{score_name} {scores[i]:.3f}", *lines[1:]], False)
        sheet.key({"found": HIT, "missed": MISSED, "false": FALSE})
        path = outdir / f"worst_{rank:02d}_{re.sub(r'[^A-Za-z0-9._-]+', '_', row.id)}.png"
        sheet.save(path)
        paths.append(path)
    return paths


def _coarse_title(name: str, rows: Sequence[Row]) -> str:
    row = next(r for r in rows if name in r.coarse)
    factor = round(row.image.shape[0] / row.coarse[name].shape[0])
    title = f"Coarse {name}" if re.fullmatch(r"m\d", name) else name
    return title + (f" (1/{factor})" if factor > 1 else "")


def _overlap(truth: np.ndarray, found: np.ndarray) -> str:
    union = (truth | found).sum()
    return f"IoU {(truth & found).sum() / union:.3f}" if truth.any() else "no defect"


def _caption(row: Row, threshold: float) -> tuple[list[str], bool]:
    """Lines beside a row, the id first, and whether the predicted class is wrong."""
    lines = [row.id]
    lines += [f"class {row.label}"] if row.label else []
    lines += [f"predicted {row.predicted}"] if row.predicted else []
    lines += [] if row.verdict is None else ["called defective" if row.verdict else "called good"]
    if row.mask is not None:
        truth, found = row.mask > 0, row.map > threshold if row.found is None else row.found > 0
        if row.found is not None:
            lines += [_overlap(truth, found)]
            return lines, row.verdict is not None and row.verdict != (row.label != "good")
        lines.append(f"MAE {np.abs(row.map - truth).mean():.3f}")
        lines.append(_overlap(truth, found))
    return lines, bool(row.label and row.predicted and row.label != row.predicted)
