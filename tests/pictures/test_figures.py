"""Figures: boxes against a flood fill, panels counted, files opened again, values read back from the drawn curves."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from jaxqc.errors import UserError
from jaxqc.pictures.figures import Row, boxes, result_figure, training_curve, worst_cases


def flood(mask: np.ndarray) -> list[tuple[int, int, int, int, int]]:
    """Bounds and areas of the 8-connected regions, by a plain flood fill."""
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    found = []
    while left:
        front, region = [left.pop()], []
        while front:
            y, x = front.pop()
            region.append((y, x))
            near = {(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= near
            front.extend(near)
        ys, xs = zip(*region, strict=True)
        found.append((min(ys), min(xs), max(ys) + 1, max(xs) + 1, len(region)))
    return sorted(found)


@settings(max_examples=100, deadline=None)
@given(arrays(np.float32, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.floats(0, 1, width=16)))
def test_boxes_agree_with_a_flood_fill(probability):
    found = boxes(probability, 0.5)
    assert sorted((b.top, b.left, b.bottom, b.right, b.area) for b in found) == flood(probability > 0.5)
    assert [b.area for b in found] == sorted((b.area for b in found), reverse=True)
    assert sum(b.score * b.area for b in found) == pytest.approx(probability[probability > 0.5].sum(), abs=1e-3)
    large = boxes(probability, 0.5, min_area=3)
    assert large == [b for b in found if b.area >= 3]


def plate(size=(40, 40), channels=None, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.integers(60, 120, size if channels is None else (*size, channels)).astype(np.uint8)
    mask = np.zeros(size, np.uint8)
    mask[5:20, 8:16] = 1
    mask[28:36, 24:36] = 1
    return image, mask, (mask * 0.8 + 0.05).astype(np.float32)


def make_rows(n=3, size=(40, 40), channels=None, masks=True, coarse=("m3", "m2", "m1")):
    rows = []
    for i in range(n):
        image, mask, final = plate(size, channels, seed=i)
        factors = {"m3": 8, "m2": 4, "m1": 2}
        maps = {name: np.full((size[0] // factors[name], size[1] // factors[name]), 0.4) for name in coarse}
        rows.append(Row(f"Pa_{i}", image, final, mask if masks else None, maps, "Pa", "In" if i == 1 else "Pa"))
    return rows


def texts(figure) -> str:
    return " | ".join([t.get_text() for t in figure.texts] + [ax.get_title() for ax in figure.axes])


def ink(path) -> np.ndarray:
    with Image.open(path) as f:
        return np.asarray(f.convert("RGB")).astype(int)


@pytest.mark.parametrize("size", [(40, 40), (40, 64), (64, 40)])
@pytest.mark.parametrize("channels", [None, 1, 3])
def test_result_figure_has_all_panels(tmp_path, size, channels):
    path = tmp_path / "deep" / "result.png"
    figure = result_figure(make_rows(size=size, channels=channels), path)
    panels = [ax for ax in figure.axes if ax.get_images()]
    assert len(panels) == 3 * 7
    shown = texts(figure)
    for word in ("Input", "Ground truth", "m3 (1/8)", "m2 (1/4)", "m1 (1/2)", "Final map", "Detected regions"):
        assert word in shown
    assert "Pa_2" in shown
    assert "IoU 1.000" in shown
    assert "MAE 0.0" in shown
    tagged = figure.axes[6]
    outlines = [p for p in tagged.patches if not p.get_fill()]
    assert len(outlines) == 2
    assert [t.get_text() for t in tagged.texts] == ["Pa", "Pa"]
    picture = ink(path)
    assert picture.shape[0] > 300
    assert picture.std() > 20


def test_panels_do_not_overlap(tmp_path):
    figure = result_figure(make_rows(), tmp_path / "a.png")
    placed = [ax.get_position() for ax in figure.axes]
    for i, a in enumerate(placed):
        assert a.x0 >= 0
        assert a.x1 <= 1
        assert a.y0 >= 0
        assert a.y1 <= 1
        for b in placed[i + 1 :]:
            assert a.x1 <= b.x0 + 1e-9 or b.x1 <= a.x0 + 1e-9 or a.y1 <= b.y0 + 1e-9 or b.y1 <= a.y0 + 1e-9


@pytest.mark.parametrize("shape", [(630, 250), (300, 2000), (200, 200)])
def test_tags_hold_their_names_whatever_the_shape_beside_others(tmp_path, shape):
    """A portrait image in a square panel is narrower than it: a tag as wide as its text is more of its pixels."""
    square = Row("square", np.zeros((200, 200), np.uint8), np.zeros((200, 200), np.float32))
    scores = np.zeros(shape, np.float32)
    scores[shape[0] // 2 : shape[0] // 2 + 20, shape[1] // 2 : shape[1] // 2 + 20] = 1
    odd = Row("odd", np.zeros(shape, np.uint8), scores, predicted="crack")
    figure = result_figure([square, odd, square], tmp_path / "tags.png", threshold=0.5)
    (text,) = [t for ax in figure.axes for t in ax.texts if t.get_text() == "crack"]
    assert text.axes is not None
    tag = text.axes.patches[-1].get_window_extent()
    letters = text.get_window_extent()
    assert tag.x0 <= letters.x0 < letters.x1 <= tag.x1
    assert text.axes.get_window_extent().x0 - 1 <= tag.x0 < tag.x1 <= text.axes.get_window_extent().x1 + 1


def test_texts_stay_on_the_sheet(tmp_path):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    rows = [Row("a_very_long_file_name_indeed_0123456789", *plate()[::2], plate()[1], {}, "scratches", "inclusion")]
    figure = result_figure(rows, tmp_path / "a.png")
    renderer = FigureCanvasAgg(figure).get_renderer()
    left = min(ax.get_window_extent(renderer).x0 for ax in figure.axes)
    for text in figure.texts:
        assert text.get_window_extent(renderer).x1 <= left
    assert any(t.get_text().endswith("…") for t in figure.texts)
    assert "predicted inclusion" in texts(figure)


def test_result_figure_without_truth_and_coarse_maps(tmp_path):
    figure = result_figure(make_rows(2, masks=False, coarse=()), tmp_path / "a.png")
    assert len([ax for ax in figure.axes if ax.get_images()]) == 2 * 3
    assert "IoU" not in texts(figure)
    assert "Ground truth" not in texts(figure)


def test_wrong_class_is_marked(tmp_path):
    figure = result_figure(make_rows(2), tmp_path / "a.png")
    colours = {t.get_text(): t.get_color() for t in figure.texts if t.get_text().startswith("predicted")}
    assert colours["predicted In"] != colours["predicted Pa"]


def test_result_figure_needs_rows(tmp_path):
    with pytest.raises(ValueError, match="at least one row"):
        result_figure([], tmp_path / "a.png")


def test_same_rows_same_bytes(tmp_path):
    result_figure(make_rows(1), tmp_path / "a.png")
    result_figure(make_rows(1), tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_worst_cases(tmp_path):
    images, masks, maps = (np.stack(a) for a in zip(*(plate(channels=1, seed=i) for i in range(5)), strict=True))
    (tmp_path / "worst_09_old.png").write_bytes(b"")
    (tmp_path / "09_notes.png").write_bytes(b"")
    ids = ["In_0", "dir/Pa 1", "Sc_2", "In_3", "Pa_4"]
    paths = worst_cases(ids, images, masks, maps, [0.9, 0.2, float("nan"), 0.5, 0.7], tmp_path, 3)
    assert [p.name for p in paths] == ["worst_01_Sc_2.png", "worst_02_dir_Pa_1.png", "worst_03_In_3.png"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["09_notes.png", *(p.name for p in paths)]
    assert all(ink(p).std() > 20 for p in paths)


def test_worst_cases_colour_what_was_missed(tmp_path):
    image, mask, final = plate()
    wrong = final.copy()
    wrong[28:36] = 0.1  # one defect missed
    wrong[2:8, 26:36] = 0.9  # and one invented
    good, bad = (
        worst_cases(["a"], [image], [mask], [m], [0], tmp_path / n, 1)[0] for n, m in (("g", final), ("b", wrong))
    )

    def share(path, colour):
        picture = ink(path)[: int(ink(path).shape[0] * 0.85)]  # without the key below
        grey = np.array([90, 90, 90])
        return (np.abs(picture - (0.35 * grey + 0.65 * np.array(colour))).max(-1) < 16).mean()

    missed, false = (0xE6, 0x9F, 0), (0xCC, 0x79, 0xA7)
    assert share(good, missed) == share(good, false) == 0
    assert share(bad, missed) > 0.001
    assert share(bad, false) > 0.001


def run_rows():
    rows = []
    for step in range(0, 120, 2):
        size = 96 if step < 60 else 128 if step < 90 else 224
        rows.append(
            {"kind": "train", "step": step, "epoch": step / 10, "loss": 3 / (1 + step), "lr": 1e-3, "size": size}
        )
        if step % 40 == 38:
            rows.append({"kind": "eval", "step": step, "epoch": step / 10, "s_measure": step / 200, "mae": 0.1})
    return rows


def test_training_curve(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in run_rows()))
    figure = training_curve(path, tmp_path / "curve.png", title="A run")
    assert len(figure.axes) == 3
    loss, validation, rate = figure.axes
    at, values = loss.lines[0].get_data()
    np.testing.assert_allclose(at, [r["epoch"] for r in run_rows() if r["kind"] == "train"])
    np.testing.assert_allclose(values, [r["loss"] for r in run_rows() if r["kind"] == "train"])
    np.testing.assert_allclose(validation.lines[0].get_ydata(), [0.19, 0.39, 0.59])
    assert rate.lines[0].get_ydata().max() == 1e-3
    assert [t.get_text() for t in loss.texts] == ["96 px", "128 px", "224 px"]
    changes = [line.get_xdata()[0] for line in rate.lines[1:]]
    np.testing.assert_allclose(changes, [5.9, 8.9])
    assert figure.axes[-1].get_xlabel() == "epoch"
    assert ink(tmp_path / "curve.png").std() > 10


def test_training_curve_of_few_bare_rows(tmp_path):
    rows = [{"step": i, "loss": 1 / (i + 1)} for i in range(3)]
    figure = training_curve([*rows, {"step": 3, "loss": float("nan")}], tmp_path / "curve.png")
    assert len(figure.axes) == 1
    assert len(figure.axes[0].lines[0].get_xdata()) == 3
    assert figure.axes[0].get_xlabel() == "step"


def test_training_curve_needs_losses(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        training_curve(tmp_path / "absent.jsonl", tmp_path / "a.png")
    with pytest.raises(UserError, match="no row with a finite loss"):
        training_curve([{"kind": "eval", "step": 1, "s_measure": 0.5}], tmp_path / "a.png")


def test_no_pyplot_and_no_import_before_use(tmp_path):
    code = (
        "import sys, numpy as np\n"
        "from jaxqc.pictures import figures\n"
        "assert 'matplotlib' not in sys.modules\n"
        "z = np.zeros((16, 16))\n"
        f"figures.result_figure([figures.Row('a', z.astype('u1'), z)], {str(tmp_path / 'a.png')!r})\n"
        f"figures.training_curve([{{'step': 0, 'loss': 1.0}}], {str(tmp_path / 'b.png')!r})\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
