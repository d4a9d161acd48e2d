"""The pages as a reader meets them: short README, sound links, one place for each figure, the house's style."""

import pydoc
import re
import tomllib
from pathlib import Path

import pytest

from tests.support.pages import PAGES, ROOT, SITE, commands, prose, sentences

README = PAGES["README.md"]
MACHINES = "docs/throughput/machines/"
"""Generated pages."""
GROUPS = ("jaxqc.networks", "jaxqc.detectors", "jaxqc.readers", "jaxqc.methods")
"""Groups of entry points, which are no modules."""
WRITTEN = [name for name in PAGES if not name.startswith(MACHINES)]


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))


def test_the_readme_is_read_in_two_minutes():
    assert len(README.splitlines()) <= 110
    assert len(README.split()) <= 900


def test_nothing_stands_in_the_readme_twice():
    found = commands(README)
    assert len(found) == len(set(found)) >= 10
    numbers = re.findall(r"\d[\d,]*\.\d+|\d,\d{3}", README)
    assert len(numbers) == len(set(numbers)), "a figure stands twice"


def test_the_landing_page_begins_with_the_picture():
    body = re.sub(r"^---\n.*?^---\n", "", PAGES["docs/index.md"], flags=re.DOTALL | re.MULTILINE)
    assert body.lstrip().startswith("![")


@pytest.mark.parametrize("name", list(PAGES))
def test_links_and_pictures_exist(name):
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(PAGES[name])):
        assert not re.match(r"[a-z]+:", target), f"{target}: a page links within the project"
        path, _, anchor = target.partition("#")
        found = (ROOT / name).parent / path if path else ROOT / name
        assert found.exists(), f"{name} links to {target}, which is not there"
        if anchor and name not in SITE:  # `make docs` checks the site's own
            assert anchor in [slug(h) for h in re.findall(r"^#+ (.*)", found.read_text(), re.MULTILINE)]


@pytest.mark.parametrize("name", list(PAGES))
def test_files_and_modules_that_pages_name_exist(name):
    for path in re.findall(r"`((?:jaxqc|tests|scripts|configs|benchmarks|examples|docs)/[\w/.-]+\w)`", PAGES[name]):
        assert (ROOT / path).exists(), f"{name} names {path}, which is not there"
    for dotted in re.findall(r"`(jaxqc(?:\.\w+)+)`", PAGES[name]):
        if dotted not in GROUPS:
            assert pydoc.locate(dotted) is not None, f"{name} names {dotted}, which is not there"


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def rows(text: str) -> list[list[str]]:
    """Cells of the body rows of a page's tables."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if not set(line) <= set("|-: ")]


def test_throughput_has_one_table_and_no_figure_twice():
    head, *body = rows(PAGES["docs/throughput/index.md"])
    assert head == ["work", "ours", "best peer", "ratio", "machine", "date"]
    assert len(body) >= 10
    assert all(len(row) == len(head) for row in body)
    assert len({(work, machine) for work, *_, machine, _ in body}) == len(body), "one work twice on one machine"
    measured = [tuple(row[1:4]) for row in body]
    assert len(set(measured)) == len(body)


def test_throughputs_figures_are_those_of_the_page_that_a_row_links_to():
    quoted = 0
    for work, *figures, machine, _ in rows(PAGES["docs/throughput/index.md"])[1:]:
        page, _, _ = re.findall(r"\((.*?)\)", machine)[0].partition("#")
        cells = {cell for row in rows(PAGES[f"docs/throughput/{page}"]) for cell in row}
        if page.startswith("machines/"):
            quoted += 1
            assert set(figures) <= cells, f"{work}: {figures} are not all on {page}"
    assert quoted >= 10


def test_the_readmes_throughput_is_that_of_the_table():
    figures = {tuple(row[1:4]) for row in rows(PAGES["docs/throughput/index.md"])[1:]}
    quoted = [tuple(row[2:]) for row in rows(README) if tuple(row[2:]) in figures]
    assert len(quoted) == 3


def test_architecture_names_every_floor():
    floors = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    page = rows(PAGES["docs/develop/architecture.md"])
    for floor in floors:
        parts = {part.strip() for part in re.split(r"[:|]", floor)}
        assert any(parts <= set(re.findall(r"`(.*?)`", row[1])) for row in page), f"no row with {floor}"


def test_each_picture_has_one_place_on_the_site():
    used = [p for name in SITE for p in re.findall(r"!\[.*?\]\(.*?images/(.*?)\)", PAGES[name])]
    assert sorted(used) == sorted(set(used))
    assert set(used) == {path.name for path in (ROOT / "docs" / "images").iterdir()}


@pytest.mark.parametrize("name", WRITTEN)
def test_style(name):
    text = without_code(PAGES[name])
    faults = [s for p in prose(PAGES[name]) for s in sentences(p) if len(re.findall(r"\w[\w'-]*", s)) > 25]
    assert not faults, "at most 25 words a sentence: " + " | ".join(faults)
    assert not re.findall(r"(?<![\w.)\]/])\.\d\d*", text), "a zero goes before the point"
    assert not re.findall(r"\b(?:tell|tells|told|telling)\b.{0,30}", text), "say print, return, record"
    assert not re.findall(r"^#+ (?:What|Which|Whether|Of|How)\b.*", text, re.MULTILINE), "a heading is a noun phrase"


def test_pages_name_no_place_of_a_machine():
    for name, text in PAGES.items():
        assert not re.findall(r"(?:^|[\s\"'(`=])/(?:work|tmp|home|root)/", text), name


def test_the_site_fetches_nothing():
    config = (ROOT / "mkdocs.yml").read_text()
    assert "font: false" in config
    assert "http" not in config


def test_every_page_is_in_the_navigation():
    config = (ROOT / "mkdocs.yml").read_text()
    for name in SITE:
        assert f"{Path(name).relative_to('docs')}\n" in config, f"{name}: add it to mkdocs.yml"


def test_every_rule_of_reliability_names_a_test_that_is_there():
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGES["docs/develop/reliability.md"])
    assert len(named) >= 45
    for file, test in named:
        assert re.search(rf"^def {test}\(", (ROOT / file).read_text("utf-8"), re.MULTILINE), f"{file}::{test}"
