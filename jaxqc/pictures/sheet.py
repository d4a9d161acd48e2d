"""A sheet of pictures: a grid of equal panels with column titles, captions at the left, and a bar or key below.

Sizes are inches, so that text and pictures keep their proportion whatever the number of rows and columns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.cells import cell_len

from jaxqc.pictures.fonts import families, legible, make_legible

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

HEAT = "inferno"
"""Colour map of probabilities: even in lightness, so it also reads in grey and with any colour vision."""

BOX = "#56B4E9"
WARNING = "#D55E00"
INK, QUIET = "#1a1a1a", "#595959"

DPI = 180
CELL, GAP, MARGIN, CAPTION, TITLE, FOOT = 1.6, 0.07, 0.12, 1.38, 0.22, 0.42
TEXT = 8.0
"""Font size in points."""


@dataclass(frozen=True)
class Box:
    """A connected region of a map: pixels top <= y < bottom, left <= x < right; `score` is the region's mean value."""

    top: int
    left: int
    bottom: int
    right: int
    area: int
    score: float


class Sheet:
    """A figure with `rows` x `columns` panels; `axes[i][j]` is the panel in row i and column j.

    shape: height and width of the images. cell: width of a panel, foot: height of what is below them, both in inches.
    """

    def __init__(
        self, rows: int, columns: Sequence[str], shape: Sequence[int], cell: float = CELL, foot: float = FOOT
    ) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        tall = cell * min(2.5, max(0.4, shape[0] / shape[1]))
        self.width = MARGIN + CAPTION + len(columns) * (cell + GAP) - GAP + MARGIN
        self.height = MARGIN + TITLE + rows * (tall + GAP) - GAP + foot
        self.left, self.tall = MARGIN + CAPTION, tall
        self.panel = (cell, tall)
        self.figure: Figure = Figure(figsize=(self.width, self.height), dpi=DPI, facecolor="white")
        self._canvas = FigureCanvasAgg(self.figure)
        self.axes: list[list[matplotlib.axes.Axes]] = []
        for i in range(rows):
            bottom = self._row_top(i) - tall
            line = [self.figure.add_axes(self._share(self.left + j * (cell + GAP), bottom, cell, tall))
                    for j in range(len(columns))]  # fmt: skip
            for ax in line:
                ax.set_xticks([])
                ax.set_yticks([])
                ax.spines[:].set(linewidth=0.5, color=QUIET)
            self.axes.append(line)
        for ax, title in zip(self.axes[0], columns, strict=True):
            ax.set_title(title, fontsize=TEXT + 0.5, color=INK, pad=5)

    def _row_top(self, row: int) -> float:
        return self.height - MARGIN - TITLE - row * (self.tall + GAP)

    def _share(self, x: float, y: float, width: float, height: float) -> tuple[float, float, float, float]:
        return x / self.width, y / self.height, width / self.width, height / self.height

    def caption(self, row: int, lines: Sequence[str], wrong: bool = False) -> None:
        """Lines of text beside a row, the first in bold; with `wrong` the line on the prediction is marked."""
        renderer = self._canvas.get_renderer()
        room = (self.left - MARGIN - GAP) * DPI
        for k, line in enumerate(map(legible, lines)):
            bad, fonts = wrong and line.startswith(("predicted", "called")), families(line)
            text = self.figure.text(
                MARGIN / self.width,
                (self._row_top(row) - 0.02 - 0.165 * k) / self.height,
                line,
                fontsize=TEXT if k else TEXT + 0.5,
                fontweight="bold" if (k == 0 or bad) and len(fonts) == 1 else "normal",
                color=WARNING if bad else (QUIET if k else INK),
                va="top",
                parse_math=False,
                fontfamily=fonts,
            )
            while len(line) > 1 and text.get_window_extent(renderer).width > room:
                line = line[:-1]
                text.set_text(line + "…")

    def heat_bar(self, name: str) -> None:
        """The scale of the probability maps, at the bottom right."""
        from matplotlib.cm import ScalarMappable

        length = min(2.2, self.width - self.left - MARGIN)
        ax = self.figure.add_axes(self._share(self.width - MARGIN - length, 0.24, length, 0.09))
        bar = self.figure.colorbar(ScalarMappable(cmap=HEAT), cax=ax, orientation="horizontal", ticks=[0, 0.5, 1])
        bar.ax.tick_params(labelsize=TEXT - 1, length=2, pad=1.5, color=QUIET, labelcolor=QUIET)
        bar.outline.set_linewidth(0.4)  # type: ignore[operator]
        ax.text(-0.04, 0.5, name, fontsize=TEXT - 0.5, color=QUIET, ha="right", va="center", transform=ax.transAxes)

    def key(self, colours: Mapping[str, str]) -> None:
        """Coloured squares with names, at the bottom right."""
        from matplotlib.patches import Rectangle

        x = self.width - MARGIN - 0.68 * len(colours)
        for name, colour in colours.items():
            corner = self._share(x, 0.15, 0.11, 0.11)
            self.figure.add_artist(Rectangle(corner[:2], *corner[2:], color=colour, transform=self.figure.transFigure))
            self.figure.text(
                (x + 0.16) / self.width, 0.205 / self.height, name, fontsize=TEXT, color=QUIET, va="center"
            )
            x += 0.68

    def save(self, path: str | Path) -> "matplotlib.figure.Figure":
        """Writes the figure (same input, same bytes) and returns it."""
        return save(self.figure, path)


