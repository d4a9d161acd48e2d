"""Names of classes beside their colours, in as many columns as fit: at the foot of a figure, or as a strip."""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import UInt8
from rich.cells import cell_len

from jaxqc.pictures.fonts import drawable, families
from jaxqc.pictures.sheet import INK, QUIET, TEXT

if TYPE_CHECKING:
    import matplotlib.figure

Color = tuple[int, int, int]

LINE, SQUARE, SPACE = 0.165, 0.105, 0.05
"""Height of a line, side of a square and the room behind it, in inches."""
WIDEST = 1.7
"""Most inches of a name."""
HATCH = "////"


class Entry(NamedTuple):
    """A name and its colour; None is the hatch of pixels without a label."""

    name: str
    color: Color | None


def legend_entries(
    classes: Sequence[str], colors: Sequence[Color], found: Sequence[int] | np.ndarray, ignored: bool = False
) -> list[Entry]:
    """The classes that occur, by label; last, where some pixels are, `ignored`.

    Examples:
      >>> legend_entries(["sound", "crack"], [(0, 0, 0), (255, 0, 0)], [1], ignored=True)
      [Entry(name='crack', color=(255, 0, 0)), Entry(name='ignored', color=None)]
    """
    entries = [Entry(drawable(classes[i], f"class {i}"), colors[i]) for i in sorted(map(int, found))]
    return entries + [Entry("ignored", None)] * ignored


def legend_height(entries: Sequence[Entry], width: float) -> float:
    """Inches that `draw_legend` takes of a figure where it has `width` inches."""
    columns, _ = _layout(entries, width)
    return LINE * -(-len(entries) // columns)


def draw_legend(
    figure: "matplotlib.figure.Figure", entries: Sequence[Entry], left: float, top: float, width: float
) -> None:
    """Squares and names in columns, from a figure's upper left corner (left, top: inches from the figure's lower left).

    A name that has no room ends in an ellipsis.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.patches import Rectangle

    across, high = figure.get_size_inches()
    columns, pitch = _layout(entries, width)
    rows = -(-len(entries) // columns)
    renderer = FigureCanvasAgg(figure).get_renderer()
    for i, entry in enumerate(entries):
        column, row = divmod(i, rows)
        x, y = left + column * pitch, top - (row + 0.5) * LINE
        fill = (0.93, 0.93, 0.93) if entry.color is None else tuple(c / 255 for c in entry.color)
        box = Rectangle(
            (x / across, (y - SQUARE / 2) / high), SQUARE / across, SQUARE / high,
            facecolor=fill, edgecolor=QUIET, linewidth=0.4, hatch=None if entry.color else HATCH,
            transform=figure.transFigure,
        )  # fmt: skip
        figure.add_artist(box)
        text = figure.text(
            (x + SQUARE + SPACE) / across, y / high, entry.name, fontsize=TEXT, color=INK, va="center_baseline",
            parse_math=False, fontfamily=families(entry.name),
        )  # fmt: skip
        room, name = (pitch - SQUARE - 2 * SPACE) * figure.dpi, entry.name
        while len(name) > 1 and text.get_window_extent(renderer).width > room:
            name = name[:-1]
            text.set_text(name + "…")


def legend_strip(entries: Sequence[Entry], width: int) -> UInt8[np.ndarray, "h {width} 3"]:
    """The legend as a picture of `width` pixels, to stand below an image."""
    return _strip(tuple(entries), width)


@lru_cache(maxsize=256)
def _strip(entries: tuple[Entry, ...], width: int) -> np.ndarray:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Letters grow with the picture, but are never too small to be read.
    dpi = min(max(width / 5.3, 90.0), 400.0)
    inches, edge = width / dpi, 0.06
    height = -(-round((legend_height(entries, inches - 2 * edge) + 2 * edge) * dpi * 100) // 100)
    figure = Figure(figsize=(inches, height / dpi), dpi=dpi, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    draw_legend(figure, entries, edge, height / dpi - edge, inches - 2 * edge)
    canvas.draw()
    drawn = np.asarray(canvas.buffer_rgba())[..., :3]
    # A figure's size in inches may round to a pixel less or more.
    out = np.full((height, width, 3), 255, np.uint8)
    out[: drawn.shape[0], : drawn.shape[1]] = drawn[:height, :width]
    out.flags.writeable = False
    return out


def _layout(entries: Sequence[Entry], width: float) -> tuple[int, float]:
    """Number of columns, and inches from one to the next."""
    longest = max((cell_len(entry.name) for entry in entries), default=1)
    name = min(WIDEST, 0.62 * TEXT / 72 * longest + 0.05)
    columns = max(1, min(len(entries) or 1, int(width / (SQUARE + 2 * SPACE + name))))
    return columns, min(width / columns, SQUARE + 3 * SPACE + name)
