"""jaxqc: visual quality inspection in JAX/Flax. The public API, imported lazily: importing this starts no device."""

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
    from jaxqc.kinds import load


def __getattr__(name: str) -> Any:
    if name in __all__:
        from importlib import import_module

        if name == "export":
            return import_module("jaxqc.export")
        # Loading a model imports its kind alone.
        return getattr(import_module("jaxqc.kinds" if name == "load" else "jaxqc.api"), name)
    raise AttributeError(f"module 'jaxqc' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
