"""Jinja for the report: its environment, with the filters that write numbers and values as people read them."""

import base64
import functools
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jaxqc.data.problems import printable

if TYPE_CHECKING:
    import jinja2

COSTLY = 100.0
"""Costs from this on are written without decimals."""


@functools.cache
def environment() -> "jinja2.Environment":
    """The environment of the packaged templates."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    # A text that is Markup was made here; any other came from data.
    clean = lambda value: printable(value) if type(value) is str else value
    made = Environment(
        loader=PackageLoader("jaxqc.inspection.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, finalize=clean,
    )  # fmt: skip
    made.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    made.filters |= {
        "pct": lambda share, digits=1: f"{100 * share:.{digits}f} %",
        "span": span,
        "sentence": sentence,
        "many": lambda n: Markup(many(n)),
        "cost": lambda value: f"{value:.0f}" if value >= COSTLY else f"{value:.3g}",
        "when": lambda text: text[:16].replace("T", " "),
        "flat": flat,
        "value": value_text,
        "photo": lambda p: Markup("data:image/jpeg;base64," + base64.b64encode(p.photo.read_bytes()).decode()),
        "outline": lambda p: Markup("".join("M" + "L".join(f"{x:g} {y:g}" for x, y in o) + "Z" for o in p.outline)),
    }
    return made


def many(n: float) -> str:
    """A count as text: narrow spaces in what is long, and one decimal where it is no whole number.

    Examples:
      >>> many(950), many(12.5), many(12345) == "12\\u202f345"
      ('950', '12.5', True)
    """
    text = f"{n:,.0f}" if float(n).is_integer() else f"{n:,.1f}"
    return text.replace(",", "\u202f") if n >= 10_000 else text.replace(",", "")


def span(low: float, high: float, digits: int = 1) -> str:
    """An interval of shares as text.

    Examples:
      >>> span(0.106, 0.293)
      '10.6 to 29.3 %'
    """
    return f"{100 * low:.{digits}f} to {100 * high:.{digits}f} %"


def sentence(text: str) -> str:
    """A reason as a sentence of its own.

    Examples:
      >>> sentence("grade D: half of the pieces are defective")
      'Grade D: half of the pieces are defective.'
    """
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) or not text else ".")


def plural(n: int, one: str, several: str = "") -> str:
    """A count with its noun.

    Examples:
      >>> plural(1, "lot"), plural(3, "lot"), plural(2, "copy", "copies")
      ('1 lot', '3 lots', '2 copies')
    """
    return f"{many(n)} {one if n == 1 else several or one + 's'}"


def flat(values: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    """Nested plain values as (dotted name, value).

    Examples:
      >>> flat({"lots": {"a": 1}, "seed": 0})
      [('lots.a', 1), ('seed', 0)]
    """
    out: list[tuple[str, Any]] = []
    for key, value in values.items():
        name = f"{before}{key}"
        out += flat(value, f"{name}.") if isinstance(value, Mapping) and value else [(name, value)]
    return out


def value_text(value: Any) -> str:
    """A plain value as a person reads it.

    Examples:
      >>> value_text([0.25, None]), value_text({}), value_text({"a": 1})
      ('0.25, not set', 'none', 'a: 1')
    """
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {value_text(v)}" for k, v in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(value_text, value)) or "none"
    return "not set" if value is None or value == "" else str(value)


def source(name: str) -> str:
    """The text of a template, a style or a program."""
    loader = environment().loader
    assert loader is not None
    return loader.get_source(environment(), name)[0]


def digest(text: str) -> str:
    """Name of an inline style or program in a content security policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
