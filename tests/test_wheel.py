"""The wheel, installed away from the checkout: what it holds, and the way of a newcomer through the verbs."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.compile_cache import one_device_flags
from tests.support.outside import RUN
from tests.support.outside import install as install_page

ROOT = Path(__file__).resolve().parents[1]
TINY = ["--model.width", "0.125", "--optim.warmup-epochs", "0", "--eval-size", "32", "--eval-batch", "4",
        "--steps-per-call", "1", "--phases", '[{"epochs": 0.6, "size": 32, "batch": 8}]']  # fmt: skip
SMALL = ["--data.size", "64", "--batch", "4", "--decision.folds", "1", "--pasted", "8", "--backbone.layers", "1"]
OFFLINE = re.compile(r"No matching distribution|Could not find a version|Connection|Temporary failure|No module named")


def run(*command: str | Path, cwd: Path, **more: str) -> str:
    """Output of a program that sees neither the checkout nor this process's settings of Python."""
    hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "XLA_FLAGS")
    env = {name: value for name, value in os.environ.items() if name not in hidden} | more
    words = list(map(str, command))
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of this checkout; skips only where its build backend cannot be had."""
    out = tmp_path_factory.mktemp("wheel")
    if importlib.util.find_spec("hatchling"):
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    else:
        command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(out), str(ROOT)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode and OFFLINE.search(done.stdout + done.stderr):
        pytest.skip("the build backend hatchling is neither installed nor to be fetched: pip install hatchling")
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = out.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def program(wheel, tmp_path_factory) -> Path:
    """`jaxqc` in a fresh environment: the wheel, the U-Net of the docs, and of this environment everything else."""
    place = tmp_path_factory.mktemp("installed")
    venv.create(place, with_pip=False)
    python = place / "bin" / "python"
    packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=place).strip())
    # A path in a .pth file is searched, but its own .pth files, such as an editable install's, are not read.
    here = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (packages / "others.pth").write_text("".join(f"{path}\n" for path in sorted(here)))
    install = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel)
    run(*install, cwd=place)
    install_page("add_a_network.md", packages)
    where = "import jaxqc, importlib.util as u; print(jaxqc.__file__); assert not u.find_spec('benchmarks')"
    assert packages in Path(run(python, "-c", where, cwd=place).strip()).parents
    return place / "bin" / "jaxqc"


def test_what_the_wheel_holds(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    recipes = {f"jaxqc/packaged-configs/{file.name}" for file in (ROOT / "configs").glob("*.py")}
    templates = ROOT / "jaxqc" / "inspection" / "report" / "templates"
    pages = {f"jaxqc/inspection/report/templates/{file.name}" for file in templates.iterdir()}
    assert len(recipes) > 10
    assert len(pages) > 10
    assert {*recipes, *pages, "jaxqc/py.typed", "jaxqc/weights/data/synthetic_resnet18.npz"} <= set(names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {"jaxqc"}
    assert not [name for name in names if re.search(r"tests?/|test_|__pycache__|\.pyc$", name)]


def test_a_recipe_is_found_by_name_and_is_no_module(program, tmp_path):
    shown = run(program, "recipes", cwd=tmp_path)
    assert all(f"\n  {file.stem}\n" in shown for file in (ROOT / "configs").glob("*.py"))
    text = run(program, "recipes", "wood_synthetic", cwd=tmp_path)
    assert text == (ROOT / "configs" / "wood_synthetic.py").read_text("utf-8")
    code = (
        "from jaxqc.config import load_config\n"
        "assert load_config('minet_sd900_cpu').phases == load_config('tscarnet_sd900_cpu').phases\n"
        "import importlib.util as u\n"
        "assert not any(u.find_spec(f'jaxqc.{name}') for name in ('configs', 'packaged_configs'))"
    )
    run(program.with_name("python"), "-c", code, cwd=tmp_path)


def assert_the_way_leads_to_a_report(start: Callable[[list[list[str]]], str], folder: Path, train: list[str]) -> None:
    """Through the verbs as a newcomer, to the report. start: runs commands in `folder` and returns what they print."""
    out = start([
        ["data", "synthetic", "plates", "--count", "30", "--size", "32"],
        ["data", "synthetic", "boards", "--kind", "wood", "--count", "15", "--size", "64"],
        ["train", "--config", "tscarnet_synthetic", "--data", "plates", "--out", "run", *train],
        ["fit", "--config", "wood_synthetic", "--data", "boards", "--out", "fit", *SMALL],
        ["predict", "--checkpoint", "run", "--images", "plates/Source Images"],
        ["inspect", "--checkpoint", "fit", "--images", "boards/test", "--out", "found", "--rules", "inspection_rules"],
    ])  # fmt: skip
    for line in ("next: jaxqc evaluate --checkpoint run", "next: jaxqc evaluate --checkpoint fit", "30 maps in maps"):
        assert line in out
    page = (folder / out.split("report: ")[1].splitlines()[0]).read_text("utf-8")
    assert "<title>" in page
    assert "patchcore" in page.lower()


def test_the_way_through_the_verbs(program, tmp_path):
    """With a network that compiles in seconds, and in one process: the program's own start is tested above."""
    python, quick = program.with_name("python"), {"XLA_FLAGS": one_device_flags(), "JAX_PLATFORMS": "cpu"}
    start = lambda commands: run(python, "-c", RUN, json.dumps(commands), cwd=tmp_path, **quick)
    assert_the_way_leads_to_a_report(start, tmp_path, [*TINY, "--model.name", "unet"])


@pytest.mark.slow
def test_an_installation_with_every_dependency(wheel, tmp_path):
    """As a user would: a fresh environment, every dependency by pip, TSCARNet itself, XLA as it is in use."""
    venv.create(tmp_path / "env", with_pip=True)
    constraints = ("-c", ROOT / "constraints.txt")
    install = (
        tmp_path / "env" / "bin" / "python",
        "-m",
        "pip",
        "install",
        "--quiet",
        f"{wheel}",
        *constraints,
    )
    run(*install, cwd=tmp_path)
    program = tmp_path / "env" / "bin" / "jaxqc"
    start = lambda commands: "".join(run(program, *words, cwd=tmp_path, JAX_PLATFORMS="cpu") for words in commands)
    assert_the_way_leads_to_a_report(start, tmp_path, TINY)
