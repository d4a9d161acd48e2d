"""The top of a report: what must be known before anything else is read, a sentence each, the gravest first."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from jaxqc.error_rates import statement
from jaxqc.inspection.report.contents import LotView, Report, SupplierView
from jaxqc.inspection.report.model_card import proved, rates_of
from jaxqc.inspection.report.templating import many, plural, sentence

Level = Literal["alarm", "warning", "note"]
MANY_WAIT, SOME_WAIT = 0.5, 0.2
"""Shares of pieces that wait for review: from the first on the page begins with it, from the second on it is said."""

FOUND = 0.5
"""The lower limit of the share of defective images found below which the page warns."""


@dataclass(frozen=True)
class Statement:
    """A sentence, and the lots that it is about, which the page links."""

    level: Level
    head: str
    """A few words, printed in bold."""
    text: str
    lots: tuple[LotView, ...] = ()


def statements(report: Report) -> list[Statement]:
    """All that a reader must know first. Nothing where no image was inspected."""
    if not report.images:
        return []
    waiting = _waiting(report)
    first = [waiting] if waiting and waiting.level == "alarm" else []
    second = [waiting] if waiting and waiting.level != "alarm" else []
    return [
        *first, *_misses(report), *_lots(report), *_copies(report), *_lost(report), *second, *_suppliers(report),
        *_loose(report),
    ]  # fmt: skip


def _waiting(report: Report) -> Statement | None:
    share = report.waiting / report.pieces
    if share < SOME_WAIT:
        return None
    text = f"{many(report.waiting)} of {plural(report.pieces, 'piece')} ({100 * share:.0f} %) wait for review."
    by_lot = {view.number: view.figures.waiting / view.figures.pieces for view in report.every_lot}
    worst = sorted((v for v in report.every_lot if by_lot[v.number] >= SOME_WAIT), key=lambda v: -by_lot[v.number])
    if share >= MANY_WAIT:
        half = "Half of the pieces wait for review" if share < 0.55 else "Most pieces wait for review"
        more = " Grades and decisions below count them as the rules say, and change once people have looked at them."
        return Statement("alarm", half, text + more, _named(report, worst))
    return Statement("warning", "Waiting for review", text, _named(report, worst))


def _misses(report: Report) -> list[Statement]:
    out, names = [], [card.info.name for card in report.cards]
    for card in report.cards:
        rates = rates_of(card.info.details)
        text = statement(rates, report.rules.lots.confidence)
        text = f"the model {text}" if text.startswith("finds") else text
        if len(report.cards) > 1:
            which = card.info.digest[:12] if not card.info.name or names.count(card.info.name) > 1 else ""
            text = f"model {' '.join(filter(None, (card.info.name, which)))}: {text}"
        # A model that was measured may still miss much: that is a warning where the interval reaches half.
        level: Level = "alarm"
        if rates is not None and proved(rates):
            level = "warning" if rates.interval("tpr")[0] < FOUND else "note"
        head = "No all-clear" if level == "alarm" else "Misses are counted in"
        out.append(Statement(level, head, sentence(text)))
    return out


def _lots(report: Report) -> list[Statement]:
    kinds: list[tuple[Level, str, str, Callable[[LotView], bool]]] = [
        ("alarm", "Refuse", "refusing {} costs least, by the rules' costs", lambda v: v.action == "refuse"),
        ("alarm", "High risk", "the risk is high for {}", lambda v: v.figures.risk == "high"),
        ("warning", "Look first", "people should look at more pieces of {} before these are decided",
         lambda v: v.action == "review"),
    ]  # fmt: skip
    out = []
    for level, head, words, fits in kinds:
        found = [view for view in report.every_lot if fits(view)]
        if found:
            number = f"{many(len(found))} of {plural(report.all_lots, 'lot')}"
            text = words.format(number)
            out.append(Statement(level, head, sentence(text), _named(report, found)))
    return out


def _named(report: Report, lots: Sequence[LotView]) -> tuple[LotView, ...]:
    """The lots to name: none where all are meant and they are many."""
    return () if len(lots) == report.all_lots > 3 else tuple(lots)


def _copies(report: Report) -> list[Statement]:
    out = []
    again = [copy for copy in report.copies if copy.alarm]
    if again:
        pieces = sum(copy.kind == "pieces" for copy in again)
        parts = [f"{many(n)} {where}" for n, where in (
            (pieces, "for several pieces of one lot"), (len(again) - pieces, "in several lots")) if n]  # fmt: skip
        text = f"{plural(len(again), 'photo')} used again: {' and '.join(parts)}. "
        text += "A photo shows one piece, so some were never seen."
        names = {place.lot for copy in again for place in copy.places}
        lots = tuple(view for view in report.every_lot if view.lot.name in names)
        out.append(Statement("alarm", "Copied photos", text, lots))
    if len(report.copies) > len(again):
        others = plural(len(report.copies) - len(again), "picture")
        text = f"{others} under several names in one lot, each counted once."
        out.append(Statement("note", "Copies", text))
    return out


def _lost(report: Report) -> list[Statement]:
    lists = report.listings.values()
    missing, broken, other = (sum(getattr(one, name) for one in lists) for name in ("missing", "broken", "other"))
    out = []
    if missing or broken or other:
        kinds = ((missing, "missing"), (broken, "broken"), (other, "left out for other reasons"))
        parts = ", ".join(f"{many(n)} {name}" for n, name in kinds if n)
        text = f"{plural(sum(one.listed for one in lists), 'image')} listed: {parts}. Those are counted nowhere below."
        lots = tuple(v for v in report.every_lot if v.listing and not v.listing.complete)
        out.append(Statement("alarm", "Not inspected", text, lots))
    if report.unseen:
        names = ", ".join(report.unseen[:6]) + (f" and {len(report.unseen) - 6} more" if report.unseen[6:] else "")
        text = f"{plural(len(report.unseen), 'lot')} of which no image could be inspected: {names}."
        out.append(Statement("alarm", "Lots not seen", text))
    return out


def _suppliers(report: Report) -> list[Statement]:
    out = []
    for supplier in report.suppliers:
        if supplier.figures.trend != "worse":
            continue
        since = _since(supplier)
        if since:
            text = "The running average of defective pieces is above its limit since this lot:"
        else:
            text = ("The share of defective pieces rises from lot to lot "
                    f"({supplier.figures.drift or 0:.1f} standard deviations of a test for trend).")  # fmt: skip
        name = supplier.figures.supplier
        head = f"Supplier {name} grows worse" if name else "The supplier that is not named grows worse"
        out.append(Statement("warning", head, text, (since,) if since else ()))
    return out


def _since(supplier: SupplierView) -> LotView | None:
    """The lot since which a supplier's EWMA has been above the limit without a break; None where it is not above: then
    its lots grow worse by `drift_index`."""
    above = (supplier.ewma.value > supplier.ewma.high).tolist()
    if not above[-1]:
        return None
    inside = [i for i, out in enumerate(above) if not out]
    return supplier.lots[inside[-1] + 1 if inside else 0]


def _loose(report: Report) -> list[Statement]:
    out = []
    if report.loose_images:
        text = f"{plural(report.loose_images, 'image')} without a lot: counted below, not graded."
        out.append(Statement("note", "No lot", text))
    return out
