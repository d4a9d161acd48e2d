"""The training curve: loss, validation metrics and learning rate over epochs, with the phases' sizes marked."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxqc.errors import UserError
from jaxqc.pictures.sheet import DPI, INK, QUIET, save, style_axes
from jaxqc.training.logs import read_rows

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

Log = Mapping[str, Any]

BLUE = "#0072B2"

MANY = 50
"""Training rows above which the curve is smoothed."""

METRICS = {
    "s_measure": ("S-measure", BLUE, "o"),
    "e_adaptive": ("E-measure (adaptive)", "#009E73", "s"),
    "weighted_f": ("weighted F", "#D55E00", "^"),
    "iou": ("IoU", "#CC79A7", "D"),
    "miou": ("mean IoU", BLUE, "o"),
    "pixel_accuracy": ("pixel accuracy", "#009E73", "s"),
    "mae": ("MAE (lower is better)", "#595959", "v"),
}
"""Validation metrics drawn: name, colour (Okabe and Ito's, distinct with any colour vision) and marker."""


def training_curve(
    metrics: str | Path | Iterable[Log], path: str | Path, title: str = ""
) -> "matplotlib.figure.Figure":
    """Draws a run's `metrics.jsonl` (or its rows) and writes it to `path`.

    Rows with a `loss` and without validation metrics are training, rows with one of `METRICS` validation (`kind`
    decides where it is given). The x axis is `epoch` where all rows have it, else `step`. Where training rows have a
    `size`, stretches of one size are shaded in turn and labelled. Values that are not finite are left out.

    Raises:
      UserError: the file is absent or holds no training row with a finite loss.

    Examples:
      >>> figure = training_curve([{"step": 1, "loss": 0.9}, {"step": 2, "loss": 0.5}], "curve.png")
      >>> Path("curve.png").exists()
      True
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    where = metrics if isinstance(metrics, str | Path) else "training_curve"
    if isinstance(metrics, str | Path) and not Path(metrics).is_file():
        raise UserError(f"{metrics}: no such file; a run folder keeps its records in metrics.jsonl")
    rows = read_rows(Path(metrics)) if isinstance(metrics, str | Path) else list(metrics)
    train = [r for r in rows if _kind(r) == "train" and _finite(r, "loss")]
    held_out = [r for r in rows if _kind(r) == "eval"]
    if not train:
        raise UserError(f"{where}: no row with a finite loss; train first, or look at the log for what went wrong")
    x = "epoch" if all(_finite(r, "epoch") for r in train + held_out) else "step"
    panels = [_draw_loss]
    panels += [_draw_metrics] if any(_finite(r, m) for r in held_out for m in METRICS) else []
    panels += [_draw_rate] if any(_finite(r, "lr") for r in train) else []
    tall = [0.9 if p is _draw_rate else 1.9 for p in panels]
    figure = Figure(figsize=(8.2, sum(tall) + 1.0), dpi=DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(panels), 1, sharex=True, height_ratios=tall, squeeze=False)[:, 0]
    for ax, draw in zip(axes, panels, strict=True):
        style_axes(ax)
        draw(ax, x, train, held_out)
        ax.margins(x=0)
    axes[-1].set_xlabel(x, fontsize=9)
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    _mark_sizes(list(axes), x, train)
    figure.align_ylabels()
    if title:
        figure.suptitle(title, fontsize=11, color=INK)
    return save(figure, path)


def _kind(row: Log) -> str:
    return row.get("kind") or ("eval" if any(m in row for m in METRICS) else "train")


def _finite(row: Log, name: str) -> bool:
    return isinstance(row.get(name), int | float) and math.isfinite(row[name])


def _series(rows: Iterable[Log], x: str, y: str) -> tuple[np.ndarray, np.ndarray]:
    points = sorted((r[x], r[y]) for r in rows if _finite(r, y))
    return np.array([p[0] for p in points]), np.array([p[1] for p in points])


def _smooth(values: np.ndarray) -> np.ndarray:
    """Centred moving average over a twentieth of the run, shorter at the ends."""
    reach = max(1, len(values) // 40)
    total = np.concatenate([[0.0], np.cumsum(values)])
    i = np.arange(len(values))
    low, high = np.maximum(i - reach, 0), np.minimum(i + reach + 1, len(values))
    return (total[high] - total[low]) / (high - low)


def _legend(ax: "matplotlib.axes.Axes") -> None:
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02), fontsize=8, frameon=False, labelcolor=INK,
              borderaxespad=0, handlelength=1.8)  # fmt: skip


def _draw_loss(ax: "matplotlib.axes.Axes", x: str, train: list[Log], held_out: list[Log]) -> None:
    at, loss = _series(train, x, "loss")
    if len(loss) > MANY:
        ax.plot(at, loss, color=BLUE, linewidth=0.6, alpha=0.35, label="training, each row")
        ax.plot(at, _smooth(loss), color=BLUE, linewidth=1.6, label="training, smoothed")
        # The first few steps may be many times higher than all that follows; they would flatten the curve.
        top = float(np.quantile(loss, 0.98)) * 1.15
    else:
        ax.plot(at, loss, color=BLUE, linewidth=1.4, marker="o", markersize=3, label="training")
        top = float(loss.max()) * 1.08
    known = _series(held_out, x, "loss")
    if len(known[0]):
        ax.plot(*known, color="#D55E00", marker="o", markersize=3, linewidth=1.2, label="validation")
    low = min(0.0, float(loss.min()))
    ax.set_ylim(low, max(top, low + 1e-6))
    ax.set_ylabel("loss", fontsize=9)
    if len(ax.lines) > 1:
        _legend(ax)


def _draw_metrics(ax: "matplotlib.axes.Axes", x: str, train: list[Log], held_out: list[Log]) -> None:
    for name, (label, colour, marker) in METRICS.items():
        at, value = _series(held_out, x, name)
        if len(value):
            ax.plot(at, value, color=colour, marker=marker, markersize=4, linewidth=1.4, clip_on=False, zorder=3,
                    linestyle="--" if name == "mae" else "-", label=f"{label}  {value[-1]:.3f}")  # fmt: skip
    ax.set_ylim(0, 1)
    ax.set_ylabel("validation", fontsize=9)
    _legend(ax)


def _draw_rate(ax: "matplotlib.axes.Axes", x: str, train: list[Log], held_out: list[Log]) -> None:
    ax.plot(*_series(train, x, "lr"), color=INK, linewidth=1.2)
    ax.set_ylim(bottom=0)
    ax.set_ylabel("learning rate", fontsize=9)
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _mark_sizes(axes: list["matplotlib.axes.Axes"], x: str, train: list[Log]) -> None:
    """Shades every second stretch of one image size and writes the size above the first panel."""
    at = [(r[x], r["size"]) for r in sorted(train, key=lambda r: r[x]) if _finite(r, "size")]
    if not at:
        return
    starts = [0] + [i for i in range(1, len(at)) if at[i][1] != at[i - 1][1]]
    left, right = axes[0].get_xlim()
    edges = [left, *((at[i - 1][0] + at[i][0]) / 2 for i in starts[1:]), right]
    last = -math.inf
    for k, i in enumerate(starts):
        for ax in axes:
            if k % 2:
                ax.axvspan(edges[k], edges[k + 1], color="#f0f0f0", zorder=0, linewidth=0)
            if k:
                ax.axvline(edges[k], color="#a6a6a6", linewidth=0.7, zorder=1)
        middle = (edges[k] + edges[k + 1]) / 2
        if middle - last > 0.07 * (right - left):  # a label that would touch the one before is left out
            axes[0].annotate(f"{at[i][1]} px", (middle, 1), xycoords=("data", "axes fraction"), xytext=(0, 3),
                             textcoords="offset points", ha="center", fontsize=8, color=QUIET)  # fmt: skip
            last = middle
    axes[0].set_xlim(left, right)
