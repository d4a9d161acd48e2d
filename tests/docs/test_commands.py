"""Every `jaxqc` command, example script and Python block of the pages: cheap ones run on tiny data, costly ones are
parsed to the last flag."""

import runpy
import sys
from pathlib import Path

import pytest

from jaxqc.anomaly.recipe import FitConfig
from jaxqc.cli import main, parse
from jaxqc.config import TrainConfig, load_config
from jaxqc.models.clip import CLIPS
from jaxqc.overrides import override
from jaxqc.saliency.networks import NETWORKS
from jaxqc.saliency.published import FAMILIES
from jaxqc.weights.files import KINDS, ending
from jaxqc.weights.known import INSTALLED, KNOWN
from tests.support.few_labels import use_tiny
from tests.support.pages import PAGES, ROOT, WORKED_EXAMPLES, programs, python_with_output, words
from tests.support.tiny_run import plates, recipe, run_folder, tiny_network  # noqa: F401 - fixtures

RUN = ("calibrate", "data check", "data import", "data records", "data split", "data synthetic", "data tfds",
       "evaluate", "export", "inspect", "ledger export", "ledger import-outcomes", "ledger lots", "ledger outcomes",
       "ledger drift", "ledger report", "predict", "recipes", "review", "verify")  # fmt: skip
"""Verbs that are cheap enough to be run."""
RECIPE_OF = {"train": TrainConfig, "fit": FitConfig}
PLACEHOLDERS = {
    "DIR": "plates", "runs/first": "run_folder", "runs/tscarnet_cpu": "run_folder", "runs/minet_cpu": "run_folder",
    "runs/long": "run_folder", "runs/minet": "run_folder", "runs/unet": "run_folder",
    "FOREIGN": "foreign", "CAMERA": "camera", "SPECTRUM": "spectrum",
    "NORMALS": "tiles.0", "NORMALS/test": "tiles.0/test", "BOARDS": "tiles.0", "BOARDS/test": "tiles.0/test",
    "runs/tiles": "tiles.1",
    "GOOD": "tiles.0/train/good", "RUN": "tiles.1", "RUN_2": "tiles.1", "DELIVERY": "tiles.0/test",
    "runs/boards": "tiles.1", "SEGMENTS": "segments.0", "splits/16": "segments.1", "runs/few": "segments.2",
    "inspection/ledger.sqlite": "ledger", "quality.sqlite": "ledger", "returns.csv": "returns",
    "exports/first": "exported", "reviewed.sqlite": "reviewed", "waiting.csv": "waiting",
}  # fmt: skip
"""A name in the pages → the fixture that stands in for it; `.N` is an element, `/` a file below."""
MADE = {
    "--out": ("splits/16", "exports/first", "waiting.csv"),
    "ledger export": ("REVIEWED",),
    "data synthetic": ("DIR", "BOARDS"),
}
"""Names that a command makes by itself, so that nothing stands in for them."""
CAMERAS = ("belt.mp4", "rtsp://camera:554/line1")
"""A video and a camera that no fixture stands in for."""
FEWER = {"data synthetic": ["--count", "12"]}
"""Flags behind a command's own: its hundreds of images are the same, only more."""


def stand_in(name: str, request: pytest.FixtureRequest) -> str:
    """The path that a name in the pages stands for."""
    place, _, below = PLACEHOLDERS[name].partition("/")
    fixture, _, part = place.partition(".")
    value = request.getfixturevalue(fixture)
    value = value[int(part)] if part else value
    return str(value / below if below else value)


def with_stand_ins(verb: str, arguments: list[str], request: pytest.FixtureRequest) -> list[str]:
    """The command's words with paths in the place of names."""
    found = []
    for i, word in enumerate(arguments):
        made = MADE["--out"] if i and arguments[i - 1] == "--out" and "--check" not in arguments else ()
        made += MADE.get(verb, ())
        found.append(stand_in(word, request) if word in PLACEHOLDERS and word not in made else word)
    return found


def test_there_are_commands():
    assert len(programs("jaxqc")) >= 50
    known = {"make", "jaxqc", "pip", "python", "bash", "sbatch", "source", "curl", "sh"}
    assert {words(c)[0] for c in programs()} <= known


@pytest.fixture(scope="module")
def ran() -> set[tuple[str, ...]]:
    """Commands that were run already: of different names in the pages the stand-ins may be the same."""
    return set()


