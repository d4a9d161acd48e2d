"""The page on the loop back from people, word for word: false alarms become good images, which the new model knows."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import jaxqc
from jaxqc.anomaly.detectors import Gaussian
from jaxqc.anomaly.recipe import BackboneConfig, DecisionConfig, FitConfig, FitDataConfig
from jaxqc.cli import main
from jaxqc.models.resnet import BACKBONES
from tests.support import narrow
from tests.support.pages import PAGES, commands, words
from tests.support.tiny_boards import make_boards, make_weights, stripes

COMMANDS = [words(c)[1:] for c in commands(PAGES["docs/start/review_loop.md"]) if c.startswith("jaxqc")]


def test_the_page_has_four_commands_before_the_new_model_is_used():
    assert [command[0] for command in COMMANDS] == ["review", "review", "ledger", "fit", "inspect", "ledger"]
    assert " ".join(COMMANDS[3]) == "fit --from RUN --data REVIEWED --out RUN_2"


def deliver(folder, first):
    """Lots of boards of a finish that is darker than all that was fitted; each lot has a hole or two."""
    for lot in range(6):
        (folder / f"lot{lot}").mkdir(parents=True)
        for i in range(8):
            seed = first + 20 * lot + i
            image = (0.55 * stripes(seed, False)[0]).astype(np.uint8)
            if i >= 6:
                image[20:32, 10:22] = 240
            kind = "hole" if i >= 6 else "good"
            Image.fromarray(image).save(folder / f"lot{lot}" / f"{kind}{i}.png")


@pytest.mark.slow
def test_its_commands_lead_to_fewer_false_alarms_and_as_many_found(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(BACKBONES, narrow.NAME, narrow.SPEC)
    backbone = BackboneConfig(narrow.NAME, str(make_weights(tmp_path / "narrow.npz", narrow.NAME)), (1, 2))
    config = FitConfig(detector=Gaussian(channels=20), backbone=backbone, data=FitDataConfig(size=48),
                       decision=DecisionConfig(folds=1, false_alarm=0.1), batch=8, pasted=0, devices=1)  # fmt: skip
    jaxqc.fit(config, make_boards(tmp_path / "BOARDS"), "RUN", progress=False)
    deliver(tmp_path / "DELIVERY", 1000)
    assert main(["inspect", "--checkpoint", "RUN", "--images", "DELIVERY", "--out", "inspection", "--quiet"]) == 0
    out, back, *rest = COMMANDS
    assert main(out) == 0
    table = Path("waiting.csv").read_text("utf-8-sig")
    rows = list(csv.DictReader(table.splitlines()))
    assert len(rows) == 48
    for row in rows:
        row["verdict"] = "ok" if "good" in row["image"] else "ng"
    with open("waiting.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for command in (back, *rest):
        code = main(command)
        assert code == 0 or command[:2] == ["ledger", "drift"], command
    shown = capsys.readouterr()
    assert "48 judged pictures, 48 used: 36 good" in shown.out
    assert "17 good images of split train" in shown.err
    found = json.loads(Path("RUN_2/comparison.json").read_text())["models"]
    old, new = found["old"], found["new"]
    assert old["false_alarms"]["of"] == new["false_alarms"]["of"] >= 6
    assert old["false_alarms"]["called"] == old["false_alarms"]["of"]
    assert new["false_alarms"]["called"] <= old["false_alarms"]["called"] / 3
    assert new["found"]["called"] == new["found"]["of"] >= 2
    assert main(["verify", "RUN_2"]) == 0
