"""The worked examples of docs/develop, run from packages outside of the checkout through every verb."""

import json
import re
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
        model=ModelConfig(name=UNET, width=0.25), data=DataConfig(protocol="seed"), devices=1, steps_per_call=2,
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
        "print('map', np.asarray(found).shape)\n"
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


@pytest.fixture(scope="module")
def unet(tmp_path_factory) -> Path:
    """A folder with the U-Net's run by a recipe that holds the network itself."""
    folder = tmp_path_factory.mktemp("unet")
    install("add_a_network.md", folder / "site")
    install("add_a_reader.md", folder / "site")
    (folder / "recipe.py").write_text(RECIPE)
    train = ["train", "--config", "recipe.py", "--data", "plates", "--out", "run", *QUIET]
    commands = [
        ["data", "synthetic", "plates", "--count", "30", "--size", "48"],
        [*train, "--objective.dice", "0.5"],
        [*train, "--objective.dice", "0.5", "--model.name", "unet"],  # the same run, by the registered name
        *through("run", "plates/Source Images", "plates"),
        ["export", "--checkpoint", "run", "--out", "graph", "--platforms", "cpu"],
        load("run", "plates/Source Images"),
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
    assert "map (48, 48)" in out
    assert len(list((unet / "run-maps").rglob("*.png"))) == 30
    assert (unet / "run-inspected" / "report.html").is_file()


def test_an_export_needs_no_package_and_an_absent_one_is_named(unet: Path) -> None:
    check = ["data", "check", "plates", "--layout", "acme_dagm:DAGM"]
    commands = [["verify", "graph"], load("graph", "plates/Source Images")]
    done = run([*commands, ["refused", "verify", "run"], ["refused", *check]], unet)
    assert "map (48, 48)" in succeed(done)
    network, reader = done.stderr.splitlines()[-2:]
    assert "network acme_unet:UNET: the package 'acme_unet' is not installed" in network
    assert "layout: reader acme_dagm:DAGM: the package 'acme_dagm' is not installed" in reader


def test_code_that_is_not_registered_is_not_imported(unet: Path) -> None:
    """A run folder must not choose what is imported."""
    copy = unet / "unregistered"
    copy.mkdir()
    (copy / "acme_unet.py").write_text((unet / "site" / "acme_unet.py").read_text())
    line = refused(run([["verify", "run"]], unet, copy))
    assert 'does not register it; add the entry point NAME = "acme_unet:UNET" of the group jaxqc.networks' in line


def test_a_reader_goes_through_the_verbs_of_data(unet: Path) -> None:
    rng = np.random.default_rng(0)
    for part in ("Train", "Test"):
        (unet / "Class1" / part / "Label").mkdir(parents=True)
        for i in range(8):
            image, mask = rng.normal(120, 10, (48, 48)), np.zeros((48, 48), np.uint8)
            if i % 2:
                image[8:20, 8 + i : 20 + i], mask[8:20, 8 + i : 20 + i] = 220, 255
                Image.fromarray(mask).save(unet / "Class1" / part / "Label" / f"{i:04}_label.PNG")
            Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(unet / "Class1" / part / f"{i:04}.PNG")
    train = ["--data", "Class1", "--data.layout", "dagm", "--data.protocol", "index", "--out", "dagm", *QUIET]
    commands = [
        ["data", "check", "Class1", "--layout", "dagm"],
        ["train", "--config", "recipe.py", *train],
        ["evaluate", "--checkpoint", "dagm", "--data", "Class1", "--out", "dagm-measured", *QUIET],
    ]
    out = succeed(run(commands, unet, unet / "site"))
    assert re.search(r"good\W+4\W+4\W+8", out), out
    assert json.loads((unet / "dagm" / "config.json").read_text())["data"]["layout"] == "acme_dagm:DAGM"
    measured = json.loads((unet / "dagm-measured" / "evaluation.json").read_text())
    assert (measured["images"], measured["images_by_class"]) == (8, {"good": 4, "defect": 4})


def test_a_method_goes_through_every_verb(tmp_path: Path) -> None:
    install("add_a_method.md", tmp_path / "site")
    write_images(tmp_path / "data", {"labeled": 4, "unlabeled": 8, "select": 4, "val": 4}, ((32, 32),))
    phases = '[{"epochs": 1, "size": 32, "batch": 4}]'
    small = ["--layers", "2", "--hidden", "8", "--devices", "1", "--phases", phases]
    commands = [
        ["train", "--config", "site/acme_cutmix.py", "--data", "data", "--out", "run", *small, *QUIET],
        "from jaxqc.semi.recipe import preset; import acme_cutmix; assert preset('cutmix') == acme_cutmix.CUTMIX",
    ]
    succeed(run(commands, tmp_path, tmp_path / "site"))
    assert json.loads((tmp_path / "run" / "config.json").read_text())["semi"]["cutmix"]["area_min"] == 0.25
    commands = [
        *through("run", "data/images", "data"),
        ["export", "--checkpoint", "run", "--out", "graph", "--size", "32", "--platforms", "cpu"],
        load("run", "data/images"),
    ]
    out = succeed(run(commands, tmp_path))
    assert "map (32, 32)" in out, "a run holds the method's fields: its package is not needed"


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
    "2",
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


DETECTORS = {"fre": ("Fre", ["--detector.components", "16"]), "dfr": ("Dfr", TRAINED)}


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
    assert fits.count("map (40, 40)") == len(DETECTORS)
    stored = json.loads((boards / name / "config.json").read_text())["detector"]
    assert stored["name"] == f"acme_{name}:{DETECTORS[name][0]}"
    measured = json.loads((boards / f"{name}-measured" / "evaluation.json").read_text())
    assert measured["images"][""] == 8


@pytest.mark.usefixtures("fits")
def test_exports_of_detectors_need_no_package(boards: Path) -> None:
    commands = [[*refusal, "verify", folder] for name in DETECTORS for refusal, folder in (
        ([], f"{name}-graph"), (["refused"], name))]  # fmt: skip
    done = run(commands, boards)
    assert succeed(done).count("golden maps recomputed here") == len(DETECTORS)
    for name, (kind, _) in DETECTORS.items():
        assert f"detector acme_{name}:{kind}: the package 'acme_{name}' is not installed" in done.stderr
