"""The built site stands alone: no page fetches a script, style, font or picture from outside. Used by `make docs`.

python scripts/check_site.py build/site
"""

import argparse
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "link": "href"}
"""Elements whose address a browser fetches by itself; an `a` waits for a click."""


class Fetches(HTMLParser):
    """Collects the addresses that a page fetches from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keeps the address where it names a server; `link` to the page itself (canonical, alternate) is no fetch."""
        values = dict(attrs)
        address = values.get(FETCHED.get(tag, "")) or ""
        if address.startswith(("http:", "https:", "//")) and values.get("rel") not in ("canonical", "alternate"):
            self.found.append(f"{tag} {address}")


def outside(folder: Path) -> Iterator[str]:
    """Each fetch from outside as a line `page: element address`; styles count with `url(http...)` and `@import`."""
    for page in sorted(folder.rglob("*.html")):
        parser = Fetches()
        parser.feed(page.read_text(encoding="utf-8"))
        yield from (f"{page.relative_to(folder)}: {address}" for address in parser.found)
    for style in sorted(folder.rglob("*.css")):
        text = style.read_text(encoding="utf-8")
        if "url(http" in text or "url(//" in text or "@import" in text:
            yield f"{style.relative_to(folder)}: a style that fetches from outside"


def main() -> int:
    """Prints the fetches; the exit code is 1 where there are any, or where there is no site."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="the built site")
    folder = parser.parse_args().folder
    if not (folder / "index.html").is_file():
        print(f"{folder}: no site here; build it with `make docs`", file=sys.stderr)
        return 1
    lines = list(outside(folder))
    print("\n".join(lines), end="\n" if lines else "", file=sys.stderr)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
