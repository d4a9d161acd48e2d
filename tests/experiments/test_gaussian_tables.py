"""The paper's tables: cells are what fit and evaluate give, rows survive interruptions, what cannot run is listed."""

import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxqc.anomaly.detectors import Gaussian, PatchCore, Spade
from jaxqc.anomaly.evaluate import evaluate_detector
from jaxqc.anomaly.fit import fit
from jaxqc.anomaly.parts import divide
from jaxqc.anomaly.recipe import BackboneConfig, FitConfig
from jaxqc.data.open import open_data
from jaxqc.errors import UserError
from jaxqc.experiments.feature_cache import Features, load_network
from jaxqc.experiments.gaussian_cbam import ROWS, run_cells
from jaxqc.experiments.gaussian_tables import TABLES, Tables, markdown, seeded
from jaxqc.training.logs import finished_rows
from tests.support.tiny_boards import make_weights

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def small(recipe):
    """Few normal images and channels, so that a cell takes a moment."""
    return replace(
        recipe,
        data=replace(recipe.data, samples=5),
        detector=Gaussian(channels=20),
    )


COMPARED = ("auroc", "_ap", "f1_max", "pro")
"""Endings of the measures that a table has: none is at a calibrated threshold."""
SMALL = {
    "gaussian": Gaussian(channels=20),
    "patchcore": PatchCore(width=16, coreset=0.05, neighbours=2),
    "spade": Spade(images=3),
}


@pytest.mark.parametrize(
    "method", ["gaussian", *(pytest.param(name, marks=pytest.mark.slow) for name in ("patchcore", "spade"))]
)
def test_a_cell_is_what_fit_and_evaluate_give(small, boards, tmp_path, method):
    config, data = seeded(replace(small, detector=SMALL[method]), 1), open_data(boards)
    row = run_cells([config], data, tmp_path, progress=False)[config]
    assert isinstance(row, dict)
    model = fit(config, data, progress=False).model
    parts, _ = divide(data, config.data, config.seed)
    expected = evaluate_detector(model, parts.test, "test", progress=False).metrics
    assert row["fit"] == 5
    compared = [key for key in expected if key.endswith(COMPARED)]
    assert len(compared) > len(COMPARED)
    for key in compared:
        # A table's bins are laid by thresholds of its own, and two compiled graphs round differently.
        assert row["metrics"][key] == pytest.approx(expected[key], rel=1e-2 if "pixel" in key else 1e-3), key


def test_features_come_back_from_disk_as_they_were_computed(small, boards, tmp_path):
    network, samples = load_network(small.backbone), open_data(boards).samples[3:14]
    kept = Features(network, samples, small.data.size, 4, tmp_path, 1e9)
    anew = Features(network, samples, small.data.size, 4, tmp_path, 0)
    assert len(list(tmp_path.glob("*.npy"))) == 2
    pairs = list(zip(kept.batches(samples[2:9], (2, 1)), anew.batches(samples[2:9], (2, 1)), strict=True))
    assert len(pairs) == 2
    for (a, a_masks, a_number), (b, b_masks, b_number) in pairs:
        np.testing.assert_array_equal(a_number, b_number)
        used = a_number >= 0
        np.testing.assert_array_equal(a_masks[used], b_masks[used])
        for x, y in zip(a, b, strict=True):
            np.testing.assert_allclose(x[used], y[used], rtol=1e-4, atol=1e-5)
    assert [x.shape[1:] for x in pairs[0][0][0]] == list(kept.shapes((1, 2)))


def test_finished_cells_are_not_measured_again(small, boards, tmp_path, monkeypatch):
    data, configs = open_data(boards), [seeded(small, 0), seeded(small, 1)]
    first = run_cells(configs[:1], data, tmp_path, progress=False)
    path = tmp_path / "rows.jsonl"
    with open(path, "a", encoding="utf-8") as file:
        file.write('{"key": "half a li')  # what a killed run leaves
    both = run_cells(configs, data, tmp_path, progress=False)
    assert both[configs[0]] == first[configs[0]]
    assert len(finished_rows(tmp_path / ROWS)) == 2
    assert not list(tmp_path.glob(".features*"))
    monkeypatch.setattr("jaxqc.experiments.gaussian_cbam.measure", lambda *_: pytest.fail("measured again"))
    assert run_cells(configs, data, tmp_path, progress=False) == both
    other = replace(configs[0], detector=replace(configs[0].detector, eps=0.02))
    with pytest.raises(pytest.fail.Exception, match="measured again"):
        run_cells([other], data, tmp_path, progress=False)


def test_what_cannot_run_says_why(small, boards, tmp_path):
    def backbone(**changes):
        return replace(small, backbone=replace(small.backbone, **changes))

    cells = {
        "no layer 3": backbone(layers=(1, 3)),
        "have 48 channels": replace(small, detector=Gaussian(channels=49)),
        "cannot choose 500": replace(small, data=replace(small.data, samples=500)),
        "absent.npz": replace(small, backbone=BackboneConfig("resnet34", str(tmp_path / "absent.npz"))),
    }
    found = run_cells(list(cells.values()), open_data(boards), tmp_path, progress=False)
    for reason, config in cells.items():
        assert reason in found[config]
    assert not (tmp_path / "rows.jsonl").exists()


