"""Lots, suppliers and other figures as tables on the terminal. Names come from data: plain text, never markup."""

import sys
from collections.abc import Sequence
from typing import Any

from jaxqc.data.problems import printable
from jaxqc.inspection.findings import VERDICTS

_LOTS = ("lot", "supplier", "product", "line", "images", "pass / review / reject", "defective % (95 %)", "Q", "grade",
         "risk", "classes", "model")  # fmt: skip
_SUPPLIERS = ("rank", "supplier", "lots", "images", "passed % (95 %)", "stability", "trend", "lots outside limits")


def show_lots(found: Sequence[tuple[Any, Any]]) -> None:
    """A table of `queries.lot_findings`, and notes where suppliers share a lot id or lots share pictures."""
    lines = [
        (lot.name, lot.supplier, lot.product, lot.line, f.images,
         " / ".join(str(f.verdicts[v]) for v in VERDICTS), interval(f.fraction, f.low, f.high, 100),
         f"{f.quality:.1f}", f.grade, f.risk, _top(f.composition), lot.model[:12])
        for lot, f in found
    ]  # fmt: skip
    show(_LOTS, lines, "Lots")
    for lot, _ in found:
        if lot.suppliers > 1:
            name = printable(lot.name)
            print(f"note: the images of lot '{name}' name {lot.suppliers} suppliers; lot ids must differ",
                  file=sys.stderr)  # fmt: skip
    sharing = [f"{lot.name!r} {lot.shared} of {f.images}" for lot, f in found if lot.shared]
    if sharing:
        more = f" and {len(sharing) - 5} more lots" if len(sharing) > 5 else ""
        print(f"note: pictures that lie in other lots too count in each: {', '.join(sharing[:5])}{more}",
              file=sys.stderr)  # fmt: skip


def show_suppliers(suppliers: Sequence[Any]) -> None:
    """A table of `suppliers.summarise`."""
    show(_SUPPLIERS, [
        (s.rank, s.supplier or "not named", s.lots, s.inspected, interval(s.pass_rate, s.low, s.high, 100),
         "—" if s.stability is None else f"{s.stability:.2f}", s.trend, s.outside)
        for s in suppliers
    ], "Suppliers")  # fmt: skip


def interval(value: float, low: float, high: float, scale: float) -> str:
    """A number with its limits, all times `scale`."""
    return f"{scale * value:.2f} ({scale * low:.2f} to {scale * high:.2f})"


def _top(composition: Any) -> str:
    most = sorted(composition.items(), key=lambda item: (-item[1], item[0]))[:3]
    return ", ".join(f"{name} {count}" for name, count in most)


def show(columns: Sequence[str], lines: Sequence[Sequence[Any]], title: str) -> None:
    """A table on stdout, as wide as the terminal; elsewhere 200 columns."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    console = console if console.is_terminal else Console(width=200)
    table = Table(*columns, title=title, title_justify="left")
    for line in lines:
        table.add_row(*(Text(printable(cell)) for cell in line))
    console.print(table)
