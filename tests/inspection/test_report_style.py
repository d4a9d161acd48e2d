"""The report's colours: contrast by WCAG 2.2 in both themes; and its templates, which a wheel must hold."""

import itertools
import re
import subprocess
import sys
from importlib import resources
from zipfile import ZipFile

import pytest

TEMPLATES = resources.files("jaxqc.inspection.report") / "templates"
TOKENS = dict(
    (name, (light, dark))
    for name, light, dark in re.findall(
        r"--([a-z-]+): light-dark\((#\w{6}), (#\w{6})\)", (TEMPLATES / "tokens.css").read_text("utf-8")
    )
)


def luminance(color):
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def test_the_formula():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


TEXTS = [*itertools.product(("ink", "quiet", "accent", "good", "fair", "warn", "bad"), ("page", "sheet")),
         *((name, f"{name}-back") for name in ("good", "fair", "warn", "bad")), ("ink", "sunk")]  # fmt: skip


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("text", "back"), TEXTS)
def test_texts_can_be_read(theme, text, back):
    assert contrast(TOKENS[text][theme], TOKENS[back][theme]) >= 4.5


def test_every_colour_has_two_themes():
    text = (TEMPLATES / "tokens.css").read_text("utf-8")
    known = set(re.findall(r"--([a-z-]+):", text))
    used = {name for path in TEMPLATES.iterdir() if path.name.endswith(".css")
            for name in re.findall(r"var\(--([a-z-]+)\)", path.read_text("utf-8"))}  # fmt: skip
    assert used <= known
    assert known - set(TOKENS) == {
        "outline",
        "box",
        "gap",
        "wide",
        "aspect",
    }  # not of a theme


@pytest.mark.slow
def test_a_wheel_holds_the_templates(tmp_path, pytestconfig):
    pytest.importorskip("hatchling", reason="building a wheel needs hatchling")
    done = subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
                          cwd=pytestconfig.rootpath, capture_output=True, text=True, timeout=300)  # fmt: skip
    assert not done.returncode, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = set(ZipFile(wheel).namelist())
    assert {f"jaxqc/inspection/report/templates/{path.name}" for path in TEMPLATES.iterdir()} <= names
    for folder in ("templates", "static"):
        found = [path.name for path in (resources.files("jaxqc.serve.pages") / folder).iterdir()]
        assert len(found) > 5
        assert {f"jaxqc/serve/pages/{folder}/{name}" for name in found} <= names
