"""A model as one compiled graph with its weights: written by `write`, opened again by `load`. Imported lazily."""

from typing import TYPE_CHECKING, Any

__all__ = ["Exported", "is_export", "load", "write"]

if TYPE_CHECKING:
    from jaxqc.export.folder import is_export
    from jaxqc.export.run import Exported, load
    from jaxqc.export.write import write

_MODULES = {"Exported": "run", "is_export": "folder", "load": "run", "write": "write"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        from importlib import import_module

        return getattr(import_module(f"jaxqc.export.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'jaxqc.export' has no attribute {name!r}")
