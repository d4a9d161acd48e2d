"""The packaged recipes: found by name, listed with their promises, printed and copied."""

from pathlib import Path

import pytest

from jaxqc.cli import main
from jaxqc.config import TrainConfig, load_config
from jaxqc.errors import UserError
from jaxqc.inspection.rules import GradeRules, load_rules
from jaxqc.recipes import find, packaged, promise, use

FOLDER = Path(__file__).resolve().parents[1] / "configs"


def test_every_file_of_the_checkout_is_packaged():
    assert packaged() == {file.stem: file for file in FOLDER.glob("*.py")}


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("tscarnet_sd90", r"no recipe 'tscarnet_sd90' \(did you mean 'tscarnet_sd900'\?\); `jaxqc recipes` lists them"),
        ("zzz", r"no recipe 'zzz'; `jaxqc recipes` lists them"),
        (
            "configs/wood_synthetic.py",
            r"no file configs/wood_synthetic\.py; the packaged recipe of that name is 'wood_synthetic', without",
        ),
        ("wood_synthetic.py", r"no file wood_synthetic\.py; the packaged recipe of that name"),
    ],
)
def test_unknown_ones_are_one_line(recipe, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"^--config: {message}"):
        load_config(recipe)


def test_a_file_goes_before_a_name_and_names_are_found_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find("tscarnet_sd900") == FOLDER / "tscarnet_sd900.py"
    (tmp_path / "tscarnet_sd900").write_text("")
    assert find("tscarnet_sd900") == Path("tscarnet_sd900")
    assert load_rules("inspection_rules") == GradeRules()
    with pytest.raises(UserError, match="--rules: no recipe 'inspection_rule'"):
        load_rules("inspection_rule")


def test_the_list_has_every_recipe_under_its_verb_with_its_promise(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["recipes"]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    for name, file in packaged().items():
        before, entry = shown.split(f"\n  {name}\n")
        assert before.rsplit("jaxqc ", 1)[1].startswith(f"{use(file)} NAME")
        assert " ".join(entry.split()).startswith(promise(file))
        assert len(promise(file).split()) >= 10


def test_one_is_printed_and_copied_to_be_edited(capsys, tmp_path):
    # This one takes its start from another, which a copy must find, too.
    text = (FOLDER / "tscarnet_sd900_cpu_long.py").read_text("utf-8")
    assert main(["recipes", "tscarnet_sd900_cpu_long"]) == 0
    assert capsys.readouterr().out == text
    mine = tmp_path / "mine.py"
    copy = ["recipes", "tscarnet_sd900_cpu_long", "--out"]
    assert main([*copy, str(mine)]) == 0
    assert f"next: jaxqc train --config {mine} " in capsys.readouterr().out
    assert load_config(mine) == load_config("tscarnet_sd900_cpu_long") != TrainConfig()
    mine.write_text("edited")
    assert main([*copy, str(mine)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert mine.read_text() == "edited"
    assert main([*copy, str(tmp_path / "mine")]) == 2
    assert "ends in .py" in capsys.readouterr().err
    assert main([*copy, str(tmp_path / "nowhere" / "mine.py")]) == 2
    assert "cannot be written" in capsys.readouterr().err
    assert main(["recipes", "--out", str(mine)]) == 2
    assert "name the recipe" in capsys.readouterr().err
