"""A detector from outside as an object in a recipe, and the ways in which one cannot be stored by a name."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from jaxqc.anomaly.detectors import Spade
from jaxqc.anomaly.fit import fit
from jaxqc.data.readers import open_dataset
from jaxqc.errors import UserError
from tests.support.outside import install, run
from tests.test_outsiders import succeed

RECIPE = """
from jaxqc.anomaly.recipe import *
{imports}

def get_config():
    return FitConfig(
        {detector}backbone=BackboneConfig("resnet18", "synthetic-resnet18", (1,)),
        data=FitDataConfig(size=48), decision=DecisionConfig(folds=1), batch=4, devices=1, pasted=0,
    )
"""
LOCAL = """
from dataclasses import dataclass
from acme_fre import Fre

@dataclass(frozen=True)
class Mine(Fre):
    pass
"""


def write_recipe(path: Path, imports: str = "", detector: str = "") -> None:
    path.write_text(RECIPE.format(imports=imports, detector=detector))


def test_a_recipe_holds_a_detector_and_every_detector_must_be_named(boards, tmp_path) -> None:
    site = install("add_a_detector.md", tmp_path / "site")
    write_recipe(tmp_path / "holds.py", "from acme_fre import Fre", "detector=Fre(components=8), ")
    write_recipe(tmp_path / "plain.py")
    write_recipe(tmp_path / "local.py", LOCAL, "detector=Mine(), ")
    write_recipe(tmp_path / "half.py", "import acme_bottleneck", "detector=acme_bottleneck.ADAM, ")
    data = ["--data", str(boards), "--quiet"]
    commands = [
        ["fit", "--config", "holds.py", "--out", "held", *data],
        ["fit", "--config", "plain.py", "--method", "fre", "--detector.components", "8", "--out", "named", *data],
        ["verify", "held"],
        ["fit", "--config", "local.py", "--out", "local", *data],
        ["refused", "fit", "--config", "half.py", "--out", "half", *data],
    ]
    done = run(commands, tmp_path, site)
    assert "0.00e+00" in succeed(done)
    held, named = (json.loads((tmp_path / n / "config.json").read_text())["detector"] for n in ("held", "named"))
    assert held == named == {"name": "acme_fre:Fre", "components": 8, "sigma": 4.0}
    lines = done.stderr.splitlines()
    assert [line.partition(":")[0] for line in lines if "will not open" in line] == ["local will not open"]
    assert "OptimConfig has no states, embed, begin" in lines[-1]
    assert not (tmp_path / "half").exists()

    # Code that no installed package registers still fits, and is told at once that its folder will not open.
    loose = tmp_path / "loose"
    loose.mkdir()
    (loose / "acme_fre.py").write_text((site / "acme_fre.py").read_text())
    done = run([["fit", "--config", "holds.py", "--out", "unregistered", *data], ["verify", "unregistered"]],
               tmp_path, loose)  # fmt: skip
    missing = 'does not register it; add the entry point NAME = "acme_fre:Fre" of the group jaxqc.detectors'
    said = [line.partition(":")[0] for line in done.stderr.splitlines() if missing in line]
    assert said == ["unregistered will not open", "jaxqc"]


def test_a_class_that_no_module_has_is_refused_at_once(recipe, boards, tmp_path) -> None:
    @dataclass(frozen=True)
    class Here(Spade):
        pass

    with pytest.raises(UserError, match="detector: a type of no module"):
        fit(replace(recipe, detector=Here()), open_dataset(boards), tmp_path / "fit", progress=False)
    assert not (tmp_path / "fit").exists()
