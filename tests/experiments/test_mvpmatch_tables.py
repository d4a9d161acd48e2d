"""The paper's ablation table: cells trained once, measured on the test images, set out by method and share."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxqc.config import Phase, PhotometricConfig
from jaxqc.errors import UserError
from jaxqc.experiments import mvpmatch as tables
from jaxqc.experiments.mvpmatch import Cell, check_cells, markdown, run_cells
from jaxqc.pictures.pseudo_labels import pseudo_label_curves
from jaxqc.semi.recipe import PRESETS, CutMixConfig, SemiConfig, SemiTrainConfig
from jaxqc.training.logs import read_rows
from scripts import reproduce_mvpmatch_tables
from tests.support.few_labels import recipe, use_tiny, write_images

ONE = (Phase(epochs=1, size=28, batch=2),)


def test_cells_are_trained_once_and_measured_on_the_test_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_tiny(monkeypatch)
    data = write_images(tmp_path / "few", {"all": 12})
    cells = check_cells(["supervised", "fixmatch"], ["1/2"], 1)
    base = recipe(
        phases=ONE,
        semi=SemiConfig(ema=0.5, photometric=PhotometricConfig(blur=0.25), cutmix=CutMixConfig(area_max=0.3)),
    )
    found = run_cells(cells, base, data, tmp_path / "out", progress=False)
    assert [cell.name for cell in found] == ["supervised-1of2-0", "fixmatch-1of2-0"]
    lists = tmp_path / "out" / "splits" / "1of2-0"
    parts = [set((lists / f"{part}.txt").read_text().splitlines()) for part in ("labeled", "select", "val")]
    assert sum(map(len, parts)) == len(set.union(*parts)), "an image stands in two lists"
    for cell in cells:
        assert 0 <= found[cell]["metrics"]["miou"] <= 1
        assert found[cell]["unlabeled"] != found[cell]["metrics"]
        assert not (tmp_path / "out" / cell.name / "checkpoints").exists()
        config = json.loads((tmp_path / "out" / cell.name / "config.json").read_text())
        semi = config["semi"]
        assert (semi["ema"], semi["photometric"]["blur"], semi["cutmix"]["area_max"]) == (0.5, 0.25, 0.3), (
            "what all members share is the recipe's"
        )
        assert config["semi"]["labels"] == PRESETS[cell.method].labels
        assert found[cell]["semi"] == config["semi"]
    monkeypatch.setattr(tables, "train_semi", lambda *_, **__: pytest.fail("trained again"))
    same = replace(base, eval_every_epochs=float(base.eval_every_epochs))
    again = run_cells(cells, same, data, tmp_path / "out", progress=False)
    assert repr(again) == repr(found), "a precision of no pixels is NaN, which equals nothing"
    with pytest.raises(pytest.fail.Exception, match="trained again"):
        run_cells(cells, replace(base, head_rate=2.0), data, tmp_path / "out", progress=False)
    rows = read_rows(tmp_path / "out" / "fixmatch-1of2-0" / "metrics.jsonl")
    figure = pseudo_label_curves({"FixMatch": rows}, tmp_path / "curves.png", "half labelled")
    assert [ax.get_ylabel() for ax in figure.axes] == ["share of pixels", "accuracy"]


@pytest.mark.parametrize(("epochs", "factor"), [(80, 1), (10, 0.125)])
def test_what_is_timed_in_epochs_keeps_its_share_of_a_run(epochs: float, factor: float) -> None:
    """PS-MT ramps from 5 to 17 of 80 epochs, U2PL warms up for 1, AllSpark's memory starts after 5."""
    member = lambda name: tables._member(name, SemiConfig(ema=0.5), epochs)
    unsup = member("ps_mt").unsup
    assert (unsup.warm_epochs, unsup.ramp_epochs, unsup.weight) == (5 * factor, 12 * factor, 1.5)
    assert member("u2pl").unsup.warm_epochs == factor
    assert member("allspark").memory.start_epochs == 5 * factor
    assert member("unimatch_v2") == replace(PRESETS["unimatch_v2"], ema=0.5)


def test_table_by_hand() -> None:
    score: Any = {("supervised", 0): 0.5, ("supervised", 1): 0.6, ("mvpmatch", 0): 0.625}
    found = {Cell(method, "1/4", seed): {"metrics": {"miou": value}} for (method, seed), value in score.items()}
    assert markdown(found).splitlines() == [
        "| method | 1/4 |",
        "|---|--:|",
        "| labelled images only | 55.00 ± 7.07 |",
        "| MvpMatch (tiers + history) | 62.50 |",
    ]


def test_gains_compare_the_same_seeds() -> None:
    score: Any = {("supervised", 0): 0.5, ("supervised", 1): 0.6, ("mvpmatch", 0): 0.55, ("mvpmatch", 1): 0.63,
                  ("mvpmatch", 2): 0.9, ("cps", 1): 0.59}  # fmt: skip
    found = {Cell(method, "1/4", seed): {"metrics": {"miou": value}} for (method, seed), value in score.items()}
    gains = ["| MvpMatch (tiers + history) | +4.00 ± 1.41 |", "| CPS | -1.00 |"]
    assert markdown(found, over="supervised").splitlines()[2:] == gains
    other = {cell: {"unlabeled": row["metrics"], "metrics": {"miou": 0.0}} for cell, row in found.items()}
    assert markdown(other, over="supervised", part="unlabeled").splitlines()[2:] == gains
    assert markdown(found, part="unlabeled").splitlines()[2] == "| labelled images only |  |", "not measured"


