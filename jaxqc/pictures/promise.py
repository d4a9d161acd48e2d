"""A detector's promise as one picture: good pieces beside the threshold, and the pasted defects found by size."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jaxqc.pictures.sheet import DPI, INK, QUIET, WARNING, save, style_axes

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

GOOD = "#0072B2"
LINES = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"), ("#595959", "v"), ("#E69F00", "P"))
"""Colour (Okabe and Ito's) and marker of each kind."""
Share = tuple[float, float, float, float]
"""A size in pixels, the share found there, and the limits of its interval."""


def promise_figure(
    good: Sequence[float],
    pasted: Sequence[float],
    shares: Mapping[str, Sequence[Share]],
    said: str,
    path: str | Path,
    title: str = "",
) -> "matplotlib.figure.Figure":
    """Draws both sides of a calibration and writes them to `path`.

    Args:
      good: each held-out good piece's score over the threshold, from 1 on called. pasted: those of pasted defects.
      shares: of pasted defects found, by kind. said: the promise on good pieces, in words.

    Examples:
      >>> figure = promise_figure([0.5, 0.7], [0.9, 1.4], {"spots": [(4, 0.5, 0.2, 0.8)]}, "about 2 %", "promise.png")
      >>> Path("promise.png").exists()
      True
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.4, 4.0), dpi=DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for ax in (left, right):
        style_axes(ax)
    _good_side(left, np.asarray(good, float), np.asarray(pasted, float), said)
    _found_side(right, shares)
    if title:
        figure.suptitle(title, fontsize=10, color=INK, parse_math=False)
    return save(figure, path)


def _good_side(ax: "matplotlib.axes.Axes", good: np.ndarray, pasted: np.ndarray, said: str) -> None:
    top = float(np.clip(max(good.max(initial=1.1), np.quantile(pasted, 0.9) if len(pasted) else 0), 1.2, 3.0))
    low = float(min(good.min(initial=1.0), 0.9))
    step = (top - max(0.0, low - 0.05)) / 32
    edges = 1 + step * np.arange(-round((1 - max(0.0, low - 0.05)) / step), round((top - 1) / step) + 1)
    for values, name, colour, filled in (
        (good, f"{len(good)} good pieces, held out", GOOD, True),
        (pasted, f"{len(pasted)} pasted defects", WARNING, False),
    ):
        if len(values):
            style = {"histtype": "stepfilled", "alpha": 0.55} if filled else {"histtype": "step", "linewidth": 1.5}
            weights = np.full(len(values), 100 / len(values))
            inside = np.clip(values, edges[0], edges[-1] - 1e-9)
            ax.hist(inside, edges.tolist(), weights=weights, label=name, color=colour, **style)
    ax.axvline(1, color=INK, linewidth=1.2)
    ax.annotate("called from here on", (1, 1), xycoords=("data", "axes fraction"), xytext=(4, -2),
                textcoords="offset points", fontsize=8, color=INK, va="top")  # fmt: skip
    ax.set_xlabel(f"score over threshold (from {top:.2g} on in the last bar)", fontsize=9)
    ax.set_ylabel("percent of them", fontsize=9)
    ax.set_title(said, fontsize=9, color=INK, loc="left", parse_math=False)
    ax.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2, labelcolor=INK)


def _found_side(ax: "matplotlib.axes.Axes", shares: Mapping[str, Sequence[Share]]) -> None:
    from matplotlib.ticker import NullLocator, ScalarFormatter

    sizes = sorted({one[0] for rows in shares.values() for one in rows})
    for place, ((kind, rows), (colour, marker)) in enumerate(zip(shares.items(), LINES, strict=False)):
        if not rows:
            continue
        size, share, low, high = (np.array(x) for x in zip(*rows, strict=True))
        size = size * (1 + 0.03 * (place - len(shares) / 2))  # beside one another, so that the intervals can be read
        ax.errorbar(size, 100 * share, 100 * np.stack([share - low, high - share]), color=colour, marker=marker,
                    markersize=5, linewidth=1.3, elinewidth=0.8, capsize=2, label=kind)  # fmt: skip
    ax.axhline(80, color=QUIET, linewidth=0.8, linestyle="--")
    ax.set_ylim(-3, 103)
    ax.set_ylabel("percent found (with 95 % interval)", fontsize=9)
    ax.set_title("pasted defects found; real ones may be missed more often", fontsize=9, color=INK, loc="left")
    ax.set_xlabel("size in pixels of the image: length, or diameter", fontsize=9)
    if sizes:
        ax.set_xscale("log", base=2)
        ax.set_xticks(sizes)
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(ScalarFormatter())
        ax.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=5, labelcolor=INK)
