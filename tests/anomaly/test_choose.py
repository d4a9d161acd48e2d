"""The choice of a recipe: what it divides, what it compares, and that the calibrating images take no part."""

from dataclasses import replace

import pytest

from jaxqc.anomaly import choose as module
from jaxqc.anomaly.choose import Trial, best_of, choose, divisions
from jaxqc.anomaly.parts import divide
from jaxqc.anomaly.recipe import FitConfig
from jaxqc.data.grouped import group_of
from jaxqc.data.open import open_data
from jaxqc.errors import UserError
from tests.support.commutators import write


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return open_data(write(tmp_path_factory.mktemp("pictures") / "GOOD", 30, seed=0, size=(64, 48)), masks=False)


def test_divisions_share_no_image_and_change_places(good):
    first, second = divisions(good, seed=3)
    for parts in (first, second):
        names = [{group_of(s) for s in part.samples} for part in parts]
        assert len(set.union(*names)) == sum(map(len, names)) == 30
        assert [len(n) for n in names] == [15, 8, 7] or [len(n) for n in names] == [15, 7, 8]
    assert not {s.id for s in first[0].samples} & {s.id for s in second[0].samples}
    assert divisions(good, seed=3) == (first, second)


def test_images_that_calibrate_take_no_part_and_the_best_is_chosen(good, monkeypatch):
    """With trials in the place of fits: filters at half the size find most on both divisions."""
    seen: set[str] = set()

    def attempt(trial, parts, progress):
        seen.update(s.id for part in parts for s in part.samples)
        fine = trial.config.backbone.name == "filters" and trial.config.data.size[0] < 64
        return replace(trial, pasted=(2.0, 2.0 if fine else 0.5), good=(0.5, 0.4), seconds=1.0)

    monkeypatch.setattr(module, "_attempt", attempt)
    lines: list[str] = []
    config, about = choose(good, (), progress=False, note=lines.append)
    held_out = divide(good, config.data, config.seed)[0].calibrate
    assert not seen & {s.id for s in held_out.samples}
    assert len(seen) + len(held_out) == 30
    assert config.backbone.name == "filters"
    assert config.data.size == (48, 48)
    assert about["chosen"] in lines[-1]
    assert len(about["tried"]) == sum("pasted defects, calls" in line and "again" not in line for line in lines)
    # Without time only the first is tried, and the others say so.
    config, about = choose(good, (), minutes=0.0, progress=False)
    assert [bool(row["left_out"]) for row in about["tried"]] == [False] + [True] * (len(about["tried"]) - 1)


def test_nothing_tried_is_an_error_that_says_why():
    with pytest.raises(UserError, match=r"no recipe could be tried: .*no room"):
        best_of([Trial(FitConfig(), left_out="no room")])
