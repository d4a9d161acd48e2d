"""Lots, suppliers and other figures as tables on the terminal. Names come from data: plain text, never markup.

A cell is a text, or a tuple of lines. No number is ever broken: only names are folded, and columns that a narrow
terminal has no room for are left out by name.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jaxqc.data.problems import printable
from jaxqc.inspection.findings import VERDICTS, LotFinding

LEAST = 80
"""Columns of a terminal below which lines are wrapped by the terminal itself."""
ELSEWHERE = 200
"""Columns of what is no terminal."""
NAME = 10
"""Columns that a name needs; a longer one is folded."""


@dataclass(frozen=True)
class Column:
    """A column of a table: title, a cell a line, and how soon it may go where there is no room: 0 = never, 1 first."""

    title: str
    cells: Sequence[Any]
    name: bool = False
    """Cells are names, which may be folded."""
    spare: int = 0


def show_lots(found: Sequence[tuple[Any, LotFinding]], width: int | None = None) -> None:
    """A table of `queries.lot_findings`, with what the reader must know first, and notes where suppliers share a lot id
    or lots share pictures. width: of the terminal; None finds it."""
    for line in _first(found):
        print(line)
    of = lambda value: [value(lot, f) for lot, f in found]
    columns = [
        Column("lot", of(lambda lot, _: lot.name), name=True),
        Column("supplier", of(lambda lot, _: lot.supplier), name=True, spare=5),
        Column("product", of(lambda lot, _: lot.product), name=True, spare=3),
        Column("line", of(lambda lot, _: lot.line), name=True, spare=2),
        Column("pieces", of(lambda _, f: f.pieces)),
        Column("pass / review / reject", of(lambda _, f: " / ".join(str(f.verdicts[v]) for v in VERDICTS)), spare=6),
        Column("waiting", of(lambda _, f: f.waiting)),
        Column("counted %", of(lambda _, f: _stacked(f.fraction, f.low, f.high)), spare=7),
        Column("defective %", of(_share)),
        Column("grade", of(lambda _, f: f.grade)),
        Column("risk", of(lambda _, f: f.risk)),
        Column("decision", of(lambda _, f: _decision(f))),
        Column("classes", of(lambda _, f: _top(f.composition)), name=True, spare=4),
        Column("model", of(lambda lot, _: lot.model[:12]), spare=1),
    ]
    show_columns(columns, "Lots", width)
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


def show_suppliers(suppliers: Sequence[Any], width: int | None = None) -> None:
    """A table of `suppliers.summarise`."""
    of = lambda value: [value(s) for s in suppliers]
    columns = [
        Column("rank", of(lambda s: s.rank)),
        Column("supplier", of(lambda s: s.supplier or "not named"), name=True),
        Column("lots", of(lambda s: s.lots)),
        Column("pieces", of(lambda s: s.inspected)),
        Column("passed %", of(lambda s: _stacked(s.pass_rate, s.low, s.high))),
        Column("stability", of(lambda s: "—" if s.stability is None else f"{s.stability:.2f}")),
        Column("trend", of(lambda s: s.trend)),
        Column("outside limits", of(lambda s: s.outside), spare=1),
    ]
    show_columns(columns, "Suppliers", width)


def interval(value: float, low: float, high: float, scale: float) -> str:
    """A number with its limits, all times `scale`."""
    return f"{scale * value:.2f} ({scale * low:.2f} to {scale * high:.2f})"


def show(columns: Sequence[str], lines: Sequence[Sequence[Any]], title: str) -> None:
    """A table on stdout, as wide as the terminal; elsewhere 200 columns."""
    _print(title, [Column(name, [line[i] for line in lines], name=True) for i, name in enumerate(columns)], None)


def show_columns(columns: Sequence[Column], title: str, width: int | None = None) -> None:
    """A table of the columns that the terminal has room for; the others are named below it."""
    kept, room = list(columns), _console(width).width
    while sum(map(_needs, kept)) + 1 > room and (spare := [c for c in kept if c.spare]):
        kept.remove(min(spare, key=lambda c: c.spare))
    _print(title, kept, width)
    gone = [c.title for c in columns if c not in kept]
    if gone:
        print(f"not shown for want of room: {', '.join(gone)}")


def _first(found: Sequence[tuple[Any, LotFinding]]) -> list[str]:
    """Lines that a reader must know before the figures."""
    from jaxqc.inspection.acceptance.shares import UNCOUNTED  # heavy: on first use

    pieces, waiting = (sum(getattr(f, name) for _, f in found) for name in ("pieces", "waiting"))
    lines = []
    if pieces and 2 * waiting >= pieces:
        lines.append(f"{waiting} of {pieces} pieces wait for review: people look at them before lots are judged")
    for origin, text in ((None, UNCOUNTED), ("pasted defects", "misses have been measured on pasted defects only")):
        lots = sum((f.share.origin if f.share else None) == origin for _, f in found)
        if lots:
            lines.append(f"{text} ({lots} of {len(found)} lots): none of these is of low risk")
    return lines


def _share(_: Any, f: LotFinding) -> tuple[str, ...]:
    if f.share is None:
        return *_stacked(f.fraction, f.low, f.high), "misses", "unknown"
    return *_stacked(f.share.estimate, f.share.low, f.share.high), *f.share.origin.split(" ")


def _stacked(value: float, low: float, high: float) -> tuple[str, str]:
    shown, *ends = (f"{100 * v:.{1 if v >= 0.1 else 2}f}" for v in (value, low, high))
    return shown, " to ".join(ends)


def _decision(f: LotFinding) -> str:
    if f.decision is None:
        return "—"
    return f"{f.decision.action} {f.decision.more}" if f.decision.more else f.decision.action


def _top(composition: Any) -> str:
    most = sorted(composition.items(), key=lambda item: (-item[1], item[0]))[:3]
    return ", ".join(f"{name} {count}" for name, count in most)


def _lines(cell: Any) -> list[str]:
    return [printable(line) for line in (cell if isinstance(cell, tuple) else (cell,))]


def _needs(column: Column) -> int:
    """Characters that a column takes at least, with a blank on both sides and its border."""
    from rich.cells import cell_len

    wide = max((cell_len(line) for cell in column.cells for line in _lines(cell)), default=0)
    return 3 + max(cell_len(column.title), min(wide, NAME) if column.name else wide)


def _console(width: int | None) -> Any:
    from rich.console import Console

    console = Console()
    if width is None:
        width = max(console.width, LEAST) if console.is_terminal else ELSEWHERE
    return Console(width=width)


def _print(title: str, columns: Sequence[Column], width: int | None) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column.title, no_wrap=not column.name, overflow="fold")
    texts = [[Text("\n".join(_lines(cell)), no_wrap=not column.name) for cell in column.cells] for column in columns]
    for line in zip(*texts, strict=True):
        table.add_row(*line)
    _console(width).print(table)
