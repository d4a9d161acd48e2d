"""The HTML report of a ledger, and the gallery of worst images that it shows. Imported on first use."""

from typing import TYPE_CHECKING, Any

__all__ = ["Gallery", "Picture", "worst_figure", "write_report"]

if TYPE_CHECKING:
    from jaxqc.inspection.report.figures import worst_figure
    from jaxqc.inspection.report.gallery import Gallery, Picture
    from jaxqc.inspection.report.page import write_report

_HOMES = {"Gallery": "gallery", "Picture": "gallery", "worst_figure": "figures", "write_report": "page"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
