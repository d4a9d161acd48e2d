"""Label maps as pictures: colours read back from the pixels, legends that hold every name, many and hostile names."""

import numpy as np
import pytest
from PIL import Image

from jaxqc.pictures.confusion import confusion_figure
from jaxqc.pictures.fonts import drawable
from jaxqc.pictures.legend import WIDEST, Entry, draw_legend, legend_entries, legend_height, legend_strip
from jaxqc.pictures.overlays import WRONG, LabelRow, colorize, errors, label_sheet, overlay_labels, with_legend
from jaxqc.semi.manifest import palette
from tests.support.shapes import misfit

COLORS = ((0, 0, 0), (230, 60, 60), (60, 120, 230))
NAMES = ("background", "crack", "scratch")


@pytest.fixture
def labels() -> np.ndarray:
    values = np.zeros((40, 60), np.uint8)
    values[5:20, 10:30] = 1
    values[25:38, 35:55] = 2
    return values


@pytest.fixture
def image(rng) -> np.ndarray:
    return rng.integers(60, 200, (40, 60, 3), np.uint8)


def test_colours_are_the_manifests_and_ignored_is_hatched(labels):
    labels[:4, :8] = 255
    picture = colorize(labels, COLORS)
    for c, color in enumerate(COLORS):
        assert (picture[labels == c] == color).all()
    hatch = picture[labels == 255]
    assert (hatch == hatch[:, :1]).all()
    assert len(np.unique(hatch)) == 2


def test_overlay_keeps_clear_pixels_and_outlines_the_rest(image, labels):
    laid = overlay_labels(image, labels, COLORS, clear=(0,), strength=0.5)
    np.testing.assert_array_equal(laid[labels == 0], image[labels == 0])
    assert (laid[5, 10:30] == COLORS[1]).all()  # the outline
    inside = (slice(7, 18), slice(12, 28))
    expected = np.round(0.5 * image[inside] + 0.5 * np.array(COLORS[1]))
    np.testing.assert_allclose(laid[inside], expected, atol=1)
    grey = overlay_labels(image[..., :1], labels, COLORS, clear=(0,))
    np.testing.assert_array_equal(grey[labels == 0], np.repeat(image[..., :1], 3, 2)[labels == 0])
    with misfit("differ in size"):
        overlay_labels(image[:20], labels, COLORS)


def test_errors_mark_what_is_wrong_and_nothing_else(image, labels):
    truth = labels.copy()
    truth[6:10, 12:20] = 2
    truth[30:34, 40:50] = 255
    picture = errors(image, labels, truth)
    wrong = (labels != truth) & (truth != 255)
    assert (picture[wrong] == WRONG).all()
    rest = picture[~wrong]
    assert (rest == rest[:, :1]).all()
    assert wrong.sum() == 32


@pytest.mark.parametrize(("k", "width"), [(2, 200), (11, 480), (40, 480), (40, 200), (11, 1920)])
def test_a_strip_holds_every_name(k, width):
    entries = legend_entries([f"class number {i}" for i in range(k)], palette(k), range(k), ignored=True)
    assert len(entries) == k + 1
    strip = legend_strip(entries, width)
    assert strip.shape[1] == width
    for entry in entries[1:-1]:
        assert (strip == np.array(entry.color)).all(-1).sum() >= 20, entry


def test_legends_stay_on_the_figure_and_do_not_overlap():
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = [f"{'a long name ' * (i % 5)}{i}" for i in range(40)]
    entries = [*legend_entries(names, palette(40), range(40)), Entry("wrong", WRONG)]
    height = legend_height(entries, 5.0)
    figure = Figure(figsize=(5.4, height + 0.4), dpi=100)
    renderer = FigureCanvasAgg(figure).get_renderer()
    draw_legend(figure, entries, 0.2, height + 0.2, 5.0)
    boxes = [t.get_window_extent(renderer) for t in figure.texts]
    assert len(boxes) == 41
    for i, a in enumerate(boxes):
        assert a.x0 >= 0
        assert a.x1 <= 540
        assert a.width <= (WIDEST + 0.1) * 100
        assert not any(a.overlaps(b) for b in boxes[i + 1 :])


