"""The page for those who have never trained a model, word for word, on pictures like KolektorSDD's."""

import json
from pathlib import Path

import pytest

from jaxqc.cli import main
from tests.support.commutators import write
from tests.support.pages import PAGES, commands, words

COMMANDS = [words(c) for c in commands(PAGES["docs/start/inspect_a_delivery.md"]) if c.startswith("jaxqc")]


def test_the_page_has_no_setting_in_its_steps():
    steps = [" ".join(c) for c in COMMANDS]
    assert "jaxqc fit --data GOOD --out RUN" in steps
    assert "jaxqc inspect --checkpoint RUN --images DELIVERY --out inspection" in steps


@pytest.mark.slow  # two minutes on a core: a dozen graphs, 200 pictures
def test_its_commands_find_most_cracks_and_call_few_good_pieces(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    size = (316, 126)
    write(tmp_path / "GOOD", 100, seed=1, size=size)
    for lot in range(3):
        write(tmp_path / "DELIVERY" / f"lot{lot}", 20, seed=10 + lot, size=size)
        write(tmp_path / "DELIVERY" / f"lot{lot}", 8, seed=20 + lot, cracked=True, size=size)
    for _, *command in COMMANDS:
        if command[0] in ("fit", "inspect") or command[:2] in (["data", "check"], ["ledger", "lots"]):
            assert main(command) == 0, command
    shown = capsys.readouterr()
    assert "chosen: " in shown.err
    meta = json.loads(Path("RUN/meta.json").read_text())
    assert meta["choice"]["chosen"] in shown.err
    found = [json.loads(line) for line in Path("inspection/findings.jsonl").read_text().splitlines()]
    called = {kind: [f["verdict"] != "pass" for f in found if Path(f["image"]).stem.startswith(kind)]
              for kind in ("good", "cracked")}  # fmt: skip
    assert (len(called["good"]), len(called["cracked"])) == (60, 24)
    assert sum(called["cracked"]) >= 14
    assert sum(called["good"]) <= 5
