"""The examples of jaxqc's docstrings run and give what they show; every public function has one."""

import doctest
import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import jaxqc

ROOT = Path(jaxqc.__file__).parent
NAMESPACES = ("jaxqc", "jaxqc.nn", "jaxqc.models", "jaxqc.metrics", "jaxqc.anomaly", "jaxqc.semi")
MODULES = sorted(
    ".".join(("jaxqc", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
    for path in ROOT.rglob("*.py")
    if ">>> " in path.read_text()
)


def examples(thing: Any) -> int:
    """Number of the lines that the docstrings of a function, a class or a class's methods run."""
    found = doctest.DocTestFinder(recurse=inspect.isclass(thing)).find(thing, "it", module=False)
    return sum(len(test.examples) for test in found)


def callables(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """The public functions and classes that a namespace names; of a module that it names, those defined there."""
    for name in dir(module):
        thing = getattr(module, name)
        if name.startswith("_") or not getattr(thing, "__module__", thing.__name__ if inspect.ismodule(thing) else ""):
            continue
        if inspect.ismodule(thing):
            if thing.__name__.startswith("jaxqc.") and module.__name__ in NAMESPACES:
                for inner, each in vars(thing).items():
                    if not inner.startswith("_") and getattr(each, "__module__", "") == thing.__name__:
                        yield f"{name}.{inner}", each
        elif callable(thing) and thing.__module__.startswith("jaxqc."):
            yield name, thing


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_show(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    report: list[str] = []
    runner = doctest.DocTestRunner()
    for test in doctest.DocTestFinder().find(import_module(name)):
        runner.run(test, out=report.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(report)


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_every_public_function_has_an_example(namespace: str) -> None:
    lacking = [name for name, thing in callables(import_module(namespace)) if not examples(thing)]
    assert not lacking, f"{namespace}: no example of {', '.join(lacking)}"


def test_a_function_without_example_is_seen() -> None:
    def bare() -> None:
        """Does nothing."""

    def shown() -> None:
        """Does nothing.

        >>> 1 + 1
        2
        """

    assert examples(bare) == 0
    assert examples(shown) == 1
