"""Configurations: every recipe loads, round-trips, and every mistake is one line with a suggestion."""

import ast
import dataclasses
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxqc.anomaly.detectors import Gaussian, PatchCore
from jaxqc.anomaly.recipe import DecisionConfig, FitConfig, from_stored
from jaxqc.config import (
    AugmentConfig,
    DataConfig,
    ModelConfig,
    OptimConfig,
    Phase,
    TrainConfig,
    load_config,
)
from jaxqc.errors import UserError
from jaxqc.fields import from_dict, leaves, to_dict, validate
from jaxqc.inspection.rules import GradeRules
from jaxqc.overrides import override
from jaxqc.recipes import USES, promise, use

RECIPES = sorted((Path(__file__).resolve().parents[1] / "configs").glob("*.py"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_recipes_load_and_say_how_to_run_them(path):
    kinds = [kind for kind in (TrainConfig, FitConfig, GradeRules) if f"-> {kind.__name__}" in path.read_text()]
    config = load_config(path, *kinds)
    assert from_dict(json.loads(json.dumps(to_dict(config))), type(config)) == config
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    assert re.search(rf"^    (jaxqc|python) .*\b{path.stem}\b", text, re.MULTILINE) or f"configs/{path.name}" in text
    assert promise(path) == " ".join(text.partition("\n\n")[0].split())
    assert type(config).__name__ in [kind for kind, way in USES.items() if way == use(path)]


@settings(deadline=None, max_examples=50)  # importing tyro falls into the first example
@given(
    st.floats(1e-6, 1.0),
    st.integers(0, 2**31),
    st.sampled_from(["sgd", "adamw", "adam"]),
    st.booleans(),
    st.lists(st.tuples(st.floats(0.1, 500.0), st.integers(1, 20), st.integers(1, 64)), min_size=1, max_size=4),
)
def test_flags_say_what_the_fields_say(lr, seed, name, flip, phases):
    rows = [{"epochs": e, "size": 32 * s, "batch": b} for e, s, b in phases]
    flags = ["--optim.lr", repr(lr), f"--seed={seed}", "--optim.name", name, "--phases", json.dumps(rows)]
    flags += ["--augment.flip-vertical" if flip else "--augment.no-flip-vertical"]
    expected = TrainConfig(
        optim=OptimConfig(name=name, lr=lr),
        augment=AugmentConfig(flip_vertical=flip),
        seed=seed,
        phases=tuple(Phase(**row) for row in rows),
    )
    assert override(TrainConfig(), flags) == expected
    assert from_dict(to_dict(expected), TrainConfig) == expected


@pytest.mark.parametrize("flags", ["--backbone.layers 1 2", "--backbone.layers 1,2", "--backbone.layers=1,2 --seed 3"])
def test_lists_take_commas_or_spaces(flags):
    assert override(FitConfig(), flags.split()).backbone.layers == (1, 2)


def test_a_detector_is_chosen_by_name_and_its_fields_are_flags():
    config = override(FitConfig(), ["--detector.channels", "7", "--batch", "3"])
    assert config == FitConfig(detector=Gaussian(channels=7), batch=3)
    assert override(config, ["--method", "gaussian"]).detector == Gaussian(), "that class's defaults"
    flags = ["--detector.coreset", "0.2", "--method=patchcore", "--seed", "1"]
    assert override(config, flags) == FitConfig(detector=PatchCore(coreset=0.2), batch=3, seed=1)
    trained = override(config, ["--method", "stfpm", "--detector.training.optim.lr", "0.1", "--detector.fuse", "sum"])
    assert (trained.detector.fuse, trained.detector.training.optim.lr) == ("sum", 0.1)
    assert not trained.detector.training.optim.nesterov
    for flags, words in (
        (["--method", "patchcor"], "did you mean 'patchcore'"),
        (["--method"], "give a name; one of gaussian, "),
        (["--gaussian.eps", "0.1"], r"--method gaussian --detector\.eps"),
        (["--method", "patchcore", "--detector.channels", "3"], "unknown argument --detector.channels"),
        (["--detector.eps", "0"], "detector: eps=0.0 must be above 0"),
        (["--detector.eps", "x"], "detector.eps"),
        (["--detector.window", "-1"], "detector.window=-1 must be finite and not negative"),
        (["--detector.window", "4", "--detector.top", "17"], "more than the 16 cells of a window: lower it"),
    ):
        with pytest.raises(UserError, match=words):
            override(FitConfig(), flags)
    for wrong in ("gaussian", Gaussian, None):
        with pytest.raises(UserError, match=r"detector=.* is not a value of a dataclass such as Gaussian, PatchCore"):
            validate(FitConfig(detector=wrong))


def test_a_recipe_from_before_detector_was_a_field_loads():
    old = to_dict(FitConfig(seed=4))
    old |= {"method": "patchcore", "gaussian": {"channels": 3}, "patchcore": {"width": 7}, "spade": {}}
    del old["detector"]
    assert from_stored(old, "fit") == FitConfig(detector=PatchCore(width=7), seed=4)
    for name in ("folds", "unit", "minutes"):  # before the held-out images were fitted at last
        del old["decision"][name]
    assert from_stored(old, "fit").decision == DecisionConfig(folds=1, unit="group")
    assert from_stored(to_dict(FitConfig(detector=Gaussian(3))), "fit").detector == Gaussian(3)
    with pytest.raises(UserError, match=r"fit\.detector: no detector 'padim'"):
        from_stored(old | {"method": "padim"}, "fit")


def test_flags_reach_every_field():
    for name, kind, value in leaves(TrainConfig()):
        flag = f"--{name.replace('_', '-')}"
        other = value * 2 or {int: 2, float: 0.5}[kind] if kind in (int, float) else None
        if kind is bool:
            flags = [flag]
        elif kind in (int, float):
            other = 64 if name == "data.tile" else other  # one below 16 pixels is refused
            flags = [flag, str(other)]
        else:
            value = {"data.range": (0.0, 4095.0), "data.channels": (4, 2, 1)}.get(name, value)
            flags = [flag, ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]
        needed = ["--data.tile", "64"] if name == "data.overlap" else []
        base = override(TrainConfig(), needed)
        changed = dict((n, v) for n, _, v in leaves(override(base, flags)))
        assert changed[name] == (True if kind is bool else other if other is not None else value)
        assert {n for n, _, v in leaves(base) if changed[n] != v} <= {name}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--optim.lrr", "1"], r"unknown argument --optim\.lrr \(did you mean '--optim\.lr'\?\)"),
        (["--optim.lr", "fast"], r"--optim\.lr.*'fast'"),
        (["--optim.lr"], r"--optim\.lr"),
        (["--model.dtype", "float16"], r"float16.*bfloat16"),
        (["--seed", "-1"], r"seed=-1 must be finite and not negative"),
        (["--phases.0.size", "0"], r"phases\.0\.size=0 must be above 0"),
        (["--phases", "[]"], r"phases is empty"),
        (["--phases", "{}"], r"not a list"),
        (["--phases", "soon"], r"not JSON"),
        (["--phases", '[{"epoch": 1}]'], r"unknown key 'epoch' \(did you mean 'epochs'\?\)"),
        pytest.param(
            ["--phases", '[{"epochs": "many"}]'], r"epochs='many' is not of type float", marks=pytest.mark.misuse
        ),
        (["--optim.accumulate", "3"], r"phases\.0\.batch=16 is not a multiple"),
        (["stray"], r"unknown argument stray"),
    ],
)
def test_bad_flags_are_one_line(flags, message):
    with pytest.raises(UserError, match=message) as e:
        override(TrainConfig(), flags)
    assert "\n" not in str(e.value)


