"""The pages as a reader meets them: short README, sound links, one place for each figure, the house's style."""

import re
from pathlib import Path

import pytest

from tests.support.pages import PAGES, ROOT, SITE, prose, sentences

README = PAGES["README.md"]
MACHINES = "docs/throughput/machines/"
"""Generated pages."""
WRITTEN = [name for name in PAGES if not name.startswith(MACHINES)]


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))


def test_the_readme_is_read_in_two_minutes():
    assert len(README.splitlines()) <= 110
    assert len(README.split()) <= 900


def test_nothing_stands_in_the_readme_twice():
    commands = [line for line in README.splitlines() if re.match(r"\s*(make|jaxqc|pip) ", line)]
    assert len(commands) == len(set(commands)) >= 10
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


def test_throughputs_figures_of_generated_pages_are_those_of_the_pages():
    """A row that links to a machine's page gives a ratio that stands there."""
    linked = 0
    for _, _, _, ratio, machine, _ in rows(PAGES["docs/throughput/index.md"])[1:]:
        if page := re.search(r"\((machines/.*?\.md)\)", machine):
            text, linked = PAGES[f"docs/throughput/{page.group(1)}"], linked + 1
            cells = {cell for row in rows(text) for cell in row}
            assert ratio in {shown(cell) for cell in cells}, f"{ratio} is not on {page.group(1)}"
    assert linked >= 5


def shown(cell: str) -> str:
    """A generated cell, rounded to two digits, or to whole numbers from ten on."""
    try:
        value = float(cell.replace(",", ""))
    except ValueError:
        return cell
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}" if value >= 0.1 else cell


def test_each_picture_has_one_place_on_the_site():
    used = [p for name in SITE for p in re.findall(r"!\[.*?\]\(.*?images/(.*?)\)", PAGES[name])]
    assert sorted(used) == sorted(set(used))
    assert set(used) == {path.name for path in (ROOT / "docs" / "images").iterdir()}


@pytest.mark.parametrize("name", WRITTEN)
def test_style(name):
    text = without_code(PAGES[name])
    faults = [s for p in prose(PAGES[name]) for s in sentences(p) if len(re.findall(r"\w[\w'-]*", s)) > 25 + slack(s)]
    assert not faults, "at most 25 words a sentence: " + " | ".join(faults)
    assert not re.findall(r"(?<![\w.)\]/])\.\d\d*", text), "a zero goes before the point"
    assert not re.findall(r"\b(?:tell|tells|told|telling)\b.{0,30}", text), "say print, return, record"
    assert not re.findall(r"^#+ (?:What|Which|Whether|Of|How)\b.*", text, re.MULTILINE), "a heading is a noun phrase"


def slack(sentence: str) -> int:
    """Numbers in a row are read as one: digits do not count as words."""
    return len(re.findall(r"\b\d[\d.,%-]*|code", sentence))


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
