"""Docstrings of jaxqc begin as the house's style asks: with a noun phrase or "Does X"."""

import ast
from collections.abc import Iterator
from pathlib import Path

import jaxqc

PLACES = [
    Path(jaxqc.__file__).parent,
    *(Path(__file__).parents[1] / name for name in ("benchmarks", "scripts", "tests")),
]
FORBIDDEN = {"How", "None", "Of", "That", "What", "Where", "Whether", "Which", "Who", "Why"}


def docstrings(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of every docstring: of modules, classes, functions, and below fields and constants."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            for line in node.body:
                if isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant):
                    yield line.lineno, str(line.value.value)


def test_no_docstring_begins_with_a_question_word() -> None:
    faults = [
        f"{path}:{line}: {text.strip().splitlines()[0]}"
        for place in PLACES
        for path in sorted(place.rglob("*.py"))
        for line, text in docstrings(path.read_text())
        if text.split()[0].strip(",.:;") in FORBIDDEN
    ]
    assert not faults, "\n".join(faults)


def test_docstrings_of_all_kinds_are_seen() -> None:
    source = '"""A."""\nX = 1\n"""B."""\nclass C:\n    """C."""\n    x: int\n    """D."""\n    def f(): "E."'
    assert sorted(text for _, text in docstrings(source)) == ["A.", "B.", "C.", "D.", "E."]
