"""The table of any detectors: folds leave no group on both sides, rows survive, what cannot run is listed."""

import importlib.util
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jaxqc.anomaly.detectors import DETECTORS, Gaussian
from jaxqc.anomaly.detectors.base import BackboneConfig, TrainingConfig
from jaxqc.anomaly.detectors.reconstruction import ReconstructionConfig
from jaxqc.anomaly.detectors.trainings import ADAM
from jaxqc.anomaly.features import load_backbone
from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.grouped import group_of
from jaxqc.data.normals import is_defective
from jaxqc.data.open import open_data
from jaxqc.errors import UserError
from jaxqc.experiments import learned_tables
from jaxqc.experiments.controls import at_random, control
from jaxqc.experiments.learned_tables import ROWS, Cell, classes_in, folded, found_at, markdown, run_cells
from jaxqc.experiments.survey import FLAGS, GENERAL, TABLE_1
from jaxqc.training.logs import finished_rows

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tiles():
    """Twelve good shots of four tiles, two cracked tiles, of one of which there is a good shot, and one unknown."""
    good = [Sample(f"{t}{i}", Path("a"), label=0, group=t, split="train") for t in "abcd" for i in range(3)]
    bad = [Sample(f"x{i}", Path("a"), label=1, group="x", split="val") for i in range(2)]
    mixed = [Sample("y0", Path("a"), label=1, group="y"), Sample("y1", Path("a"), label=0, group="y", split="train")]
    return Dataset("tiles", ("good", "crack"), (*good, *bad, *mixed, Sample("z", Path("a"), split="val")))


def test_each_fold_tests_its_own_good_images_and_all_defective_ones(tiles):
    tested = []
    for fold in range(2):
        data = folded(tiles, 2, fold)
        train, test = data.split("train"), data.split("test")
        assert not {group_of(s) for s in train.samples} & {group_of(s) for s in test.samples}
        assert sum(is_defective(s, test) for s in test.samples) == 3
        assert len(train) + len(test) == 16
        assert [s.id for s in data.split("val").samples] == ["z"]
        tested.append({s.id for s in test.samples})
    assert tested[0] & tested[1] == {"x0", "x1", "y0", "y1"}
    assert len(tested[0] | tested[1]) == 16
    with pytest.raises(UserError, match=r"tiles: fold 4 of 4; its groups allow 0 to 3"):
        folded(tiles, 9, 4)


def test_the_share_that_is_found_is_that_of_a_search_over_all_thresholds():
    random = np.random.default_rng(0)
    good, bad = random.normal(size=131), random.normal(1.5, size=60)
    good[:9] = good[0]  # ties
    for share in (0.0, 0.02, 0.3):
        best = max(np.mean(bad > t) for t in (*good, *bad) if np.mean(good > t) <= share)
        assert found_at(good, bad, share) == best


def test_classes_are_folders_of_whole_sets(boards, recipe, tmp_path):
    assert [d.name for d in classes_in(boards, recipe)] == [open_data(boards).name]
    for name in ("bolt", "nut"):
        shutil.copytree(boards, tmp_path / name)
    assert [d.name for d in classes_in(tmp_path, recipe)] == ["bolt", "nut"]


def test_rows_are_kept_and_tables_name_what_was_not_measured(boards, recipe, tmp_path, monkeypatch):
    small = replace(recipe, detector=Gaussian(channels=20), pasted=0)
    data = open_data(boards)
    cells = [Cell("gaussian", small, data, fold, 2) for fold in range(2)]
    lacking = Cell("deep", replace(small, backbone=replace(small.backbone, layers=(1, 3))), data)
    found = list(run_cells([*cells, lacking], tmp_path, progress=False))
    rows = [row for _, row in found[:2] if not isinstance(row, str)]
    assert len(rows) == 2
    assert not list((tmp_path / "fits").glob("*"))
    for row in rows:
        assert row["images"]["good"] + sum(row["images"][k] for k in row["kinds"]) == row["images"][""]
        assert 0.5 < row["mean_of_kinds"] <= 1
        assert row["mean_of_kinds"] == pytest.approx(np.mean(list(row["kinds"].values())), abs=1e-6)
        assert row["state_mb"] > 0 < row["images_per_second"]
    text = markdown(found)
    assert "| gaussian | 2 |" in text
    assert "Not measured: deep on" in text
    assert "| CPR-faster | 0.990 | 0.973 | 478 |" in text

    monkeypatch.setattr(learned_tables, "fit", lambda *args, **kwargs: pytest.fail("measured anew"))
    assert [row for _, row in run_cells(cells, tmp_path)] == finished_rows(tmp_path / ROWS) == rows


