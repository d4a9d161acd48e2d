"""The gallery of worst images: which are kept, on disk and after a crash; hostile names; layers read back."""

import io
import json
import random

import cv2
import numpy as np
import pytest
from PIL import Image

from jaxqc.errors import UserError
from jaxqc.inspection.ledger.rows import storable
from jaxqc.inspection.report import Gallery, worst_figure
from jaxqc.inspection.report import gallery as module
from jaxqc.inspection.report.layers import HEAT_LONGEST, LONGEST, heat_from, make_layers, read_layers
from jaxqc.inspection.report.records import picture_facts
from tests.support.ledger_makers import finding
from tests.support.shapes import misfit

SIDE = 24
IMAGE = np.tile(np.arange(SIDE, dtype=np.uint8) * 10, (SIDE, 1))[..., None]
SCORES = np.linspace(0, 1, SIDE * SIDE, dtype=np.float32).reshape(SIDE, SIDE)
MASK = SCORES > 0.6


def offer(gallery, number, lot="L", severity=None, **more):
    made = finding(number)
    made = type(made)(**{**vars(made), **({} if severity is None else {"severity": severity}), **more})
    return made, gallery.offer(made, lot, IMAGE, SCORES, MASK)


def files(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_the_worst_are_kept_whatever_the_order(tmp_path):
    made = {n: (round(random.Random(n).random(), 1), random.Random(-n).random()) for n in range(60)}
    expected = sorted(made, key=lambda n: (-made[n][0], -made[n][1]))[:5]
    for run in range(3):
        order = list(made)
        random.Random(run).shuffle(order)
        gallery = Gallery(tmp_path / str(run), per_lot=5)
        for n in order:
            offer(gallery, n, severity=made[n][0], score=made[n][1])
        assert [p.finding.image for p in gallery.pictures("L")] == [f"images/{n:06d}.png" for n in expected]
        assert len(files(tmp_path / str(run))) == 5 * 4  # what was pushed out is gone from the disk


def test_the_same_image_again_changes_nothing_and_no_picture_is_made_of_it(tmp_path, monkeypatch):
    gallery = Gallery(tmp_path, per_lot=3)
    for n in range(3):
        assert offer(gallery, n, severity=0.5 + n / 10)[1]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    monkeypatch.setattr(module, "make_layers", lambda *_: pytest.fail("no picture is needed"))
    for again in (gallery, Gallery(tmp_path, per_lot=3)):
        assert offer(again, 1, severity=0.6)[1]
        assert not offer(again, 9, severity=0.1)[1]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_new_gallery_on_the_folder_goes_on(tmp_path):
    for n in range(30):
        offer(Gallery(tmp_path, per_lot=4), n, lot=f"L{n % 2}", severity=n / 30)
    for lot in range(2):
        kept = [p.finding.severity for p in Gallery(tmp_path).pictures(f"L{lot}")]
        assert kept == pytest.approx([(28 + lot - 2 * k) / 30 for k in range(4)])


def test_memory_holds_few_lots_and_forgetting_one_loses_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "REMEMBERED", 2)
    gallery = Gallery(tmp_path, per_lot=2)
    for n in range(20):
        offer(gallery, n, lot=f"L{n % 5}", severity=n / 20)
        assert len(gallery._kept) <= 2
    for lot in range(5):
        assert [p.finding.severity for p in gallery.pictures(f"L{lot}")] == [(15 + lot) / 20, (10 + lot) / 20]


def test_what_a_crash_left_does_not_count_and_goes(tmp_path):
    gallery = Gallery(tmp_path, per_lot=5)
    made = [offer(gallery, n, severity=n / 10)[0] for n in range(4)]
    folder = next(tmp_path.iterdir())
    (folder / f"{made[0].sha256}.json").unlink()  # killed before the last file was written
    (folder / f"{made[1].sha256}.json").write_bytes(b'{"version": 1, "lot"')
    (folder / f"{made[2].sha256}.jpg").write_bytes(b"")
    (folder / f".{made[3].sha256}.jpg.4711.part").write_bytes(b"half")
    again = Gallery(tmp_path, per_lot=5)
    assert [p.finding for p in again.pictures("L")] == [made[3]]
    for n in range(4):
        offer(again, n, severity=n / 10)
    assert [p.finding for p in again.pictures("L")] == made[::-1]
    assert len(files(tmp_path)) == 16


