"""Fonts of figures: the usual one, and installed ones for characters that it lacks, such as Chinese names."""

import contextlib
import sys
import unicodedata
from functools import cache
from typing import TYPE_CHECKING

from jaxqc.data.problems import printable

if TYPE_CHECKING:
    import matplotlib.figure

BASE = "DejaVu Sans"
"""The font that comes with matplotlib."""
PREFERRED = (
    *("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN", "WenQuanYi Micro Hei"),
    *("WenQuanYi Zen Hei", "Microsoft YaHei", "SimHei", "PingFang SC", "Hiragino Sans GB", "Noto Sans CJK JP"),
    *("Noto Sans CJK KR", "Droid Sans Fallback", "Arial Unicode MS"),
)
"""Families that are looked at first; after them any that is installed."""
PLACEHOLDERS = ("last resort", "lastresort", "adobe blank", "unicode bmp fallback")
"""Fonts, in lower case, that have every character and draw none."""
EAST_ASIAN = frozenset({"CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "IDEOGRAPHIC", "FULLWIDTH"})


def families(text: str) -> list[str]:
    """Font families for a text, in matplotlib's order of trial.

    Examples:
      >>> families("scratch")
      ['DejaVu Sans']
    """
    return [BASE, *dict.fromkeys(name for c in text if not _usual(c) and (name := family_of(c)))]


def legible(text: str) -> str:
    """A text with `?` for each character that no installed font has; that is printed once a script, on stderr.

    Examples:
      >>> legible("Größe 5 µm")
      'Größe 5 µm'
    """
    lost = {c for c in text if not _usual(c) and not family_of(c)}
    for script in sorted({unicodedata.name(c, "unknown").split()[0] for c in lost}):
        _print_once(script)
    return "".join("?" if c in lost else c for c in text)


def drawable(text: str, otherwise: str = "") -> str:
    """Text on one line as figures can draw it, or `otherwise` where nothing but signs is left of it.

    Examples:
      >>> drawable("a\\nb"), drawable("?", "class 1")
      ('a\\\\nb', 'class 1')
    """
    shown = legible(printable(text))
    return shown if not otherwise or any(c.isalnum() for c in shown) else otherwise


def make_legible(figure: "matplotlib.figure.Figure") -> None:
    """Gives every text of a figure a font that has its characters, or `?` for them."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        if isinstance(text, Text) and not (words := text.get_text()).isascii():
            text.set_text(legible(words))
            text.set_fontfamily(fonts := families(words))
            if len(fonts) > 1:
                text.set_fontweight("normal")  # few of the others have a bold face, which matplotlib would remark


@cache
def family_of(character: str) -> str:
    """The family of an installed font that has a character; "" where none has."""
    return next((name for name, path in _installed() if ord(character) in _characters(path)), "")


@cache
def _installed() -> tuple[tuple[str, str], ...]:
    """Families and files of all fonts that draw, the preferred ones first."""
    from matplotlib.font_manager import findSystemFonts, fontManager

    # matplotlib keeps its list of fonts from the day when it was first used: later ones are not in it.
    for path in sorted({*findSystemFonts()} - {entry.fname for entry in fontManager.ttflist}):
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            fontManager.addfont(path)
    place = {name: i for i, name in enumerate(PREFERRED)}
    drawing = [e for e in fontManager.ttflist if not e.name.lower().strip(".").startswith(PLACEHOLDERS)]
    order = lambda entry: (place.get(entry.name, len(place)), entry.name, entry.style != "normal", entry.fname)
    return tuple((entry.name, entry.fname) for entry in sorted(drawing, key=order))


def _usual(character: str) -> bool:
    return character.isspace() or ord(character) in _base()


@cache
def _base() -> frozenset[int]:
    from matplotlib.font_manager import findfont

    return _characters(findfont(BASE))


@cache
def _characters(path: str) -> frozenset[int]:
    """Code points that a font file can draw; none where it cannot be read."""
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError, ValueError):
        return frozenset()


@cache
def _print_once(script: str) -> None:
    package = "fonts-noto-cjk (Debian, Ubuntu) or google-noto-sans-cjk-fonts (Fedora)"
    package = package if script in EAST_ASIAN else "fonts-noto (Debian, Ubuntu) or google-noto-fonts-common (Fedora)"
    name = script if script in EAST_ASIAN else script.lower()
    line = f"figures: no installed font has {name} characters, which become ?; install one that has, such as {package}"
    print(line, file=sys.stderr)
