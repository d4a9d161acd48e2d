"""A confusion matrix as a picture: how much of each true class was called what, with each class's IoU."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int
from rich.cells import cell_len

from jaxqc.pictures.fonts import drawable, families
from jaxqc.pictures.sheet import DPI, INK, MARGIN, QUIET, TEXT, save

if TYPE_CHECKING:
    import matplotlib.figure

FEW = 16
"""Most classes whose shares are written into the squares."""
WIDE = 2.0
"""Fewest inches of a matrix, for its title."""
LONGEST = 22
"""Most characters of a name."""


def confusion_figure(
    matrix: Int[np.ndarray, "k k"], classes: Sequence[str], path: str | Path
) -> "matplotlib.figure.Figure":
    """Draws pixel counts [truth, prediction] as shares of each true class and writes them to `path`.

    A row without pixels stays grey. Up to `FEW` classes the shares are written into the squares, in percent.

    Raises:
      ValueError: the matrix is not of these classes.

    Examples:
      >>> figure = confusion_figure(np.array([[9, 1], [0, 5]]), ["sound", "crack"], "confusion.png")
      >>> Path("confusion.png").exists()
      True
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    k = len(classes)
    if matrix.shape != (k, k):
        raise ValueError(f"matrix {matrix.shape} of {k} classes")
    names = [_short(drawable(name, f"class {i}")) for i, name in enumerate(classes)]
    square = max(0.36, WIDE / k) if k <= FEW else 0.2
    room = MARGIN + max(cell_len(name) for name in names) * 0.62 * TEXT / 72 + 0.12
    side, right = square * k, 0.6
    width, height = 0.2 + room + side + right, room + side + 0.45
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    ax = figure.add_axes(((0.2 + room) / width, room / height, side / width, side / height))
    total = matrix.sum(1, keepdims=True)
    share = np.divide(matrix, total, out=np.full((k, k), np.nan), where=total > 0)
    ax.set_facecolor("0.88")
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    fonts = families("".join(names))
    ax.set_xticks(range(k), names, rotation=90, fontsize=TEXT, parse_math=False, fontfamily=fonts)
    ax.set_yticks(range(k), names, fontsize=TEXT, parse_math=False, fontfamily=fonts)
    ax.tick_params(length=0, pad=3, labelcolor=INK)
    ax.set_xticks(np.arange(1, k) - 0.5, minor=True)
    ax.set_yticks(np.arange(1, k) - 0.5, minor=True)
    ax.grid(which="minor", color="white", linewidth=0.6)
    ax.tick_params(which="minor", length=0)
    ax.spines[:].set(linewidth=0.5, color=QUIET)
    ax.set_ylabel("truth", fontsize=TEXT, color=QUIET)
    ax.set_xlabel("prediction", fontsize=TEXT, color=QUIET)
    ax.set_title("share of each true class, %" if k <= FEW else "share of each true class", fontsize=TEXT + 0.5,
                 color=INK, pad=6)  # fmt: skip
    if k <= FEW:
        for i, j in zip(*np.nonzero(np.nan_to_num(share) >= 0.005), strict=True):
            dark = share[i, j] > 0.55
            ax.text(j, i, f"{100 * share[i, j]:.0f}", ha="center", va="center", fontsize=TEXT - 1,
                    color="white" if dark else INK)  # fmt: skip
    hit = np.diagonal(matrix)
    union = matrix.sum(0) + matrix.sum(1) - hit
    ax.text(k - 0.35, -0.75, "IoU", fontsize=TEXT - 0.5, color=QUIET, va="center")
    for i in np.flatnonzero(union):
        ax.text(k - 0.35, i, f"{hit[i] / union[i]:.3f}", fontsize=TEXT - 0.5, color=QUIET, va="center")
    return save(figure, path)


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"
