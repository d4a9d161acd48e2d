"""Label maps as pictures: in the classes' colours, laid over the image, and what is wrong about them, with a legend.

Pixels without a label (255) are hatched grey in every picture.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from jaxqc.pictures.figures import grey_to_rgb
from jaxqc.pictures.fonts import drawable
from jaxqc.pictures.legend import Color, Entry, draw_legend, legend_entries, legend_height, legend_strip
from jaxqc.pictures.sheet import CAPTION, GAP, MARGIN, WARNING, Sheet, show

if TYPE_CHECKING:
    import matplotlib.figure

CELL = 2.1
"""Width of a panel in inches."""
LARGEST = 800
"""Longest side in pixels of what a panel is drawn from."""
WRONG: Color = (0xD5, 0x5E, 0x00)
assert f"#{bytes(WRONG).hex()}".upper() == WARNING


@dataclass(frozen=True)
class LabelRow:
    """One image of `label_sheet`. image uint8 [h w], [h w 1] or [h w 3]; labels, truth uint8 [h w], 255 = ignored.

    lines: what stands beside it below its id.
    """

    id: str
    image: np.ndarray
    labels: np.ndarray
    truth: np.ndarray | None = None
    lines: tuple[str, ...] = ()


def colorize(labels: UInt8[np.ndarray, "h w"], colors: Sequence[Color]) -> UInt8[np.ndarray, "h w 3"]:
    """A label map in the classes' colours; hatched where there is none.

    Examples:
      >>> colorize(np.array([[0, 1]], np.uint8), [(0, 0, 0), (255, 0, 0)]).tolist()
      [[[0, 0, 0], [255, 0, 0]]]
    """
    known = labels < len(colors)
    table = np.asarray(colors, np.uint8)
    return np.where(known[..., None], table[np.where(known, labels, 0)], _hatch(labels.shape))


def overlay_labels(
    image: UInt8[np.ndarray, "h w ..."],
    labels: UInt8[np.ndarray, "h w"],
    colors: Sequence[Color],
    clear: Collection[int] = (),
    strength: float = 0.45,
) -> UInt8[np.ndarray, "h w 3"]:
    """The image with the classes' colours laid over it, their outlines in full colour.

    clear: labels that stay as the image is, such as background. strength: share of the colour within an outline.

    Raises:
      ValueError: label map and image differ in size.

    Examples:
      >>> labels = np.zeros((4, 4), np.uint8)
      >>> overlay_labels(np.full((4, 4), 9, np.uint8), labels, [(0, 0, 0)], clear=[0])[0, 0].tolist()
      [9, 9, 9]
    """
    from scipy import ndimage

    if image.shape[:2] != labels.shape:
        raise ValueError(f"label map {labels.shape} and image {image.shape[:2]} differ in size")
    edge = np.zeros(labels.shape, bool)
    edge[1:] |= labels[1:] != labels[:-1]
    edge[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    edge[:-1] |= labels[:-1] != labels[1:]
    edge[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    thick = max(labels.shape) // 600
    if thick:
        edge = ndimage.binary_dilation(edge, iterations=thick)
    cover = np.where(edge, 1.0, strength)
    cover[np.isin(labels, list(clear))] = 0
    cover = cover[..., None]
    return np.round(grey_to_rgb(image) * (1 - cover) + colorize(labels, colors) * cover).astype(np.uint8)


def errors(
    image: UInt8[np.ndarray, "h w ..."], labels: UInt8[np.ndarray, "h w"], truth: UInt8[np.ndarray, "h w"]
) -> UInt8[np.ndarray, "h w 3"]:
    """The image, grey and faint, with its wrong pixels in one strong colour; hatched where the truth says nothing.

    Examples:
      >>> truth = np.zeros((1, 2), np.uint8)
      >>> errors(truth, np.array([[0, 1]], np.uint8), truth)[0].tolist()
      [[130, 130, 130], [213, 94, 0]]
    """
    pale = 130 + 0.45 * grey_to_rgb(image).mean(2, keepdims=True)
    out = np.repeat(np.round(pale), 3, axis=2).astype(np.uint8)
    out[labels != truth] = WRONG
    return np.where((truth == 255)[..., None], _hatch(truth.shape), out)


def with_legend(
    picture: UInt8[np.ndarray, "h w 3"], labels: UInt8[np.ndarray, "h w"], classes: Sequence[str],
    colors: Sequence[Color],
) -> UInt8[np.ndarray, "t w 3"]:  # fmt: skip
    """A picture of a label map above the names and colours of the classes in it.

    Examples:
      >>> labels = np.zeros((32, 64), np.uint8)
      >>> picture = with_legend(colorize(labels, [(0, 0, 0)]), labels, ["sound"], [(0, 0, 0)])
      >>> picture.shape[0] > 32, picture.shape[1:]
      (True, (64, 3))
    """
    found, ignored = _found([labels], len(classes))
    return np.concatenate([picture, legend_strip(legend_entries(classes, colors, found, ignored), picture.shape[1])])


def label_sheet(
    rows: Sequence[LabelRow],
    classes: Sequence[str],
    colors: Sequence[Color],
    path: str | Path,
    clear: Collection[int] = (),
) -> "matplotlib.figure.Figure":
    """Draws a row of panels an image and writes them to `path` (PNG, or what its ending says).

    Columns: image, truth (where a row has one), prediction, overlay and (again with a truth) errors. Below them the
    names of the classes that occur. clear: as `overlay_labels` takes it.

    Raises:
      ValueError: no rows.

    Examples:
      >>> row = LabelRow("road 1", np.zeros((32, 32), np.uint8), np.zeros((32, 32), np.uint8))
      >>> figure = label_sheet([row], ["sound"], [(0, 0, 0)], "labels.png")
      >>> Path("labels.png").exists()
      True
    """
    if not rows:
        raise ValueError("label_sheet needs at least one row")
    known = any(row.truth is not None for row in rows)
    columns = ["Image", *["Truth"] * known, "Prediction", "Overlay", *["Errors"] * known]
    maps = [m for row in rows for m in (row.labels, row.truth) if m is not None]
    entries = legend_entries(classes, colors, *_found(maps, len(classes))) + [Entry("wrong", WRONG)] * known
    left = MARGIN + CAPTION
    width = len(columns) * (CELL + GAP) - GAP
    foot = 0.12 + legend_height(entries, width) + MARGIN
    shapes = sorted((row.image.shape for row in rows), key=lambda shape: shape[0] / shape[1])
    sheet = Sheet(len(rows), columns, shapes[len(shapes) // 2], CELL, foot)
    for i, row in enumerate(rows):
        image, labels, truth = _small(row)
        pictures = [image, None if truth is None else colorize(truth, colors), colorize(labels, colors)]
        pictures += [
            overlay_labels(image, labels, colors, clear),
            None if truth is None else errors(image, labels, truth),
        ]
        if not known:
            pictures = [pictures[0], *pictures[2:4]]
        for ax, picture in zip(sheet.axes[i], pictures, strict=True):
            show(ax, picture) if picture is not None else ax.axis("off")
        sheet.caption(i, [drawable(line) for line in (row.id, *row.lines)])
    draw_legend(sheet.figure, entries, left, foot - 0.12, width)
    return sheet.save(path)


def _found(maps: Sequence[np.ndarray], k: int) -> tuple[np.ndarray, bool]:
    """The classes that occur in label maps, and whether some pixels have none."""
    counts = np.sum([np.bincount(m.reshape(-1), minlength=256) for m in maps], axis=0)
    return np.flatnonzero(counts[:k]), bool(counts[k:].any())


def _small(row: LabelRow) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """RGB image, labels and truth no larger than a panel can show."""
    from PIL import Image

    height, width = row.labels.shape
    scale = LARGEST / max(height, width)
    image = grey_to_rgb(row.image)
    if scale >= 1:
        return image, row.labels, row.truth
    size = max(1, round(width * scale)), max(1, round(height * scale))
    nearest = lambda m: np.asarray(Image.fromarray(m).resize(size, Image.Resampling.NEAREST))
    image = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))
    return image, nearest(row.labels), None if row.truth is None else nearest(row.truth)


def _hatch(shape: tuple[int, ...]) -> UInt8[np.ndarray, "h w 3"]:
    """Diagonal stripes of two greys, as wide as a hundredth of the longer side."""
    y, x = np.indices(shape)
    wide = max(2, max(shape) // 100)
    grey = np.where((x + y) // wide % 2, 238, 190).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)
