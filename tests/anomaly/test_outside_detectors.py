"""The worked examples of docs/develop/add_a_detector.md, from a package outside of the checkout, through every verb."""

import json
from pathlib import Path

import pytest

from tests.support.outside import install, run
from tests.test_outsiders import load, refused, succeed, through

RECIPE = """
from jaxqc.anomaly.recipe import *
{imports}

def get_config():
    return FitConfig(
        {detector}backbone=BackboneConfig("resnet18", {weights!r}, (1,)),
        data=FitDataConfig(size=48), batch=4, devices=1,
    )
"""
LOCAL = """
from dataclasses import dataclass
from acme_fre import Fre

@dataclass(frozen=True)
class Mine(Fre):
    pass
"""


def write_recipe(path: Path, weights: Path, imports: str = "", detector: str = "") -> None:
    path.write_text(RECIPE.format(imports=imports, detector=detector, weights=str(weights)))


@pytest.fixture(scope="module")
def outside(boards, weights, tmp_path_factory) -> Path:
    """A folder with fits of both detectors, used by every verb, and what was printed."""
    folder = tmp_path_factory.mktemp("outside")
    install("add_a_detector.md", folder / "site")
    write_recipe(folder / "plain.py", weights)
    write_recipe(folder / "holds.py", weights, "from acme_fre import Fre", "detector=Fre(components=8), ")
    quiet = ["--data", str(boards), "--quiet"]
    short = ["--detector.training.epochs", "2", "--detector.training.batch", "4", "--detector.width", "8"]
    commands = [
        ["fit", "--config", "holds.py", "--out", "fre", *quiet],
        ["fit", "--config", "plain.py", "--method", "fre", "--detector.components", "8", "--out", "named", *quiet],
        ["fit", "--config", "plain.py", "--method", "dfr", *short, "--out", "dfr", *quiet],
    ]
    for name in ("fre", "dfr"):
        commands += through(name, str(boards / "test"), str(boards))
        commands.append(["export", "--checkpoint", name, "--out", f"{name}-graph", "--platforms", "cpu"])
        commands.append(load(name, str(boards / "test/hole/000.png")))
    (folder / "out.txt").write_text(succeed(run(commands, folder, folder / "site")))
    return folder


def test_they_go_through_every_verb(outside: Path) -> None:
    out = (outside / "out.txt").read_text()
    assert out.count("map (56, 48)") == 2
    assert out.count("0.00e+00") >= 2, "verified on the machine that made them"
    for name, fields in (("fre", {"components": 8, "sigma": 4.0}), ("dfr", {"width": 8})):
        stored = json.loads((outside / name / "config.json").read_text())["detector"]
        assert stored["name"] == f"acme_{name}:{name.capitalize()}"
        assert stored.items() >= fields.items()
        assert (outside / f"{name}-inspected" / "report.html").is_file()
        measured = json.loads((outside / f"{name}-measured" / "evaluation.json").read_text())
        assert measured["metrics"]["image_auroc"] > 0.8
    named, held = (json.loads((outside / n / "config.json").read_text())["detector"] for n in ("named", "fre"))
    assert named == held, "an object in a recipe and a registered name are the same"
    rows = [json.loads(line) for line in (outside / "dfr/training/metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if row["kind"] == "train"]
    assert losses[-1] < losses[0]


def test_an_absent_package_is_named_and_an_export_needs_none(outside: Path, boards: Path) -> None:
    line = refused(run([["verify", "fre"]], outside))
    assert "detector acme_fre:Fre: the package 'acme_fre' is not installed" in line
    image = load("fre-graph", str(boards / "test/hole/000.png"))
    assert "map (56, 48)" in succeed(run([["verify", "fre-graph"], image], outside))


def test_a_detector_that_no_folder_can_name_or_that_lacks_parts_is_refused_at_once(outside, boards, weights) -> None:
    write_recipe(outside / "local.py", weights, LOCAL, "detector=Mine(), ")
    fit = ["fit", "--data", str(boards), "--quiet", "--out", "local", "--config"]
    line = refused(run([[*fit, "local.py"]], outside, outside / "site"))
    assert "detector: a type of no module" in line
    write_recipe(outside / "half.py", weights, "import acme_dfr", "detector=acme_dfr.ADAM, ")
    line = refused(run([[*fit, "half.py"]], outside, outside / "site"))
    assert "OptimConfig has no states, embed, begin" in line
    assert not (outside / "local").exists()
    (outside / "loose").mkdir()
    (outside / "loose" / "acme_fre.py").write_text((outside / "site" / "acme_fre.py").read_text())
    fit = ["fit", "--config", "holds.py", "--data", str(boards), "--out", "unregistered"]
    done = run([fit, ["verify", "unregistered"]], outside, outside / "loose")
    missing = 'does not register it; add the entry point NAME = "acme_fre:Fre" of the group jaxqc.detectors'
    said = [line for line in done.stderr.splitlines() if missing in line]
    assert [line.partition(":")[0] for line in said] == ["unregistered will not open", "jaxqc"]
