"""The README and every page of the documentation, with their commands, code blocks and prose."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OUTSIDE = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
SITE = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))
WORKED_EXAMPLES = "docs/develop/add_"
"""Pages of this beginning are packages in small; tests/test_outsiders.py builds and runs them from outside."""
PAGES = {name: (ROOT / name).read_text(encoding="utf-8") for name in (*OUTSIDE, *SITE)}


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def python_with_output(text: str) -> list[tuple[str, str]]:
    """The Python blocks, each with the block of text that directly follows it and shows what it prints; "" = none."""
    return re.findall(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```)?", text, re.DOTALL | re.MULTILINE)


def commands(text: str) -> list[str]:
    """The lines of a page's shell blocks, continued ones joined, without comments; and those of cells with `<br>`."""
    lines = [line for block in blocks(text, "sh") for line in block.replace("\\\n", " ").splitlines()]
    cells = [line for line in text.splitlines() if line.startswith("|") and "<br>" in line]
    lines += [code for line in cells for code in re.findall(r"`(jaxqc .*?)`", line)]
    return [" ".join(line.split()) for line in lines if line.strip() and not line.startswith("#")]


def words(command: str) -> list[str]:
    """A command's words without comments and leading variables."""
    found = shlex.split(command, comments=True)
    while re.match(r"[A-Z_]+=", found[0]):
        found.pop(0)
    return found


def programs(*names: str) -> list[str]:
    """Every page's commands that start with one of these programs, or with any, each once."""
    pages = [text for name, text in PAGES.items() if not name.startswith(WORKED_EXAMPLES)]
    found = dict.fromkeys(command for text in pages for command in commands(text))
    return [command for command in found if not names or words(command)[0] in names]


def prose(text: str) -> list[str]:
    """The paragraphs and list items of a page, without code, tables, headings, pictures and links' addresses."""
    text = re.sub(r"^---\n.*?^---\n", "", text, count=1, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"`[^`]*`", "code", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    found = []
    for paragraph in re.split(r"\n\s*\n", text):
        lines = [line for line in paragraph.splitlines() if not re.match(r"\s*(\||#|!\[|<|:::|--8<--|\?\?\?)", line)]
        joined = "\n".join(lines)
        items = re.split(r"^\s*(?:[-*]|\d+\.) ", joined, flags=re.MULTILINE)
        found += [" ".join(re.sub(r"[*_]{1,2}", "", item).split()) for item in items if item.strip()]
    return found


def sentences(paragraph: str) -> list[str]:
    """A paragraph's sentences."""
    return re.split(r"(?<=[.!?])\s+", paragraph)
