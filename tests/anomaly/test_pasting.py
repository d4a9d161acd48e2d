"""Counting pasted defects: found where they are plain, not where they are not there; words and picture."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from jaxqc.anomaly.calibration import calibrate
from jaxqc.anomaly.model import AnomalyModel
from jaxqc.anomaly.pasted import Cell, Pasting, draw, find_pasted, rates_of, smallest_found
from jaxqc.anomaly.recipe import DecisionConfig, FitConfig
from jaxqc.data.dataset import Dataset, Sample


class Brightness(AnomalyModel):
    """Distance of each pixel from the good images' usual grey, at the image's own size."""

    def __init__(self, decision: DecisionConfig) -> None:
        self.config, self.batch, self.tile, self.localises = FitConfig(decision=decision), 8, 0, True

    def shrunk(self, image: np.ndarray, name: str = "image") -> np.ndarray:
        return image

    def score(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        maps = np.abs(images[..., 0].astype(np.float32) - 120)
        return maps, maps.mean((1, 2)), maps > 0


@pytest.fixture(scope="module")
def counted(tmp_path_factory) -> SimpleNamespace:
    """Good grey noise in files, three images each of ten parts, calibrated and with pasted defects counted."""
    folder, rng = tmp_path_factory.mktemp("good"), np.random.default_rng(0)
    for i in range(30):
        Image.fromarray(rng.normal(120, 4, (64, 80)).round().astype(np.uint8)).save(folder / f"{i}.png")
    good = tuple(Sample(str(i), folder / f"{i}.png", group=f"part {i // 3}", normal=True) for i in range(30))
    model = Brightness(DecisionConfig(opening=0, false_alarm=0.1, unit="group"))
    data = Dataset("noise", (), good)
    calibration = calibrate(model, data, None, [], progress=False)
    return SimpleNamespace(calibration=calibration, model=model, data=data, folder=folder,
                           found=find_pasted(model, data, calibration, 150, [], progress=False))  # fmt: skip


def test_parts_are_what_is_promised_and_images_keep_their_own_size(counted):
    promise = counted.calibration.promise
    assert (promise.pieces, promise.images, promise.called) == (10, 30, 0)
    assert counted.calibration.side == 64
    assert counted.calibration.places.max() < 1 < 1.6 * counted.calibration.places.max()


def test_the_one_piece_that_lifts_the_thresholds_is_named(counted):
    calibration = counted.calibration
    assert calibration.lines() == calibration.promise.lines()
    odd = replace(calibration, scores=np.where(np.arange(10) == 4, 2.0 * calibration.scores.max(), calibration.scores))
    assert f"{counted.folder / '12.png'}: of all held-out pieces the farthest from normal" in odd.lines()[-1]


def test_large_defects_of_plain_contrast_are_found_and_small_ones_are_not(counted):
    share = {(c.kind, c.size): c.share for c in counted.found.cells}
    sizes = {kind: [c.size for c in counted.found.cells if c.kind == kind] for kind in ("spot", "crack", "stain")}
    assert share["spot", sizes["spot"][-1]] > 0.7
    assert share["spot", sizes["spot"][0]] < 0.3
    assert share["stain", sizes["stain"][-1]] > share["stain", sizes["stain"][0]]
    assert counted.found.images == sum(c.images for c in counted.found.cells) == len(counted.found.places)
    assert counted.found.found == sum(place >= 1 for place in counted.found.places)
    rates = rates_of(counted.found, counted.calibration, "noise", files=25)
    cells = counted.found.cells
    large = [c for c in cells if sum(o.kind == c.kind and o.size > c.size for o in cells) < 2]
    assert (rates.false, rates.good, rates.views) == (1, 10, 2.5)
    assert (rates.found, rates.defective) == (sum(c.found for c in large), sum(c.images for c in large))
    assert rates.tpr > counted.found.found / counted.found.images


def test_one_seed_counts_the_same_and_few_images_count_nothing(counted):
    again = find_pasted(counted.model, counted.data, counted.calibration, 150, [], progress=False)
    assert again == counted.found
    none = find_pasted(counted.model, counted.data, counted.calibration, 5, [], progress=False)
    assert (none.images, none.lines()) == (0, ())
    draw(counted.folder / "none.png", none, counted.calibration, "")
    assert (counted.folder / "none.png").is_file()


def test_words_name_the_smallest_size_from_which_on_most_are_found():
    cells = [Cell("crack", 16, 1, 10), Cell("crack", 32, 8, 10), Cell("crack", 64, 10, 10)]
    assert smallest_found(cells) == cells[1]
    assert smallest_found([*cells, Cell("crack", 128, 7, 10)]) is None
    rest = [Cell(kind, 8, 3, 10) for kind in ("scratch", "spot", "stain", "patch")]
    first, large, second = Pasting((*cells, *rest), ()).lines()
    assert first == (
        "of 70 pasted defects 31 are found: cracks from 32 px 80 %; scratches up to 8 px at most 30 %; spots up to 8 px"
        " at most 30 %; stains up to 8 px at most 30 %; patches up to 8 px at most 30 %"
    )
    assert large.startswith("of the two largest sizes of each kind 30 of 60: until real ones are measured")
    assert "real defects may be missed more often" in second
    low, high = cells[1].interval
    assert (low, high) == pytest.approx((0.4439, 0.9748), abs=1e-4)  # R: binom.test(8, 10)
