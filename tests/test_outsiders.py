"""The worked examples of docs/develop, run from packages outside of the checkout through every verb."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxqc.cli import main, parse
from tests.support.few_labels import write_images
from tests.support.outside import LONGEST, PAGES, install, modules, run
from tests.support.pages import PAGES as TEXTS
from tests.support.pages import WORKED_EXAMPLES, commands, words

RECIPE = """
from acme_unet import UNET
from jaxqc.config import *

def get_config():
    return TrainConfig(
        model=ModelConfig(name=UNET, width=0.25), data=DataConfig(protocol="index"), devices=1, steps_per_call=2,
        phases=(Phase(epochs=2, size=40, batch=8),), optim=OptimConfig(name="adamw", lr=1e-2, warmup_epochs=0.0),
        eval_size=40, eval_batch=4, eval_every_epochs=1.0, checkpoint_every_epochs=1.0,
    )
"""
QUIET = ["--quiet"]


def through(checkpoint: str, images: str, data: str, *more: str) -> list[list[str]]:
    """Every verb that uses a trained model."""
    use = ["--checkpoint", checkpoint]
    return [
        ["evaluate", *use, "--data", data, "--out", f"{checkpoint}-measured", "--worst", "2", *QUIET, *more],
        ["predict", *use, "--images", images, "--out", f"{checkpoint}-maps", *QUIET],
        ["inspect", *use, "--images", images, "--out", f"{checkpoint}-inspected", *QUIET],
        ["verify", checkpoint],
    ]


def load(path: str, images: str) -> str:
    """A piece of Python that loads a model, uses it on an image of a folder, and prints the shape of what it gives."""
    return (
        "import jaxqc, numpy as np\nfrom pathlib import Path\nfrom PIL import Image\n"
        f"image = next(file for file in sorted(Path({images!r}).rglob('*.*')) if file.is_file())\n"
        f"found = jaxqc.load({path!r}).predict(np.asarray(Image.open(image).convert('L')))\n"
        f"print('map of', Path({path!r}).name, np.asarray(found).shape)\n"
    )


def succeed(done) -> str:
    """Its output, of a process that did all it was to do."""
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def refused(done) -> str:
    """The one line that a process ended with."""
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[0]


@pytest.mark.parametrize("page", sorted(p.name for p in PAGES.glob("add_*.md")))
def test_an_example_is_short(page: str) -> None:
    code = modules(page)
    assert code
    for text in code.values():
        assert sum(bool(line.strip()) for line in text.splitlines()) <= LONGEST


def test_the_commands_of_the_examples_are_parsed() -> None:
    found = [line for name, text in TEXTS.items() if name.startswith(WORKED_EXAMPLES) for line in commands(text)]
    assert len(found) >= 8
    for command in found:
        program, *arguments = words(command)
        assert program == "jaxqc"
        assert parse(arguments).name == arguments[0] or arguments[:2] == ["data", "check"]


def write_dagm(folder: Path, count: int) -> Path:
    """A class of DAGM 2007: so many images a part, every other one with a bright square and its label."""
    rng = np.random.default_rng(0)
    for part in ("Train", "Test"):
        (folder / part / "Label").mkdir(parents=True)
        for i in range(count):
            image, mask = rng.normal(120, 10, (48, 48)), np.zeros((48, 48), np.uint8)
            if i % 2:
                image[8:20, 8 + i : 20 + i], mask[8:20, 8 + i : 20 + i] = 220, 255
                Image.fromarray(mask).save(folder / part / "Label" / f"{i:04}_label.PNG")
            Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / part / f"{i:04}.PNG")
    return folder


@pytest.fixture(scope="module")
def unet(tmp_path_factory) -> Path:
    """A folder with the U-Net's run on data of the page's reader, by a recipe that holds the network itself."""
    folder = tmp_path_factory.mktemp("unet")
    install("add_a_network.md", folder / "site")
    install("add_a_reader.md", folder / "site")
    (folder / "recipe.py").write_text(RECIPE)
    write_dagm(folder / "Class1", 16)
    shutil.copytree(folder / "Class1" / "Test", folder / "photos", ignore=shutil.ignore_patterns("Label"))
    train = ["train", "--config", "recipe.py", "--data", "Class1", "--data.layout", "dagm", "--out", "run", *QUIET]
    commands = [
        ["data", "check", "Class1", "--layout", "dagm"],
        [*train, "--objective.dice", "0.5"],
        [*train, "--objective.dice", "0.5", "--model.name", "small_unet"],  # the same run, by the registered name
        *through("run", "photos", "Class1"),
        ["export", "--checkpoint", "run", "--out", "graph", "--platforms", "cpu"],
        load("run", "photos"),
    ]
    done = run(commands, folder, folder / "site")
    (folder / "out.txt").write_text(succeed(done))
    return folder


def test_a_network_goes_through_every_verb(unet: Path) -> None:
    config = json.loads((unet / "run" / "config.json").read_text())
    assert config["model"]["name"] == "acme_unet:UNET"
    assert config["objective"] == {"class": "acme_unet:CrossEntropyAndDice", "cross_entropy": 1.0, "dice": 0.5}
    assert json.loads((unet / "run" / "meta.json").read_text())["objective"] == config["objective"]
    rows = [json.loads(line) for line in (unet / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [row for row in rows if row["kind"] == "train"]
    assert {"loss_bce", "loss_dice"} <= set(losses[0])
    assert losses[-1]["loss"] == pytest.approx(losses[-1]["loss_bce"] + 0.5 * losses[-1]["loss_dice"], rel=1e-4)
    assert losses[-1]["loss"] < losses[0]["loss"]
    out = (unet / "out.txt").read_text()
    assert "0.00e+00" in out, "verified on the machine that made it"
    assert "map of run (48, 48)" in out
    assert len(list((unet / "run-maps").rglob("*.png"))) == 16
    assert (unet / "run-inspected" / "report.html").is_file()


def test_a_reader_goes_through_the_verbs_of_data(unet: Path) -> None:
    out = (unet / "out.txt").read_text()
    assert re.search(r"good\W+8\W+8\W+16", out), out
    assert json.loads((unet / "run" / "config.json").read_text())["data"]["layout"] == "acme_dagm:DAGM"
    measured = json.loads((unet / "run-measured" / "evaluation.json").read_text())
    assert (measured["images"], measured["images_by_class"]) == (16, {"good": 8, "defect": 8})


def test_code_that_is_not_registered_is_not_imported(unet: Path) -> None:
    """A run folder must not choose what is imported."""
    copy = unet / "unregistered"
    copy.mkdir()
    (copy / "acme_unet.py").write_text((unet / "site" / "acme_unet.py").read_text())
    line = refused(run([["verify", "run"]], unet, copy))
    assert 'does not register it; add the entry point NAME = "acme_unet:UNET" of the group jaxqc.networks' in line


@pytest.fixture(scope="module")
def cutmix(tmp_path_factory) -> Path:
    """A folder with the method's run."""
    folder = tmp_path_factory.mktemp("cutmix")
    install("add_a_method.md", folder / "site")
    write_images(folder / "data", {"labeled": 4, "unlabeled": 8, "select": 4, "val": 4}, ((32, 32),))
    phases = '[{"epochs": 1, "size": 32, "batch": 4}]'
    small = ["--layers", "2", "--hidden", "8", "--devices", "1", "--phases", phases]
    commands = [
        ["train", "--config", "site/acme_cutmix.py", "--data", "data", "--out", "run", *small, *QUIET],
        "from jaxqc.semi.recipe import preset; import acme_cutmix; assert preset('cutmix') == acme_cutmix.CUTMIX",
    ]
    succeed(run(commands, folder, folder / "site"))
    return folder