def test_the_script_refuses_what_it_cannot_measure(boards, tmp_path, capsys):
    source = importlib.util.spec_from_file_location("script", ROOT / "scripts" / "reproduce_learned_tables.py")
    assert source is not None
    assert source.loader is not None
    script = importlib.util.module_from_spec(source)
    source.loader.exec_module(script)
    common = ["--data", str(boards), "--out", str(tmp_path / "out")]
    assert script.main([*common, "--members", "stfmp"]) == 2
    assert script.main([*common, "--members", "stfpm", "--folds", "1"]) == 2
    shown = capsys.readouterr().err
    assert "stfmp" in shown
    assert "--folds 1: give" in shown
    assert script.main([*common, "--survey", "--members", "stfmp"]) == 2  # those named alone
    assert script.recipe_of("patchcore", None, ["--batch", "3"]).batch == 3
    assert script.main(common) == 2
    assert "--members NAME" in capsys.readouterr().err
    assert {"stain_ae_small", "ganomaly", "gaussian"} <= set(script.survey_members())
    assert script.survey_members(["draem", "vae"]) == ["draem_small", "vae"]
    for name in ("vae", "acdn", "intra", "anogan", "geom"):  # one for each set of flags
        assert script.recipe_of(name, None, [], FLAGS[name]).backbone.name == "pixels"


def test_the_survey_names_every_detector_once():
    assert sorted([*(name for names in TABLE_1.values() for name in names), *GENERAL]) == sorted(DETECTORS)


def test_a_survey_has_controls_in_columns_beside_their_members(boards, recipe, tmp_path):
    training = TrainingConfig(1.0, 8, replace(ADAM, lr=0.01))
    chain = ReconstructionConfig(widths=(4,), kernels=(5,), strides=(2,), training=training)
    pixels = replace(recipe, detector=chain, backbone=BackboneConfig("pixels", layers=(1,)), pasted=0)
    data = open_data(boards)
    cells = [Cell("conv_ae", pixels, data, control=also) for also in (False, True)]
    found = list(run_cells(cells, tmp_path, progress=False))
    rows = [row for _, row in found if not isinstance(row, str)]
    assert [row["member"] for row in rows] == ["conv_ae", "conv_ae, control"]
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {"conv_ae.png", "conv_ae_control.png"}
    assert rows[0]["au_pro"] != rows[1]["au_pro"]
    longer = replace(pixels, detector=replace(chain, training=replace(training, epochs=9.0)))
    assert Cell("conv_ae", longer, data, control=True).key == cells[1].key  # it has no length
    assert Cell("conv_ae", longer, data).key != cells[0].key
    assert rows[0]["parameters_m"] == rows[1]["parameters_m"] > 0
    foreign = [(Cell("gaussian", recipe, data), rows[0] | {"member": "gaussian"})]
    lines = [line.strip("| ").split(" | ") for line in markdown([*foreign, *found], survey=True).splitlines()]
    head = next(line for line in lines if line[0] == "kind")
    table = {line[1]: dict(zip(head[3:], line[3:], strict=True)) for line in lines if len(line) == len(head)}
    assert list(table) == ["member", "conv_ae", "gaussian"]  # in the order of the survey
    assert head.count("control") == 3
    assert head[head.index("AU-PRO") + 1] == "control"
    assert table["conv_ae"]["control"] == f"{rows[1]['au_pro']:.4f}"  # the last of the three
    assert table["conv_ae"]["training, s"] == f"{rows[0]['training_seconds']:.0f}"
    assert table["gaussian"]["control"] == "—"


def test_drawn_features_are_others_of_the_same_size(recipe):
    kernel, bias = np.ones((3, 3, 2, 4), np.float32), np.ones(4, np.float32)
    known = replace(load_backbone(recipe.backbone), variables={"params": {"conv": {"kernel": kernel, "bias": bias}}})
    first, again, other = (at_random(known, seed).variables["params"]["conv"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first["kernel"], again["kernel"])
    assert np.abs(first["kernel"] - other["kernel"]).min() > 0
    assert first["kernel"].std() == pytest.approx(np.sqrt(2 / 18), rel=0.3)
    assert not first["bias"].any()
    with pytest.raises(UserError, match="no weights"):
        control(replace(recipe, backbone=BackboneConfig("pixels", layers=(1,))))
