"""Every command in the README and the guides: cheap ones run on tiny data, costly ones are parsed to the last flag."""

import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from jaxqc.anomaly.detectors import Gaussian
from jaxqc.anomaly.fit import fit
from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig
from jaxqc.cli import main, parse
from jaxqc.config import Phase, TrainConfig, load_config
from jaxqc.data.readers import open_dataset
from jaxqc.export.writing import write
from jaxqc.overrides import override
from jaxqc.semi.recipe import SemiDataConfig
from jaxqc.semi.train import train_semi
from jaxqc.weights.known import KNOWN
from tests.support.few_labels import recipe as recipe_of_few
from tests.support.few_labels import use_tiny, write_images
from tests.support.foreign_tfds import pets
from tests.support.tiny_boards import make_boards, make_weights
from tests.support.tiny_run import plates, recipe, run_folder, tiny_network  # noqa: F401 - fixtures

ROOT = Path(__file__).resolve().parents[1]
GUIDES = ("README.md", "docs/load_a_checkpoint.md", "docs/inspect_a_delivery.md")
PAGES = {name: (ROOT / name).read_text(encoding="utf-8") for name in GUIDES}
BLOCKS = [block for page in PAGES.values() for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL)]
LINES = [line for block in BLOCKS for line in block.splitlines() if line.strip() and not line.startswith("#")]
COMMANDS = list(dict.fromkeys(LINES))
RUN = ("data check", "data records", "data split", "data synthetic", "data tfds", "evaluate", "export", "inspect",
       "ledger lots", "predict", "verify")  # fmt: skip
"""Verbs that are cheap enough to be run."""
RECIPE_OF = {"train": TrainConfig, "fit": FitConfig}


@pytest.fixture(scope="module")
def foreign(tmp_path_factory) -> Path:
    return pets(tmp_path_factory.mktemp("foreign"), np.random.default_rng(0))[0]


@pytest.fixture(scope="module")
def tiles(tmp_path_factory) -> tuple[Path, Path]:
    """A data set in MVTec AD's layout and a fit to it."""
    folder = tmp_path_factory.mktemp("normals")
    boards, weights = make_boards(folder / "boards"), make_weights(folder / "resnet18.npz")
    backbone = BackboneConfig("resnet18", str(weights), (1, 2))
    config = FitConfig(
        backbone=backbone, data=FitDataConfig(size=48), gaussian=Gaussian(channels=20), batch=8, devices=1
    )
    return boards, fit(config, open_dataset(boards), folder / "fit", progress=False).folder or folder


@pytest.fixture(scope="module")
def segments(tmp_path_factory) -> tuple[Path, Path, Path]:
    """A segmentation set, lists of it, and a run on them."""
    folder = tmp_path_factory.mktemp("segments")
    data, lists = write_images(folder / "set", {"any": 24}), folder / "lists"
    assert main(["data", "split", str(data), "--out", str(lists), "--quiet"]) == 0
    with pytest.MonkeyPatch.context() as patch:
        use_tiny(patch)
        few = SemiDataConfig(splits=str(lists))
        train_semi(
            recipe_of_few("supervised", phases=(Phase(1, 28, 4),), views=few), data, folder / "run", progress=False
        )
    return data, lists, folder / "run"


@pytest.fixture(scope="module")
def inspected(tiles, tmp_path_factory) -> Path:
    """An inspection of the unseen boards."""
    folder = tmp_path_factory.mktemp("inspected") / "boards"
    assert (
        main(
            [
                "inspect",
                "--checkpoint",
                str(tiles[1]),
                "--images",
                str(tiles[0] / "test"),
                "--out",
                str(folder),
                "--quiet",
            ]
        )
        == 0
    )
    return folder


@pytest.fixture(scope="module")
def exported(run_folder, tmp_path_factory) -> Path:
    """A StableHLO export of the finished run."""
    folder = tmp_path_factory.mktemp("exported") / "first"
    write(run_folder, folder, platforms=("cpu",))
    return folder


def words(command: str) -> list[str]:
    """A command's words without comments and leading variables."""
    found = shlex.split(command, comments=True)
    while re.match(r"[A-Z_]+=", found[0]):
        found.pop(0)
    return found


def test_there_are_commands():
    assert len(COMMANDS) >= 15
    assert {words(c)[0] for c in COMMANDS} <= {"make", "jaxqc", "pip", "python", "bash", "sbatch"}


