"""Reach and accuracy of pseudo-labels by confidence tier over the training, a column a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxqc.errors import UserError
from jaxqc.pictures.sheet import DPI, INK, save, style_axes

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

COLORS = ("#E69F00", "#56B4E9", "#0072B2", "#CC79A7", "#009E73")
"""Colours of the tiers, lowest first (Okabe and Ito's, distinct with any colour vision)."""

Rows = Sequence[Mapping[str, Any]]


def pseudo_label_curves(runs: Mapping[str, Rows], path: str | Path, title: str = "") -> "matplotlib.figure.Figure":
    """Draws what the training rows of some runs record of their pseudo-labels and writes it to `path`.

    runs: rows of metrics.jsonl by the run's name; `tier{i}_share` is the share of valid pixels in tier i, and, where
    the unlabelled images have masks, `tier{i}_right` the share that lies in it and is right, so that their ratio is the
    tier's accuracy.

    Raises:
      UserError: no run has such rows.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    kept = {name: [r for r in rows if "tier1_share" in r] for name, rows in runs.items()}
    kept = {name: rows for name, rows in kept.items() if rows}
    if not kept:
        raise UserError("pseudo-label curves: no run logged tiers; supervised runs have none")
    figure = Figure(figsize=(1.2 + 2.3 * len(kept), 4.2), dpi=DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(kept), sharex="col", sharey="row", squeeze=False)
    tiers = max(_tiers(rows) for rows in kept.values())
    for column, (name, rows) in enumerate(kept.items()):
        _column(list(axes[:, column]), rows, tiers)
        axes[0, column].set_title(name, fontsize=9, color=INK)
        axes[1, column].set_xlabel("epoch", fontsize=8)
    axes[0, 0].set_ylabel("share of pixels", fontsize=9)
    axes[1, 0].set_ylabel("accuracy", fontsize=9)
    handles = {label: line for ax in axes.flat for line, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    if title:
        figure.suptitle(title, fontsize=11, color=INK)
    return save(figure, path)


def _tiers(rows: Rows) -> int:
    return sum(f"tier{i}_share" in rows[0] for i in range(1, 100))


def _column(axes: Sequence["matplotlib.axes.Axes"], rows: Rows, most: int) -> None:
    """Coverage above, accuracy below. The top tier has one colour in every run, however many tiers it has."""
    at, own = np.array([r["epoch"] for r in rows]), _tiers(rows)
    for ax in axes:
        style_axes(ax)
        ax.set_ylim(0, 1)
    for i in range(1, own + 1):
        color = COLORS[(most - own + i - 1) % len(COLORS)]
        label = "tier 1 (lowest)" if i < own and i == 1 else f"tier {i}" if i < own else "highest tier"
        share = _values(rows, f"tier{i}_share")
        axes[0].plot(at, share, color=color, linewidth=1.5, label=label)
        if "tier1_right" in rows[0]:
            right = _values(rows, f"tier{i}_right")
            accuracy = np.divide(right, share, out=np.full_like(share, np.nan), where=share > 1e-4)
            axes[1].plot(at, accuracy, color=color, linewidth=1.5)


def _values(rows: Rows, name: str) -> np.ndarray:
    return np.array([np.nan if r.get(name) is None else r[name] for r in rows], np.float64)
