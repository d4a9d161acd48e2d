"""The two clients of `examples/`, as a reader runs them, against a real server."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jaxqc.serve.settings import Batches, Settings
from tests.support.inspect_models import write_image, write_network
from tests.support.live_server import live

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TOKEN = "a-secret-of-twenty-letters"


@pytest.fixture(scope="module")
def server(tmp_path_factory, small_models):
    folder = tmp_path_factory.mktemp("clients")
    run = write_network(folder / "net", threshold=0.4, f1=0.9)
    with live(run, folder, Settings(port=0, token=TOKEN, batches=Batches(most=1))) as here:
        yield here


@pytest.fixture
def images(tmp_path):
    for i in range(3):
        write_image(tmp_path / f"plate {i}.png", i, i == 1)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    return sorted(tmp_path.glob("plate*.png"))


def run(*command, token=TOKEN):
    plain = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    env = plain | {"JAXQC_TOKEN": token, "NO_PROXY": "*"}
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=60)


def test_the_client_in_python(server, images):
    broken = images[0].parent / "broken.png"
    done = run(sys.executable, str(EXAMPLES / "serve_client.py"), server.base, "L-17", *map(str, images), str(broken))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split(": ")[1].split(",")[0] for line in lines[:3]] == ["pass", "reject", "pass"]
    assert "1 Spot" in lines[1]
    assert "broken.png: broken.png" in lines[3]
    assert lines[4] == "lot L-17: grade D, risk high, 1 of 3 rejected"
    code = EXAMPLES / "serve_client.py"
    assert len([line for line in code.read_text().splitlines() if line.strip()]) <= 40


@pytest.mark.skipif(not shutil.which("curl"), reason="no curl on the path")
def test_the_client_with_curl(server, images):
    script = ["sh", str(EXAMPLES / "serve_client.sh"), server.base, "L 18"]
    done = run(*script, *map(str, images))
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["finding"]["verdict"] for one in found[:3]] == ["pass", "reject", "pass"]
    assert len(found[3]["images"]) == 3
    refused = run(*script, str(images[0]), token="wrong")
    assert refused.returncode
    assert json.loads(refused.stdout)["reason"] == "token"
