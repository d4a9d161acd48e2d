"""Markdown tables of results: rows of cells, mean and standard deviation over seeds."""

import math
import statistics
from collections.abc import Sequence


def table_row(cells: Sequence[str]) -> str:
    """A table's row; a pipe within a cell is escaped.

    >>> table_row(["method", "mIoU"])
    '| method | mIoU |'
    """
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def table_head(cells: Sequence[str]) -> list[str]:
    """The two lines that begin a table: the first column to the left, all others to the right.

    >>> table_head(["method", "mIoU"])
    ['| method | mIoU |', '|---|--:|']
    """
    return [table_row(cells), "|---|" + "--:|" * (len(cells) - 1)]


def mean_and_deviation(values: Sequence[float | None], digits: int, sign: str = "", absent: str = "—") -> str:
    """Mean ± standard deviation (n - 1); the value alone where there is one, `absent` where any is missing.

    sign: "+" prints the sign of the mean.

    >>> mean_and_deviation([0.5, 0.7], 2)
    '0.60 ± 0.14'
    >>> mean_and_deviation([1.25], 2, "+")
    '+1.25'
    >>> mean_and_deviation([0.5, None], 2)
    '—'
    """
    known = [v for v in values if v is not None and math.isfinite(v)]
    if not known or len(known) < len(values):
        return absent
    mean = f"{statistics.fmean(known):{sign}.{digits}f}"
    return mean if len(known) == 1 else f"{mean} ± {statistics.stdev(known):.{digits}f}"