SMALL = [
    "--data.layout",
    "auto",
    "--data.size",
    "32",
    "--batch",
    "4",
    "--devices",
    "1",
    "--decision.folds",
    "1",
    "--backbone.layers",
    "1",
    "--pasted",
    "8",
    *QUIET,
]
TRAINED = ["--detector.width", "8", "--detector.training.epochs", "2", "--detector.training.batch", "4"]


@pytest.fixture(scope="module")
def boards(tmp_path_factory) -> Path:
    """A folder with generated boards and the detectors' packages."""
    folder = tmp_path_factory.mktemp("boards")
    install("add_a_detector.md", folder / "site")
    assert main(["data", "synthetic", str(folder / "boards"), "--kind", "wood", "--count", "24", "--size", "40"]) == 0
    return folder


DETECTORS = {"fre": ("Fre", ["--detector.components", "16"]), "bottleneck": ("Bottleneck", TRAINED)}


@pytest.fixture(scope="module")
def fits(boards: Path) -> str:
    """The output of every verb on each detector."""
    fit = ["fit", "--config", "wood_synthetic", "--data", "boards", *SMALL]
    commands: list[list[str] | str] = []
    for name, (_, more) in DETECTORS.items():
        commands += [
            [*fit, "--method", name, *more, "--out", name],
            *through(name, "boards/test", "boards"),
            ["export", "--checkpoint", name, "--out", f"{name}-graph", "--platforms", "cpu"],
            load(name, "boards/train/good"),
        ]
    return succeed(run(commands, boards, boards / "site"))


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_goes_through_every_verb(boards: Path, fits: str, name: str) -> None:
    assert f"map of {name} (40, 40)" in fits
    stored = json.loads((boards / name / "config.json").read_text())["detector"]
    assert stored["name"] == f"acme_{name}:{DETECTORS[name][0]}"
    measured = json.loads((boards / f"{name}-measured" / "evaluation.json").read_text())
    assert measured["images"][""] == 8


