"""The HTML report of a ledger, and the gallery of worst images that it shows. Imported on first use."""

from typing import TYPE_CHECKING

from jaxqc.lazy import lazy_names

__all__ = ["Gallery", "Picture", "worst_figure", "write_report"]

if TYPE_CHECKING:
    from jaxqc.inspection.report.figures import worst_figure
    from jaxqc.inspection.report.gallery import Gallery, Picture
    from jaxqc.inspection.report.page import write_report

__getattr__, __dir__ = lazy_names(
    __name__, {"Gallery": "gallery", "Picture": "gallery", "worst_figure": "figures", "write_report": "page"}
)