@pytest.mark.parametrize("command", programs("jaxqc"))
def test_jaxqc_commands(command, request, ran, tmp_path, monkeypatch, capsys):
    """Training and fitting are parsed with their recipes, downloads and conversions parsed, the rest is run."""
    _, *arguments = words(command)
    monkeypatch.chdir(ROOT)
    if "--help" in arguments:
        with pytest.raises(SystemExit) as e:
            main(arguments)
        assert e.value.code == 0
        return
    args = parse(arguments)
    if args.name in RECIPE_OF:
        config = load_config(args.config, RECIPE_OF[args.name]) if args.config else FitConfig()
        assert (override(config, args.flags) == config) == (not args.flags)
        return
    if args.name == "convert" and args.last is not None:  # a network's name, its authors' file, and the result
        assert args.file in FAMILIES or NETWORKS[args.file].published
        assert ending(Path(args.out)) in KINDS
        return
    if args.name == "convert":
        assert args.text or (args.model or args.file) in {*KNOWN, *INSTALLED, *NETWORKS, *CLIPS}
        return
    if args.name == "weights":
        assert set(args.names) <= {*KNOWN, *INSTALLED}
        return
    if (engine := getattr(args, "engine", "") or "xla") != "xla":
        pytest.importorskip(engine, reason=f"{engine} is not installed")
    if args.name == "serve":
        return  # it ends only when it is told to; tests/serve runs it
    assert args.name in RUN
    if {"onnx", "onnx/first"} & set(arguments) or any("postgresql:" in word for word in arguments):
        return  # another converter, a server: parsed alone
    if args.name == "inspect" and (args.watch is not None or args.images in CAMERAS):
        return  # frames that come later, of which tests/inspection has a source
    if {"SEGMENTS", "runs/few"} & set(arguments):
        use_tiny(monkeypatch)
    if "--dataset" in arguments:  # of verdicts, which the other ledger lacks
        arguments = ["reviewed.sqlite" if PLACEHOLDERS.get(word) == "ledger" else word for word in arguments]
    made = with_stand_ins(args.name, arguments, request)
    if tuple(made) in ran:
        return
    monkeypatch.chdir(tmp_path)
    assert main(made + FEWER.get(args.name, [])) == 0
    ran.add(tuple(made))


@pytest.mark.parametrize("command", [c for c in programs("python") if words(c)[1].startswith("examples/")])
def test_examples_run(command, run_folder, plates, exported, monkeypatch, capsys):
    """In this process, which knows the run's tiny network."""
    _, script, *arguments = words(command)
    if script == "examples/use_onnx.py":
        assert (ROOT / script).is_file()  # tests/test_export_onnx.py runs it, where a converter is installed
        return
    if script == "examples/serve_client.py":
        assert (ROOT / script).is_file()  # tests/serve/test_clients.py runs it, against a server
        return
    names = {"runs/first": run_folder, "exports/first": exported}
    names |= {"IMAGES": plates / "Source Images", "MASKS": plates / "Ground truth"}
    monkeypatch.setattr(sys, "argv", [script, *(str(names.get(a, a)) for a in arguments)])
    runpy.run_path(str(ROOT / script), run_name="__main__")
    shown = capsys.readouterr().out
    assert "30 images" in shown or "largest difference from the golden output" in shown


def python_blocks() -> list[tuple[str, str, str]]:
    """Page, text and shown output ("" = none) of every Python block but those of worked examples, which have tests."""
    pages = [(name, page) for name, page in PAGES.items() if not name.startswith(WORKED_EXAMPLES)]
    return [(name, block, shown) for name, page in pages for block, shown in python_with_output(page)]


@pytest.mark.parametrize(("name", "block", "shown"), python_blocks(), ids=lambda text: text.split("\n")[0][:40])
def test_python_blocks_give_what_their_pages_show(name, block, shown, request, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    for placeholder in PLACEHOLDERS:
        if f'"{placeholder}"' in block:
            block = block.replace(f'"{placeholder}"', repr(stand_in(placeholder, request)))
    capsys.readouterr()  # of fixtures
    found: dict = {}
    exec(compile(block, name, "exec"), found)
    printed = capsys.readouterr().out
    assert printed == shown or not shown
    assert bool(printed) == ("print(" in block)
    assert "get_config" not in found or found["get_config"]() is not None