def test_an_unusable_file_is_named_or_left_out(small, boards, tmp_path):
    copy = shutil.copytree(boards, tmp_path / "boards")
    broken = open_data(copy).split("train").samples[0].image
    Path(str(broken)).write_bytes(b"no image")
    whole = replace(small, data=replace(small.data, samples=0))
    with pytest.raises(UserError, match=rf"{Path(str(broken)).name}.*skip-bad"):
        run_cells([whole], open_data(copy), tmp_path, progress=False)
    lenient, notes = replace(whole, data=replace(whole.data, skip_bad=True)), []
    row = run_cells([lenient], open_data(copy, skip_bad=True), tmp_path, progress=False, note=notes.append)[lenient]
    assert isinstance(row, dict)
    assert Path(str(broken)).name in notes[0]


def test_tables_hold_the_papers_rows(small):
    small = replace(small, backbone=replace(small.backbone, name="resnet18"))
    tables = Tables(small, {"resnet18": "a.npz", "resnet50": "b.npz"}, (10, 20), (2, 3, 4))
    lines = {name: tables.lines(name) for name in TABLES}
    assert [line.config.backbone.layers for line in lines["layers"]] == [
        (1,), (2,), (3,), (4,), (1, 2), (1, 2, 3), (1, 2, 3, 4)
    ]  # fmt: skip
    assert [line.config.detector.channels for line in lines["channels"]] == [10, 20]
    wide = Tables(replace(small, detector=Gaussian(channels=100)), {}, (500,), (2,))
    # ResNet-18's layers have 64, 128, 256 and 512 channels; only Table 2 asks for more than there are.
    assert [line.config.detector.channels for line in wide.lines("layers")] == [64, *[100] * 6]
    assert wide.lines("channels")[0].config.detector.channels == 500
    weights = {line.config.backbone.name: line.config.backbone.weights for line in lines["backbones"]}
    assert weights == {
        "resnet50": "b.npz", "resnet50_cbam": "", "resnet101_cbam": "", "resnet152_cbam": "", "resnet18": "a.npz"
    }  # fmt: skip
    assert [line.config.data.samples for line in lines["samples"]] == [2, 3, 4]
    assert [line.config.name for line in lines["rivals"]] == ["spade", "patchcore", "gaussian"]
    assert lines["layers"][5].paper == (*lines["rivals"][2].paper[:2], 0.983)


def test_a_table_in_markdown(small):
    lines = Tables(small, {}, (10, 20), ()).lines("channels")
    row: dict[str, Any] = {"metrics": {"image_auroc": 0.5, "mean of kinds/image_auroc": 1.0, "pixel_auroc": 0.25}}
    row["metrics"] |= {"image_f1_max": None, "pixel_f1_max": 0.5, "au_pro": 0.5}
    second = {"metrics": row["metrics"] | {"image_auroc": 0.7}}
    found: dict[FitConfig, Any] = {seeded(lines[0].config, 0): row, seeded(lines[0].config, 1): second}
    found |= {seeded(lines[1].config, seed): "no weights | given" for seed in (0, 1)}
    text = markdown("channels", lines, (0, 1), found).splitlines()
    assert text[4] == (
        "| d = 10 | 0.6000 ± 0.1414 | 1.0000 ± 0.0000 | 0.2500 ± 0.0000 | — |"
        " 0.5000 ± 0.0000 | 0.5000 ± 0.0000 |  |  |  |"
    )
    assert text[5].startswith("| d = 20 | — | —")
    assert text[6].startswith("| — not run for 2 of 2 seeds: no weights \\| given |")
    assert len({line.count(" |") for line in (text[2], *text[4:6])}) == 1


@pytest.mark.slow
def test_the_script(small, boards, tmp_path, capsys):
    weights = make_weights(tmp_path / "resnet18.npz")
    spec = importlib.util.spec_from_file_location("gaussian_tables", ROOT / "scripts/reproduce_gaussian_tables.py")
    assert spec
    assert spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    flags = ["--data", str(boards), "--out", str(tmp_path), "--weights", f"resnet18={weights}", "--quiet"]
    flags += ["--data.size", "48", "--data.samples", "4", "--batch", "8", "--backbone.layers", "1", "2"]
    flags += ["--detector.channels", "20", "--seeds", "1"]
    assert script.main([*flags, "--tables", "layers", "samples", "--normals", "3", "99"]) == 0
    out = capsys.readouterr().out
    assert "4 of 9 cells measured" in out
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert len(rows) == 4
    text = (tmp_path / "tables.md").read_text()
    assert "the weights have no layer 3" in text
    assert "cannot choose 99" in text
    assert script.main([*flags[:4], "--weights", "resnet19=x"]) == 2
    assert "resnet18" in capsys.readouterr().err
