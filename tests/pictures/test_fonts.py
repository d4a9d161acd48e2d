"""Names in scripts that the usual font lacks: drawn with an installed font that has them, or replaced and said so."""

from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager

from jaxqc.pictures import fonts
from jaxqc.pictures.confusion import confusion_figure
from jaxqc.pictures.figures import Row, result_figure

NAME = "\u5212\u75d5"
"""Two Chinese characters: scratch."""


def font_with(characters: str, path: Path, family: str) -> Path:
    """A font in which each of these characters is a square."""
    names = [".notdef", *(f"u{ord(c):x}" for c in characters)]
    pen = TTGlyphPen(None)
    for place, move in enumerate(((0, 0), (0, 700), (700, 700), (700, 0))):
        (pen.lineTo if place else pen.moveTo)(move)
    pen.closePath()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(c): f"u{ord(c):x}" for c in characters})
    builder.setupGlyf(dict.fromkeys(names, pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (800, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": family, "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=800, usWinAscent=800, usWinDescent=200)
    builder.setupPost()
    builder.save(path)
    return path


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch):
    """Makes these files the fonts of the system, beside those of matplotlib."""
    own = [e for e in font_manager.fontManager.ttflist if "matplotlib" in e.fname]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", own)
    caches = fonts.family_of, fonts._installed, fonts._print_once

    def install(*paths: Path) -> None:
        monkeypatch.setattr(font_manager, "findSystemFonts", lambda *_, **__: [str(path) for path in paths])
        for cached in caches:
            cached.cache_clear()

    install()
    yield install
    for cached in caches:
        cached.cache_clear()


def draw(folder: Path) -> None:
    """Every warning is an error here, matplotlib's of missing glyphs too."""
    row = Row(f"{NAME}/000", np.zeros((32, 32), np.uint8), np.zeros((32, 32), np.float32), label=NAME)
    figure = result_figure([row], folder / "cases.png")
    assert all(text.get_fontfamily()[0] == "DejaVu Sans" for text in figure.texts)
    confusion_figure(np.array([[3, 1], [0, 2]]), ["good", NAME], folder / "confusion.png")


def test_an_installed_font_draws_what_the_usual_one_lacks(installed, tmp_path: Path, caplog, capsys) -> None:
    other = font_with("\u4e00", tmp_path / "a.ttf", "Another")
    blank = font_with(NAME, tmp_path / "b.ttf", "Last Resort Two")
    damaged = tmp_path / "c.ttf"
    damaged.write_bytes(b"no font")
    installed(other, blank, damaged, font_with(NAME, tmp_path / "d.ttf", "Squares"))
    assert fonts.families(f"kind {NAME}") == ["DejaVu Sans", "Squares"]
    assert fonts.drawable(NAME, "class 1") == NAME
    draw(tmp_path)
    assert not caplog.records
    assert not capsys.readouterr().err


def test_without_a_font_names_are_replaced_and_the_package_is_named_once(installed, tmp_path: Path, capsys) -> None:
    assert fonts.drawable(f"a{NAME}") == "a??"
    assert fonts.drawable(NAME, "class 1") == "class 1"
    draw(tmp_path)
    assert capsys.readouterr().err.splitlines() == [
        "figures: no installed font has CJK characters, which become ?; install one that has, such as fonts-noto-cjk"
        " (Debian, Ubuntu) or google-noto-sans-cjk-fonts (Fedora)"
    ]
