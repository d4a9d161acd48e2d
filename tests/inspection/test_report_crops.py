"""Crops of defects at full resolution, and thumbnails of what waits: their pixels, their bytes, their files."""

import io
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from jaxqc.inspection.report import Gallery
from jaxqc.inspection.report.crops import MOST_CROPS, crops_of_photo, make_crops
from jaxqc.inspection.report.thumbnails import Thumbnails
from tests.support.ledger_makers import finding


def files(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_crops_hold_the_defects_at_full_resolution(rng):
    image = cv2.GaussianBlur(rng.integers(0, 256, (900, 2000, 3), np.uint8), (0, 0), 4.0)
    image = cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX)
    boxes = [(0, 0, 9, 30), (1990, 880, 2000, 900), (700, 300, 800, 420), (100, 0, 1500, 900), (5, 5, 6, 6)]
    sheet, crops = make_crops(image, boxes)
    with Image.open(io.BytesIO(sheet)) as opened:
        pixels = np.asarray(opened).astype(float)
    assert [crop.factor for crop in crops] == pytest.approx([1, 1, 1, 1528 / 320, 1])
    taken = np.zeros(pixels.shape[:2], int)
    for box, crop in zip(boxes, crops, strict=True):
        x0, y0, x1, y1 = crop.region
        assert 0 <= x0 <= box[0] < box[2] <= x1 <= 2000
        assert 0 <= y0 <= box[1] < box[3] <= y1 <= 900
        assert min(x1 - x0, y1 - y0) >= 17  # with a margin, also of one pixel
        x, y, w, h = crop.place
        taken[y : y + h, x : x + w] += 1
        part = image[y0:y1, x0:x1].astype(float)
        if crop.factor > 1:
            assert (w, h) == (320, round((y1 - y0) / crop.factor))
            part = np.asarray(Image.fromarray(part.astype(np.uint8)).resize((w, h), Image.Resampling.BOX), float)
        assert np.corrcoef(pixels[y : y + h, x : x + w].ravel(), part.ravel())[0, 1] > 0.95
    assert taken.max() == 1
    assert make_crops(image[:400, :480], boxes[:1]) == (b"", crops_of_photo(boxes[:1], 400, 480))
    assert len(make_crops(image, [(k, k, k + 5, k + 5) for k in range(90)])[1]) == MOST_CROPS


def test_crops_are_kept_moved_and_removed_with_their_picture(tmp_path, rng):
    gallery = Gallery(tmp_path, per_lot=1)
    image = rng.integers(0, 256, (700, 600, 1), np.uint8)
    scores = np.zeros((700, 600), np.float32)
    one, two = ((replace(finding(n, 2), height=700, width=600, severity=n / 10)) for n in (3, 4))
    assert gallery.offer(one, "L", image, scores, scores > 0.5, 0.25)
    gallery.move(one.sha256, "L", "M")
    (picture,) = gallery.pictures("M")
    assert picture.threshold == 0.25
    assert picture.sheet
    assert (picture.sheet.read_bytes(), picture.crops) == make_crops(image, [d.box for d in one.defects])
    assert len(files(tmp_path)) == 5
    assert gallery.offer(two, "M", image, scores, scores > 0.5)
    assert all(name.startswith(two.sha256) for name in files(tmp_path))
    assert len(files(tmp_path)) == 5


def test_thumbnails_stay_within_their_bytes(tmp_path, rng):
    image = rng.integers(0, 256, (630, 250, 3), np.uint8)
    kept = Thumbnails(tmp_path / "t", room=9000)
    names = [f"{n:064x}" for n in range(9)]
    there = [kept.offer(name, image) for name in names]
    assert 0 < sum(there) < 9
    assert there == sorted(there, reverse=True)
    size = sum(path.stat().st_size for path in kept.held().values())
    assert 9000 <= size < 9000 + size / sum(there) + 1
    again = Thumbnails(tmp_path / "t", room=9000)
    assert again.offer(names[0], image)
    assert not again.offer(names[8], image)
    with Image.open(kept.held()[names[0]]) as opened:
        assert opened.size == (44, 112)