def save(figure: "matplotlib.figure.Figure", path: str | Path) -> "matplotlib.figure.Figure":
    """Writes a figure in the format that the path's ending names, without a date or version inside."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    make_legible(figure)
    if Path(path).suffix.lower() in ("", ".png"):
        figure.savefig(path, metadata={"Software": None})
    else:
        figure.savefig(path)
    return figure


def show(ax: "matplotlib.axes.Axes", picture: Any, cmap: str | None = None) -> None:
    """Puts an RGB uint8 image, or with `cmap` a map in [0, 1] without smoothing, into a panel."""
    if cmap is None:
        ax.imshow(np.asarray(picture))
    else:
        ax.imshow(np.asarray(picture, np.float32), cmap=cmap, vmin=0, vmax=1, interpolation="nearest")


def draw_boxes(
    ax: "matplotlib.axes.Axes", found: Sequence[Box], shape: Sequence[int], panel: tuple[float, float], name: str = ""
) -> None:
    """Rectangles on an image of `shape`, each with a tag `name` where one fits without covering another box or tag.

    panel: width and height in inches of the panel that the image is fitted into.
    """
    from matplotlib.patches import Rectangle

    height, width = shape[:2]
    pixel = max(width / panel[0], height / panel[1]) / 72  # image pixels to a point; a narrow image has the height
    tag = ((0.68 * cell_len(name) * 6 + 3) * pixel, 8.5 * pixel)
    # Half a line outside the region, so that the line does not hide what it shows.
    outlines = [
        (
            max(b.left - 1.5, -0.5),
            max(b.top - 1.5, -0.5),
            min(b.right + 0.5, width - 0.5),
            min(b.bottom + 0.5, height - 0.5),
        )
        for b in found
    ]
    taken = list(outlines)
    for x0, y0, x1, y1 in outlines:
        ax.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=BOX, linewidth=1.2))
        corners = (
            (x0, y0 - tag[1]),
            (x1 - tag[0], y0 - tag[1]),
            (x0, y1),
            (x1 - tag[0], y1),
            (x1, y0),
            (x0 - tag[0], y0),
        )
        spots = [(x, y, x + tag[0], y + tag[1]) for x, y in corners]
        free = [s for s in spots if _inside(s, width, height) and not any(_overlap(s, t) for t in taken)]
        if name and free:
            taken.append(free[0])
            x, y = free[0][:2]
            ax.add_patch(Rectangle((x, y), *tag, facecolor=BOX, edgecolor="none"))
            ax.text(x + tag[0] / 2, y + tag[1] / 2, name, fontsize=6, fontweight="bold", color="black",
                    ha="center", va="center_baseline", clip_on=True, parse_math=False)  # fmt: skip


def _inside(a: Sequence[float], width: float, height: float) -> bool:
    return a[0] >= -0.5 and a[1] >= -0.5 and a[2] <= width - 0.5 and a[3] <= height - 0.5


def _overlap(a: Sequence[float], b: Sequence[float]) -> bool:
    """True where two (left, top, right, bottom) rectangles share more than an edge."""
    slack = 1e-6
    return a[0] < b[2] - slack and b[0] < a[2] - slack and a[1] < b[3] - slack and b[1] < a[3] - slack


def style_axes(ax: "matplotlib.axes.Axes") -> None:
    """Quiet axes for curves: a light grid, no frame at the top and right."""
    ax.grid(axis="y", linewidth=0.5, color="#d9d9d9")
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(QUIET)
    ax.tick_params(labelsize=8, color=QUIET, labelcolor=INK)
