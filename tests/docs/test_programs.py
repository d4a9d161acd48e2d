"""Every other command of the pages: make's targets, installations, and the programs of benchmarks/ and scripts/, parsed
to the last flag."""

import argparse
import importlib
import re
import runpy
import subprocess
import sys
import tomllib

import pytest

from jaxqc.cli import parse
from tests.support.pages import ROOT, programs, words


class Parsed(Exception):
    """Ends a program once its arguments are read."""


@pytest.fixture
def stop_after_parsing(monkeypatch):
    """Arguments are read as ever; then the program ends. Flags of a recipe are left over where a program takes them."""
    real = argparse.ArgumentParser.parse_known_args
    depth = []

    def parse_known_args(self, args=None, namespace=None):
        depth.append(self)
        result = real(self, args, namespace)
        depth.pop()
        if depth:  # a verb's parser within its command's
            return result
        rest = result[1]
        if rest and not all(re.fullmatch(r"--[a-z]+(\.[a-z0-9_-]+)*|[^-].*", word) for word in rest):
            raise AssertionError(f"unknown arguments: {rest}")
        raise Parsed(rest)

    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", parse_known_args)


def program_commands() -> list[str]:
    return [c for c in programs("python") if not words(c)[1].startswith("examples/")]


@pytest.mark.parametrize("command", program_commands())
def test_programs_take_their_arguments(command, stop_after_parsing, monkeypatch):
    """`python -m NAME` and `python FILE`: in this process, up to the point where the arguments are known."""
    monkeypatch.chdir(ROOT)
    _, program, *arguments = words(command)
    if program == "-m":
        program, *arguments = arguments
        monkeypatch.setattr(sys, "argv", [program, *arguments])
        run = importlib.import_module(program).main
    else:
        monkeypatch.setattr(sys, "argv", [program, *arguments])
        run = runpy.run_path(str(ROOT / program), run_name="not_main")["main"]
    with pytest.raises(Parsed) as e:
        run()
    rest = e.value.args[0]
    assert not rest or program.startswith("scripts"), f"{program} takes no {rest}"


@pytest.mark.parametrize("command", programs("make"))
def test_make_targets_exist(command):
    done = subprocess.run(["make", "-n", *words(command)[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", programs("bash", "sbatch"))
def test_shell_scripts_are_sound(command):
    subprocess.run(["bash", "-n", words(command)[1]], cwd=ROOT, check=True)


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


@pytest.mark.parametrize("command", programs("pip"))
def test_installation_commands_name_real_extras(command):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "-c constraints.txt" in command
    for extra in re.findall(r"\[(.*?)\]", command):
        assert set(extra.split(",")) <= set(project["optional-dependencies"])


def test_ci_runs_what_the_readme_names():
    ci = (ROOT / ".ci" / "run").read_text()
    assert "make docs\n" in ci
    # The quick tests in two parts that together are `make test`: those that hand over what annotations forbid go alone.
    assert "make test-shapes\n" in ci
    assert "make test ARGS=\"-m 'misuse and not slow' $(grep -rl --include='*.py' 'mark\\.misuse' tests |" in ci
    assert "make test" in programs("make")