def test_only_classes_that_occur_stand_in_the_legend(image, labels):
    few = with_legend(image, np.where(labels == 2, 0, labels).astype(np.uint8), NAMES, COLORS)
    assert few.shape[1] == 60
    below = few[40:]
    assert (below == COLORS[1]).all(-1).any()
    assert not (below == COLORS[2]).all(-1).any()


def test_names_the_font_lacks():
    assert drawable("Öl\n") == "Öl\\n"
    assert drawable("裂", "class 3") == "class 3"
    assert drawable("裂 1", "class 3") == "? 1"
    assert drawable("裂") == "?"


def rows(n, k, rng, size=(60, 80), truth=True):
    out = []
    for i in range(n):
        image = rng.integers(0, 256, (*size, 3), np.uint8)
        labels = rng.integers(0, k, (6, 8)).repeat(size[0] // 6, 0).repeat(size[1] // 8, 1).astype(np.uint8)
        true = np.roll(labels, 3, 1)
        true[:5] = 255
        out.append(LabelRow(f"images/{i}.png", image, labels, true if truth else None, ("mean IoU 0.5",)))
    return out


@pytest.mark.parametrize("k", [2, 11, 40])
def test_sheet_has_all_panels_and_names(tmp_path, rng, k):
    names = ["[b]$\\frac{1}{2}$[/b]", "裂", *(f"name {i}" for i in range(2, k))]
    figure = label_sheet(rows(3, k, rng), names, palette(k), tmp_path / "deep" / "sheet.png")
    panels = [ax for ax in figure.axes if ax.get_images()]
    assert len(panels) == 3 * 5
    assert [ax.get_title() for ax in figure.axes[:5]] == ["Image", "Truth", "Prediction", "Overlay", "Errors"]
    shown = [t.get_text() for t in figure.texts]
    for name in ("[b]$\\frac{1}{2}$[/b]", "class 1", f"name {k - 1}" if k > 2 else "class 1", "ignored", "wrong"):
        assert name in shown
    with Image.open(tmp_path / "deep" / "sheet.png") as picture:
        assert picture.width > 1500


def test_sheet_without_truth_and_of_large_images(tmp_path, rng):
    figure = label_sheet(rows(1, 3, rng, (1200, 1600), truth=False), NAMES, COLORS, tmp_path / "a.png", clear=(0,))
    assert len([ax for ax in figure.axes if ax.get_images()]) == 3
    assert max(figure.axes[0].get_images()[0].get_array().shape) == 800
    assert "ignored" not in [t.get_text() for t in figure.texts]
    with pytest.raises(ValueError, match="at least one row"):
        label_sheet([], NAMES, COLORS, tmp_path / "a.png")


def test_same_rows_same_bytes(tmp_path):
    for name in ("a.png", "b.png"):
        label_sheet(rows(1, 3, np.random.default_rng(1)), NAMES, COLORS, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("k", [2, 11, 40])
def test_confusion_shows_shares_and_iou(tmp_path, rng, k):
    matrix = rng.integers(1, 50, (k, k)) + np.diag(rng.integers(100, 900, k))
    matrix[0, 1] = 0
    if k > 2:
        matrix[2] = 0  # a class without pixels
    figure = confusion_figure(matrix, [f"$class_{i}$" for i in range(k)], tmp_path / "confusion.png")
    ax = figure.axes[0]
    share = np.ma.filled(ax.get_images()[0].get_array(), np.nan)
    np.testing.assert_allclose(share[1], matrix[1] / matrix[1].sum())
    told = [t.get_text() for t in ax.texts]
    iou = matrix[1, 1] / (matrix[1].sum() + matrix[:, 1].sum() - matrix[1, 1])
    assert f"{iou:.3f}" in told
    assert (f"{100 * matrix[1, 1] / matrix[1].sum():.0f}" in told) == (k <= 16)
    assert [t.get_text() for t in ax.get_yticklabels()][1] == "$class_1$"
    with pytest.raises(ValueError, match="matrix"):
        confusion_figure(matrix, ["one"], tmp_path / "a.png")
