"""Jinja for the pages: the report's templates and filters with those of the pages, and the files that pages load."""

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from jaxqc.data.problems import printable
from jaxqc.inspection.report.templating import environment as of_report

if TYPE_CHECKING:
    import jinja2

REPORT, PAGES = "jaxqc.inspection.report", "jaxqc.serve.pages"
KINDS = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
"""Media types of what pages load, by ending."""
STYLES = ("tokens.css", "page.css", "pictures.css", "viewer.css", "review.css", "site.css")
PROGRAMS = ("page.js", "site.js")
"""Styles and programs of every page; those of the report come first."""


@dataclass(frozen=True)
class File:
    """A style, program or drawing of the package."""

    content: bytes
    media: str
    digest: str


@functools.cache
def files() -> dict[str, File]:
    """All that pages may load, by name; the report's and the pages' own."""
    found = {}
    for package, folder in ((REPORT, "templates"), (PAGES, "static")):
        for one in (resources.files(package) / folder).iterdir():
            if media := KINDS.get(one.name.rpartition(".")[2]):
                content = one.read_bytes()
                found[one.name] = File(content, media, hashlib.sha256(content).hexdigest()[:16])
    return found


def address(name: str) -> str:
    """The address of a style, program or drawing; with its digest, so that a browser may keep it for ever."""
    return f"/static/{files()[name].digest}/{name}"


@functools.cache
def environment() -> "jinja2.Environment":
    """The environment of the pages' templates; names that both have are the pages'."""
    from jinja2 import ChoiceLoader, PackageLoader

    report = of_report()
    assert report.loader is not None
    made = report.overlay(loader=ChoiceLoader([PackageLoader(PAGES), report.loader]))
    made.filters = {**report.filters, "path": path_of, "clock": clock}
    made.globals = {**report.globals, "static": address}
    return made


def rendered(template: str, **values: Any) -> str:
    """A page, or a part of one."""
    return environment().get_template(template).render(values)


def path_of(points: Sequence[Sequence[float]]) -> str:
    """An outline as SVG's path.

    Examples:
      >>> path_of([(1.0, 2.5), (3.0, 4.0)]), path_of([])
      ('M1 2.5L3 4Z', '')
    """
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points) + "Z" if points else ""


def clock(text: str) -> str:
    """A time in UTC as people read it, to the second.

    Examples:
      >>> clock("2026-11-30T21:14:05.123456+00:00")
      '2026-11-30 21:14:05'
    """
    return printable(text[:19].replace("T", " "))
