"""Flags that are of no use for the kind of model, data or work at hand: one line that names them, and exit code 2."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from jaxqc import api, cli, kinds
from jaxqc.cli import fit, main, parse, train
from jaxqc.cli.recipe_flags import choice_flags, fields_of, recipe_flags
from jaxqc.errors import UserError
from jaxqc.fields import choices, doc_of, leaves

SALIENCY, SEGMENTATION = "goes with saliency, and this is", "goes with segmentation, and this is"
MEASURED = "goes with anomaly or saliency, and this is"


@pytest.mark.parametrize(
    ("flags", "kind", "message"),
    [
        ("evaluate --protocol seed", "anomaly", f"--protocol: {SALIENCY} anomaly"),
        (
            "evaluate --mask-key m",
            "segmentation",
            f"--mask-key: {MEASURED} segmentation",
        ),
        ("evaluate --foreground=1,3", "segmentation", f"--foreground: {MEASURED} segmentation"),
        ("evaluate --normal A", "segmentation", f"--normal: {MEASURED} segmentation"),
        ("evaluate --layout auto", "segmentation", f"--layout: {MEASURED} segmentation"),
        ("evaluate --sizes 96 64", "saliency", f"--sizes: {SEGMENTATION} saliency"),
        ("evaluate --splits lists", "anomaly", f"--splits: {SEGMENTATION} anomaly"),
        ("evaluate --window", "saliency", f"--window: {SEGMENTATION} saliency"),
        ("evaluate --image-key i", "saliency", "--image-key: goes with a TFDS set, and data is none"),
        ("predict --window", "saliency", f"--window: {SEGMENTATION} saliency"),
        ("predict --overlays pictures", "anomaly", f"--overlays: {SEGMENTATION} anomaly"),
    ],
)
def test_a_flag_of_another_kind_of_model(flags, kind, message, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(api, "load", lambda *_, **__: SimpleNamespace(kind=kind))
    monkeypatch.chdir(tmp_path)
    verb, *rest = flags.split()
    source = "--data" if verb == "evaluate" else "--images"
    assert main([verb, "--checkpoint", "runs/x", source, "data", *rest]) == 2
    assert capsys.readouterr().err == f"jaxqc: {message}; leave it out\n"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("data check DIR --mask-key m", "--mask-key: goes with a TFDS set, and DIR is none"),
        ("data records DIR out --label-key l", "--label-key: goes with a TFDS set"),
        ("data split DIR --out lists --check --seed 0", "--seed: --check reads lists that are there"),
        ("export --checkpoint x --out y --format onnx --platforms cpu", "--platforms: goes with stablehlo"),
        ("ledger outcomes --ledger x --before a b --after c d --rules r.py", "--rules: goes with rates by grade"),
        ("weights --mirror https://example.org", "--mirror: goes with names to download"),
    ],
)
def test_a_flag_of_other_work(command, message, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(command.split()) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("recipe", [*fit.kinds(), *train.kinds()], ids=lambda recipe: type(recipe).__name__)
def test_every_flag_of_a_recipe_has_its_fields_docstring(recipe):
    for name, _, _ in leaves(recipe):
        assert doc_of(recipe, name).endswith("."), name
    for field, choice in choices(type(recipe)).items():
        for kind in choice.own.values():
            assert all(doc_of(kind(), name) for name, _, _ in leaves(kind())), (field, kind)


def help_of(capsys, *arguments):
    with pytest.raises(SystemExit):
        main([*arguments, "--help"])
    return capsys.readouterr().out


def test_help_names_all_detectors_and_shows_the_fields_of_one(capsys):
    text = help_of(capsys, "fit")
    names = " ".join(text.partition("--method  NAME")[2].split())
    assert all(name in names for name in ("gaussian", "stfpm", "draem", "goad"))
    assert "  --detector.coreset  " not in text
    assert "Fields of gaussian " in text
    assert len(text.splitlines()) < 300
    for given in (["--method", "patchcore"], ["--method=patchcore"]):
        assert "  --detector.coreset  " in help_of(capsys, "fit", *given)


def test_help_fits_eighty_columns(capsys):
    with pytest.raises(SystemExit):
        main(["fit", "--help"])
    _, fields = capsys.readouterr().out.split("Any field of the recipe is a flag:\n")
    assert "  --data.size  (default: 224)\n      Pixels to which images are resized: the side of a square, or" in fields
    assert "must not be\n      what is tested on. One of quantile, f1.\n" in fields
    assert max(map(len, fields.splitlines())) <= 80


def test_a_folder_with_one_checkpoint_has_no_last(tmp_path):
    (tmp_path / "state").mkdir()
    with pytest.raises(UserError, match="--which: 'last' goes with training runs"):
        kinds.load(tmp_path, "last")


def test_flags_are_known_as_typed_and_those_of_the_recipe_are_left_to_it():
    args = parse(["train", "--config", "x", "--data=y", "--optim.lr", "1", "--skip-bad"])
    assert args.name == "train"
    assert args.given == ["--config", "--data", "--optim.lr", "--skip-bad"]
    assert args.flags == ["--optim.lr", "1"]


OTHERS = {"--version", "--data-binary"}
"""The program's own, and one of curl's."""


def test_every_flag_that_a_message_advises_is_there():
    """Flags of every verb and of every recipe's fields. A name that ends in a point begins one, and --objective has one
    for each term."""
    _, parsers = cli._parsers()
    known = {flag for parser in parsers.values() for action in parser._actions for flag in action.option_strings}
    for recipe in (*fit.kinds(), *train.kinds()):
        known |= {*recipe_flags(fields_of(recipe)), *choice_flags(recipe)}
        for field, choice in choices(type(recipe)).items():
            known |= {
                f"--{field}.{name}".replace("_", "-") for own in choice.own.values() for name, *_ in leaves(own())
            }
    root, advised = Path(cli.__file__).parents[1], set[str]()
    for file in root.rglob("*.py"):
        if file.parent != root / "experiments":  # programs with flags of their own
            advised |= set(re.findall(r"(?<![\w-])--[a-z][\w.-]*\w(?![\w.-]*\.[\"{])", file.read_text("utf-8")))
    assert len(advised) > 50
    assert {flag for flag in advised - known if not flag.startswith("--objective.")} == OTHERS
