"""The examples of jaxqc's docstrings run and give what they show; every public function has one."""

import dataclasses
import doctest
import inspect
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, get_origin

import pytest

import jaxqc
from jaxqc import api

ROOT = Path(jaxqc.__file__).parent
PACKAGES = ("jaxqc", *(f"jaxqc.{path.parent.name}" for path in sorted(ROOT.glob("*/__init__.py"))))
NAMESPACES = [name for name in PACKAGES if hasattr(import_module(name), "__all__")]
MODULES = sorted(
    ".".join(("jaxqc", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
    for path in ROOT.rglob("*.py")
    if ">>> " in path.read_text()
)


def examples(thing: Any) -> int:
    """Number of the lines that the docstrings of a function, a class or a class's methods run."""
    found = doctest.DocTestFinder(recurse=inspect.isclass(thing)).find(thing, "it", module=False)
    return sum(len(test.examples) for test in found)


def functions(module: ModuleType) -> dict[str, Any]:
    """The public functions that a module defines."""
    found = inspect.getmembers(module, inspect.isfunction)
    return {name: f for name, f in found if f.__module__ == module.__name__ and not name.startswith("_")}


def settings(thing: Any) -> bool:
    """True for a dataclass that only holds values: its fields are described one by one."""
    return dataclasses.is_dataclass(thing) and not any("__call__" in vars(base) for base in thing.__mro__)


def public(namespace: str) -> dict[str, Any]:
    """The functions and classes that a namespace names, without mere settings; of a module, its functions."""
    module, found = import_module(namespace), {}
    for name in module.__all__:
        thing = getattr(module, name)
        if inspect.ismodule(thing):
            found |= {f"{name}.{key}": function for key, function in functions(thing).items()}
        elif callable(thing) and get_origin(thing) is None and not settings(thing):
            found[name] = thing
    return found


@pytest.fixture(scope="module")
def fit_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """`jaxqc.fit`, which copies an earlier example's fit by the same recipe: their boards are the same."""
    plain: Callable[..., Any] = api.fit
    made: list[tuple[Any, Any]] = []

    def fit(config: Any, data: Any, out: str | None = None, **more: Any) -> Any:
        fitted = next((one for recipe, one in made if recipe == config), None)
        if fitted is None:
            fitted = plain(config, data, tmp_path_factory.mktemp("fits") / "fit", **more)
            made.append((config, fitted))
        return dataclasses.replace(fitted, folder=out and Path(shutil.copytree(fitted.folder, out)))

    return fit


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_show(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fit_once: Callable[..., Any]
) -> None:
    if name.startswith("jaxqc.serve."):
        pytest.importorskip("fastapi", reason="the extra `serve` is not installed: pip install 'jaxqc[serve]'")
    report: list[str] = []
    runner = doctest.DocTestRunner()
    found = doctest.DocTestFinder().find(import_module(name))
    plain = api.fit
    monkeypatch.setattr(api, "fit", fit_once)
    for test in found:
        test.globs |= {key: fit_once for key, value in test.globs.items() if value is plain}
        place = tmp_path / test.name  # each example begins in an empty folder
        place.mkdir()
        monkeypatch.chdir(place)
        runner.run(test, out=report.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(report)


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_every_public_function_has_an_example(namespace: str) -> None:
    lacking = [name for name, thing in public(namespace).items() if not examples(thing)]
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