@pytest.mark.parametrize("command", [c for c in COMMANDS if words(c)[0] == "jaxqc"])
def test_jaxqc_commands(command, request, run_folder, plates, foreign, tmp_path, monkeypatch, capsys):
    """`DIR` is a data set, `FOREIGN` a TFDS set of other origin, `NORMALS` one in MVTec AD's layout, `runs/first` a
    finished run, `runs/tiles` a fit and `SEGMENTS` a segmentation set.

    Training and fitting are parsed with their recipes, downloads and conversions parsed, the rest is run.
    """
    _, *arguments = words(command)
    monkeypatch.chdir(ROOT)
    if "--help" in arguments:
        with pytest.raises(SystemExit) as e:
            main(arguments)
        assert e.value.code == 0
        return
    args = parse(arguments)
    verb = args.name
    if verb in RECIPE_OF:
        config = load_config(args.config, RECIPE_OF[verb])
        assert (override(config, args.flags) == config) == (not args.flags)
        return
    if verb in ("weights", "convert"):
        assert set(getattr(args, "names", [])) | {getattr(args, "file", "resnet18")} <= set(KNOWN)
        return
    assert verb in RUN
    stand_in = {"DIR": str(plates), "FOREIGN": str(foreign), "runs/first": str(run_folder)}
    if {"NORMALS", "runs/tiles", "runs/boards"} & set(arguments) or verb == "data check":
        boards, fit = request.getfixturevalue("tiles")
        stand_in |= {"NORMALS": str(boards), "runs/tiles": str(fit)}
        stand_in |= {"BOARDS": str(boards), "BOARDS/test": str(boards / "test"), "runs/boards": str(fit)}
    if "inspection/ledger.sqlite" in arguments:
        stand_in["inspection/ledger.sqlite"] = str(request.getfixturevalue("inspected") / "ledger.sqlite")
    if verb == "verify" and "exports/first" in arguments:
        stand_in["exports/first"] = str(request.getfixturevalue("exported"))
    if {"SEGMENTS", "runs/few"} & set(arguments):
        data, lists, run = request.getfixturevalue("segments")
        stand_in |= {"SEGMENTS": str(data), "splits/16": str(lists), "runs/few": str(run)}
        use_tiny(monkeypatch)
    monkeypatch.chdir(tmp_path)
    assert main([stand_in.get(a, a) for a in arguments]) == 0


@pytest.mark.parametrize("command", [c for c in COMMANDS if words(c)[0] == "make"])
def test_make_targets_exist(command):
    done = subprocess.run(["make", "-n", *words(command)[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", [c for c in COMMANDS if words(c)[0] in ("bash", "sbatch", "python")])
def test_scripts_and_benchmarks_exist(command):
    program, *arguments = words(command)
    if program == "python" and arguments[0].startswith("examples/"):
        assert (ROOT / arguments[0]).is_file()
    elif program == "python":
        assert arguments[0] == "-m"
        done = subprocess.run(
            [sys.executable, "-m", arguments[1], "--help"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        for flag in (a for a in arguments if a.startswith("--")):
            assert flag in done.stdout
    else:
        subprocess.run(["bash", "-n", arguments[0]], cwd=ROOT, check=True)


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("python examples/")])
def test_examples_run(command, run_folder, plates, exported, monkeypatch, capsys):
    """In this process, which knows the run's tiny network."""
    stand_in = {"runs/first": run_folder, "exports/first": exported}
    stand_in |= {"IMAGES": plates / "Source Images", "MASKS": plates / "Ground truth"}
    _, script, *arguments = words(command)
    monkeypatch.setattr(sys, "argv", [script, *(str(stand_in.get(a, a)) for a in arguments)])
    runpy.run_path(str(ROOT / script), run_name="__main__")
    shown = capsys.readouterr().out
    assert "30 images" in shown or "largest difference from the golden output" in shown


def test_slurm_script_gives_the_training_script_what_it_takes(tmp_path, monkeypatch):
    """The job script with `srun` that only prints: its words must be a command that the CLI parses."""
    fake = tmp_path / "srun"
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    command = ["bash", "scripts/slurm/train.sbatch", "configs/tscarnet_sd900.py", "a dir", "runs/x", "--optim.lr", ".1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    _, _, script, *arguments = done.stdout.splitlines()
    assert (ROOT / script).is_file()
    args = parse(["train", *arguments])
    assert (args.data, args.out, args.flags) == ("a dir", "runs/x", ["--optim.lr", ".1"])
    assert subprocess.run(command[:3], cwd=ROOT, capture_output=True, check=False).returncode != 0


def test_installation_commands_name_real_extras():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for command in (c for c in COMMANDS if words(c)[0] == "pip"):
        assert "-c constraints.txt" in command
        for extra in re.findall(r"\[(.*?)\]", command):
            assert set(extra.split(",")) <= set(project["optional-dependencies"])


def test_python_examples_run(run_folder, plates):
    for name, page in PAGES.items():
        for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
            code = block.replace('"runs/first"', repr(str(run_folder))).replace('"DIR"', repr(str(plates)))
            exec(compile(code, name, "exec"), {})


def test_links_and_pictures_exist():
    for name, page in PAGES.items():
        for target in re.findall(r"\]\(([^)#]+)\)", page):
            assert ((ROOT / name).parent / target).exists(), f"{name} links to {target}, which is not there"


def test_ci_runs_the_readmes_test_command():
    assert "make test" in COMMANDS[1] or any(c.startswith("make test") for c in COMMANDS)
    assert "make test" in (ROOT / ".ci" / "run").read_text()