def test_another_versions_pictures_are_not_read(tmp_path):
    gallery = Gallery(tmp_path)
    made, _ = offer(gallery, 1)
    path = next(tmp_path.rglob("*.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 99}))
    assert gallery.pictures("L") == []
    offer(Gallery(tmp_path), 1)
    assert [p.finding for p in gallery.pictures("L")] == [made]


HOSTILE = ["", ".", "..", "../../etc/passwd", "/abs", "a/b\\c", "CON", "x" * 5000, "מגילה", "😀", "\udcff", "\0",
           "a\nb", "</script>"]  # fmt: skip


def test_lots_of_any_name_stay_in_the_folder_and_apart(tmp_path):
    gallery = Gallery(tmp_path / "in")
    for n, lot in enumerate(HOSTILE):
        offer(gallery, n, lot)
    for n, lot in enumerate(HOSTILE):
        (picture,) = Gallery(tmp_path / "in").pictures(lot)
        assert (picture.lot, picture.finding.image) == (storable(lot), f"images/{n:06d}.png")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert gallery.pictures("another") == []


@pytest.mark.misuse  # NumPy's numbers in a finding
def test_a_finding_comes_back_whole(tmp_path):
    gallery = Gallery(tmp_path)
    made, _ = offer(gallery, 5, severity=np.float32(0.5), score=np.float64(0.25))
    assert gallery.pictures("L")[0].finding == made


@pytest.mark.parametrize("change", [{"severity": float("nan")}, {"score": float("inf")}, {"sha256": "../" * 21 + "x"}])
def test_what_cannot_be_sorted_or_named_is_refused(tmp_path, change):
    with pytest.raises(UserError, match=r"images/000001\.png"):
        offer(Gallery(tmp_path), 1, **change)
    assert files(tmp_path) == []


def test_sizes_must_agree(tmp_path):
    with misfit("differ in size"):
        Gallery(tmp_path).offer(finding(1), "L", IMAGE, SCORES[1:], MASK)
    with pytest.raises(UserError, match="per_lot=0"):
        Gallery(tmp_path, 0)


@pytest.mark.parametrize("shape", [(3000, 1000, 3), (40, 2000, 1), (1, 1, 3), (1, 900, 1), (64, 48), (480, 480, 3)])
def test_layers_are_bounded_and_read_back(rng, shape):
    h, w = shape[:2]
    image = rng.integers(0, 256, shape, np.uint8)
    y, x = np.mgrid[:h, :w]
    scores = np.exp(-(((y - h / 2) / (h / 4 + 1)) ** 2 + ((x - w / 2) / (w / 4 + 1)) ** 2)).astype(np.float32)
    mask = scores > 0.5
    layers = make_layers(image, scores, mask)
    assert max(layers.width, layers.height) == min(LONGEST, max(h, w))
    with Image.open(io.BytesIO(layers.heat)) as heat:
        assert max(heat.size) <= HEAT_LONGEST
        opacity = np.asarray(heat.convert("RGBA"))[..., 3]
    photo, values, decided = read_layers(layers.photo, layers.heat, layers.mask)
    assert photo.shape == (layers.height, layers.width, 3)
    assert values.shape == decided.shape == (layers.height, layers.width)
    rows = np.minimum(((np.arange(layers.height) + 0.5) * h / layers.height).astype(int), h - 1)
    columns = np.minimum(((np.arange(layers.width) + 0.5) * w / layers.width).astype(int), w - 1)
    off = np.abs(values - scores[np.ix_(rows, columns)])
    assert off.mean() < 0.04
    assert off.max() < 0.15  # a heat of five rows has steps
    assert decided[mask[np.ix_(rows, columns)]].all()
    assert opacity.max() == pytest.approx((0.3 + 0.45 * scores.max()) * 255, abs=12)


def test_a_thin_scratch_of_a_large_image_is_still_outlined():
    mask = np.zeros((4000, 4000), bool)
    mask[100:3900, 2000:2002] = True
    layers = make_layers(np.zeros((4000, 4000, 1), np.uint8), np.zeros(mask.shape, np.float32), mask)
    (line,) = layers.outline
    x, y = np.array(line).T
    assert (x.min(), x.max()) == (pytest.approx(240, abs=1.5), pytest.approx(240, abs=1.5))
    assert (y.min(), y.max()) == (pytest.approx(12, abs=1.5), pytest.approx(468, abs=1.5))


def test_outlines_tell_holes_and_are_bounded(rng):
    mask = np.zeros((100, 100), bool)
    mask[20:80, 20:80] = True
    mask[40:60, 40:60] = False
    zeros = np.zeros((100, 100), np.float32)
    assert len(make_layers(np.zeros((100, 100), np.uint8), zeros, mask).outline) == 2
    noise = rng.random((480, 480)) > 0.7
    noisy = make_layers(np.zeros((480, 480), np.uint8), np.zeros(noise.shape, np.float32), noise)
    assert len(noisy.outline) == 200


@pytest.mark.parametrize("threshold", [0.02, 0.31, 0.5, 0.837, 1.0])
@pytest.mark.parametrize("shape", [(60, 150), (633, 250), (40, 2000)])
def test_the_heat_is_seen_exactly_where_the_map_reaches_the_threshold(rng, shape, threshold):
    scores = np.round(rng.random(shape), 2).astype(np.float32)
    if max(shape) > HEAT_LONGEST:  # few pixels above, or else every larger pixel would hold one
        scores[rng.random(shape) > 2e-3] = 0.01
    scores[shape[0] // 2, shape[1] // 2] = 1.0
    above = scores >= threshold
    layers = make_layers(np.zeros(shape, np.uint8), scores, above, threshold)
    for file in (layers.heat, heat_from(make_layers(np.zeros(shape, np.uint8), scores, above).heat, threshold)):
        with Image.open(io.BytesIO(file)) as heat:
            seen = np.asarray(heat.convert("RGBA"))[..., 3] > 0
        if file is layers.heat:
            h, w = seen.shape
            rows, columns = np.nonzero(above)
            there = np.zeros((h, w), bool)  # by the share of the picture, an independent way to the smaller pixels
            there[(rows * h) // shape[0], (columns * w) // shape[1]] = True
            # Pixels at the border of two smaller ones count in both.
            assert seen[there].all()
            near = cv2.dilate(there.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
            assert not seen[~near].any()
            assert max(shape) > HEAT_LONGEST or np.array_equal(seen, above)
        elif max(shape) <= HEAT_LONGEST:
            unsure = np.abs(scores - threshold) < 1 / 63  # a kept heat has 64 steps
            assert np.array_equal(seen[~unsure], above[~unsure])


def test_an_older_picture_is_read_and_its_heat_cleared(tmp_path):
    gallery = Gallery(tmp_path)
    made, _ = offer(gallery, 5)
    path = next(tmp_path.rglob("*.json"))
    about = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in about.items() if k not in ("threshold", "crops")} | {"version": 1}))
    (picture,) = Gallery(tmp_path).pictures("L")
    assert (picture.finding, picture.threshold) == (made, None)
    assert "older jaxqc" in picture_facts(picture)["note"]
    with Image.open(io.BytesIO(picture.heat_png(0.75))) as heat:
        seen = np.asarray(heat.convert("RGBA"))[..., 3] > 0
    unsure = np.abs(SCORES - 0.75) < 1 / 63
    assert np.array_equal(seen[~unsure], (SCORES >= 0.75)[~unsure])


def test_maps_with_values_that_are_none_are_drawn():
    scores = np.array([[np.nan, np.inf, -np.inf, 2.0]], np.float32)
    layers = make_layers(np.zeros((1, 4), np.uint8), scores, np.zeros((1, 4), bool))
    _, values, _ = read_layers(layers.photo, layers.heat, layers.mask)
    np.testing.assert_array_equal(values, [[0, 1, 0, 1]])


def test_a_figure_of_the_worst(tmp_path):
    gallery = Gallery(tmp_path / "gallery", per_lot=4)
    for n in range(6):
        offer(gallery, n, lot=f"L{n % 2}", severity=n / 10, image=f"$x_{n}$\u202eå😀.png")
    whole = np.kron(MASK, np.ones((3, 3), bool))
    path = worst_figure(gallery, ["L0", "L1", "L0"], tmp_path / "worst.png", 4, lambda p: whole)
    with Image.open(path) as drawn:
        with_truth = drawn.size
    worst_figure(gallery, ["L0", "L1"], tmp_path / "plain.png", 2)
    with Image.open(tmp_path / "plain.png") as drawn:
        assert drawn.width < with_truth[0]  # a column less
        assert drawn.height < with_truth[1]  # two rows less
    with pytest.raises(UserError, match="no pictures"):
        worst_figure(gallery, ["none"], path)