@pytest.mark.parametrize("name", ["camvid", "camvid_six_draws", "sd900", "sd900_six_draws", "sd900_family_lite0"])
def test_the_docs_print_what_their_rows_give(name: str) -> None:
    docs = Path(__file__).parents[2] / "docs"
    found = {}
    for row in map(json.loads, (docs / "rows" / f"few_labels_{name}.jsonl").read_text("utf-8").splitlines()):
        method, share, seed = row["cell"].split("-")
        found[Cell(method, share.replace("of", "/"), int(seed))] = row
    # Rows of earlier versions lack the fields that came later, whose defaults they had.
    later = {key: json.dumps(value) for key, value in asdict(SemiTrainConfig()).items()}
    recipes = {
        frozenset((later | {k: json.dumps(v) for k, v in row["recipe"].items()}).items()) for row in found.values()
    }
    assert len(recipes) == 1
    text = (docs / "results" / "few_labels.md").read_text()
    for part in ("metrics", *(["unlabeled"] if all("unlabeled" in row for row in found.values()) else [])):
        assert markdown(found, part=part) in text
    assert markdown(found, "pixel_accuracy") in text
    assert markdown(found, "pixel_accuracy", "supervised") in text


@pytest.mark.parametrize("name", ["camvid", "sd900"])
def test_the_docs_rows_count_as_finished_and_their_tables_need_no_runs(name: str, tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    shutil.copy(root / "docs" / "rows" / f"few_labels_{name}.jsonl", tmp_path / "rows.jsonl")
    config = root / "configs" / f"mvpmatch_{name}.py"
    arguments = ["--data", "not-there", "--config", str(config), "--out", str(tmp_path), "--weights", "resnet18.npz"]
    assert reproduce_mvpmatch_tables.main([*arguments, "--quiet"]) == 0
    assert "| MvpMatch (tiers + history) |" in (tmp_path / "tables.md").read_text()
    assert not list(tmp_path.glob("*.png")), "there are no logs to draw"


def test_cells_come_seed_by_seed_from_the_first_one() -> None:
    cells = check_cells(["supervised", "cps"], ["1/4"], 2, first_seed=3)
    assert [(c.method, c.seed) for c in cells] == [("supervised", 3), ("cps", 3), ("supervised", 4), ("cps", 4)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["mvpmach"], ["1/4"], 1), "did you mean 'mvpmatch'"),
        ((["cps"], ["a"], 1), "--shares: 'a' is no share"),
        ((["cps"], ["1/4"], 0), "--seeds: 0"),
        ((["cps"], ["1/4"], 1, -1), "--first-seed: -1"),
    ],
)
def test_flags_that_cannot_be(arguments: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_cells(*arguments)


def test_the_figure_tells_coverage_and_accuracy(tmp_path: Path) -> None:
    rows = [
        {"kind": "train", "epoch": i, "tier1_share": 0.2, "tier1_right": 0.1, "tier2_share": 0.5, "tier2_right": 0.4}
        for i in range(5)
    ]
    one = [{"kind": "train", "epoch": i, "tier1_share": 0.4, "tier1_right": 0.3} for i in range(5)]
    figure = pseudo_label_curves({"two": rows, "one": one, "none": []}, tmp_path / "figure.png")
    above, _, below, _ = figure.axes
    np.testing.assert_allclose([line.get_ydata()[0] for line in above.lines], [0.2, 0.5])
    np.testing.assert_allclose([line.get_ydata()[0] for line in below.lines], [0.5, 0.8])
    assert figure.axes[1].lines[0].get_color() == above.lines[1].get_color()
    assert (tmp_path / "figure.png").stat().st_size > 5000
    with pytest.raises(UserError, match="no run logged tiers"):
        pseudo_label_curves({"supervised": [json.loads("{}")]}, tmp_path / "none.png")


def test_table_1_is_the_family_on_one_encoder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The finished rows of the repository stand in for runs; members that have none are asked for by the table."""
    root = Path(__file__).parents[2]
    shutil.copy(root / "docs" / "rows" / "few_labels_sd900.jsonl", tmp_path / "rows.jsonl")
    config = root / "configs" / "mvpmatch_sd900.py"
    arguments = ["--data", "not-there", "--config", str(config), "--out", str(tmp_path), "--weights", "resnet18.npz"]
    arguments += ["--table", "1", "--shares", "1/16", "--quiet"]
    assert reproduce_mvpmatch_tables.main(arguments) == 2
    assert "not-there" in capsys.readouterr().err
    assert reproduce_mvpmatch_tables.main([*arguments, "--methods", "supervised", "unimatch_v2", "mvpmatch"]) == 0
    text = (tmp_path / "tables.md").read_text()
    assert "| UniMatch V2 | 10 | 10 | 10.7 |" in text
    assert "| labelled images only | 3 | 3 | 4.0 |" in text
