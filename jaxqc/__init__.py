"""jaxqc: visual quality inspection in JAX/Flax. The public API, imported lazily: importing this starts no device."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxqc.version import __version__ as __version__

__all__ = [
    "__version__",
    "evaluate",
    "evaluate_detector",
    "evaluate_segmentation",
    "export",
    "fit",
    "inspect",
    "load",
    "train",
]

if TYPE_CHECKING:
    from jaxqc import export
    from jaxqc.api import evaluate, evaluate_detector, evaluate_segmentation, fit, inspect, train


def load(path: str | Path, which: str = "best", fold: bool = True, batch: int = 16) -> Any:
    """The model of a training run, of a fit or of an export, by what its folder holds; see `jaxqc.api.load` and
    `jaxqc.export.load`. An export is opened without any network's code.

    Raises:
      UserError: no such folder, or what it holds is absent, damaged or of another version.
    """
    from jaxqc.export import folder

    if folder.is_export(path):
        from jaxqc.export import run

        return run.load(path, batch)
    from jaxqc import api

    return api.load(path, which, fold, batch)


def __getattr__(name: str) -> Any:
    if name in __all__:
        from importlib import import_module

        return import_module("jaxqc.export") if name == "export" else getattr(import_module("jaxqc.api"), name)
    raise AttributeError(f"module 'jaxqc' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