@pytest.mark.misuse
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", r"no attribute 'get_config'.*get_config\(\) ->"),
        ("def get_config(: pass", "SyntaxError"),
        ("import nothing_of_that_name", "nothing_of_that_name"),
        ("def get_config(): return 3", "returned int"),
        (
            "def get_config(): return TrainConfig(optim=OptimConfig(powr=1.0))",
            r"OptimConfig has no field 'powr' \(did you",
        ),
        ("def get_config(): return TrainConfig(sede=1)", r"TrainConfig has no field 'sede' \(did you mean 'seed'\?\)"),
        (
            "def get_config(): return TrainConfig(optim=OptimConfig(name='sdg'))",
            r"optim\.name='sdg' \(did you mean 'sgd'",
        ),
        ("def get_config(): return TrainConfig(optim=OptimConfig(lr='x'))", r"optim\.lr='x' is not of type float"),
        ("def get_config(): return TrainConfig(seed=True)", r"seed=True is not of type int"),
        ("def get_config(): return TrainConfig(model='tscarnet')", r"model='tscarnet' is not a ModelConfig"),
        ("def get_config(): return TrainConfig(phases=(3,))", r"phases\.0=3 is not a Phase"),
        ("def get_config(): return TrainConfig(phases=3)", r"phases"),
    ],
)
def test_bad_config_files_are_one_line(body, message, tmp_path):
    file = tmp_path / "recipe.py"
    file.write_text("from jaxqc.config import *\n" + body)
    with pytest.raises(UserError, match=message) as e:
        load_config(file)
    assert "\n" not in str(e.value)
    assert "recipe.py" in str(e.value)


def test_absent_config_suggests_a_neighbour(tmp_path):
    (tmp_path / "tscarnet.py").write_text("")
    with pytest.raises(UserError, match=r"did you mean 'tscarnet\.py'"):
        load_config(tmp_path / "tscarnt.py")
    with pytest.raises(UserError, match="not a Python file"):
        load_config(_touch(tmp_path / "recipe.yaml"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"modle": {}}, r"unknown key 'modle' \(did you mean 'model'\?\)"),
        ({"model": {"depth": 3}}, r"config\.model: unknown key 'depth'"),
        ({"phases": [{"sizes": 3}]}, r"phases\[0\]: unknown key 'sizes'"),
        ({"phases": [{}]}, "epochs"),
    ],
)
def test_bad_stored_configs_name_the_key(values, message):
    with pytest.raises(UserError, match=message):
        from_dict(values, TrainConfig)


def test_defaults_are_valid_and_frozen():
    config = TrainConfig(model=ModelConfig(), data=DataConfig())
    assert validate(config) is config
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 1  # type: ignore[misc]


def _touch(path: Path) -> Path:
    path.write_text("")
    return path