@pytest.fixture(scope="module")
def bare(unet: Path, cutmix: Path, boards: Path, fits: str) -> subprocess.CompletedProcess[str]:
    """A process that has none of the packages: exports, runs of the method, and all that is refused."""
    semi, images = str(cutmix / "run"), str(cutmix / "data" / "images")
    return run([
        ["verify", str(unet / "graph")],
        load(str(unet / "graph"), str(unet / "photos")),
        ["refused", "verify", str(unet / "run")],
        ["refused", "data", "check", str(unet / "Class1"), "--layout", "acme_dagm:DAGM"],
        *(["verify", str(boards / f"{name}-graph")] for name in DETECTORS),
        *(["refused", "verify", str(boards / name)] for name in DETECTORS),
        *through(semi, images, str(cutmix / "data")),
        ["export", "--checkpoint", semi, "--out", str(cutmix / "semi-graph"), "--size", "32", "--platforms", "cpu"],
        load(str(cutmix / "semi-graph"), images),
    ], cutmix)  # fmt: skip


def test_an_export_needs_no_package_and_an_absent_one_is_named(bare: subprocess.CompletedProcess[str]) -> None:
    out = succeed(bare)
    assert "map of graph (48, 48)" in out
    assert len(re.findall(r"graph\b.*: golden maps recomputed here", out)) == 1 + len(DETECTORS)
    assert "network acme_unet:UNET: the package 'acme_unet' is not installed" in bare.stderr
    assert "layout: reader acme_dagm:DAGM: the package 'acme_dagm' is not installed" in bare.stderr
    for name, (kind, _) in DETECTORS.items():
        assert f"detector acme_{name}:{kind}: the package 'acme_{name}' is not installed" in bare.stderr


def test_a_method_goes_through_every_verb_without_its_package(
    cutmix: Path, bare: subprocess.CompletedProcess[str]
) -> None:
    """A run holds the method's fields."""
    assert json.loads((cutmix / "run" / "config.json").read_text())["semi"]["cutmix"]["area_min"] == 0.25
    assert "map of semi-graph (32, 32)" in succeed(bare)
    assert (cutmix / "run-inspected" / "report.html").is_file()
