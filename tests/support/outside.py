"""Packages outside of the checkout, as pip leaves them, made of the code on the pages docs/develop/add_*.md."""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from tests.support.compile_cache import one_device_flags

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "develop"
LONGEST = 60
"""Most lines of code in a worked example."""
_MODULE = re.compile(r"^`(\w+)\.py`:\n+```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
_ENTRIES = re.compile(r"^```toml\n(.*?)^```", re.MULTILINE | re.DOTALL)
RUN = """
import sys, json
from jaxqc.cli import main
for command in json.loads(sys.argv[1]):
    if isinstance(command, str):
        exec(command)
    elif command[0] == "refused":
        assert main(command[1:]), command
    elif (code := main(command)):
        sys.exit(f"jaxqc {' '.join(command)}: exit code {code}")
"""


def modules(page: str) -> dict[str, str]:
    """The modules that a page gives, by name."""
    return dict(_MODULE.findall((PAGES / page).read_text("utf-8")))


def install(page: str, folder: Path) -> Path:
    """Writes a page's modules and a dist-info with its entry points into `folder`."""
    name = page.removesuffix(".md")
    info = folder / f"acme_{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: acme-{name}\nVersion: 1.0\n", "utf-8")
    for module, text in modules(page).items():
        (folder / f"{module}.py").write_text(text, "utf-8")
    lines: list[str] = []
    for block in _ENTRIES.findall((PAGES / page).read_text("utf-8")):
        for group, entries in tomllib.loads(block)["project"]["entry-points"].items():
            lines += [f"[{group}]", *(f"{key} = {value}" for key, value in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n", "utf-8")
    return folder


def run(commands: Sequence[list[str] | str], folder: Path, *sites: Path) -> subprocess.CompletedProcess[str]:
    """Runs commands one after another in a fresh process in `folder`, with `sites` on its path.

    commands: the arguments of `jaxqc`, behind the word `refused` where it must fail, or a piece of Python.
    """
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, [*sites, ROOT])),
        "XLA_FLAGS": one_device_flags(),
    }
    command = [sys.executable, "-c", RUN, json.dumps(list(commands))]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=600, check=False)
