"""A model as one compiled graph with its weights: written by `write`, opened again by `load`. Imported lazily."""

from typing import TYPE_CHECKING

from jaxqc.lazy import lazy_names

__all__ = ["Exported", "is_export", "load", "write"]

if TYPE_CHECKING:
    from jaxqc.export.exported import Exported, load
    from jaxqc.export.folder import is_export
    from jaxqc.export.writing import write

__getattr__, __dir__ = lazy_names(
    __name__, {"Exported": "exported", "is_export": "folder", "load": "exported", "write": "writing"}
)
