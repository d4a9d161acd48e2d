"""Defects and grades against returns and complaints: rates, relative risks, and a product line before and after.

A lot's orders share its quality, so they are no independent sample: beside the usual interval each figure has one that
takes the lots as clusters (`proportions.design_effect`). Every interval stands for itself; of twenty 95 % intervals one
misses by chance.
"""

import datetime
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from jaxqc.errors import UserError
from jaxqc.inspection.findings import GRADES, LotFinding
from jaxqc.inspection.ledger.queries import Lot, lot_findings
from jaxqc.inspection.ledger.store import Ledger
from jaxqc.inspection.outcomes.orders import EXAMPLES, moment
from jaxqc.inspection.outcomes.proportions import Estimate, cases_needed, difference, relative_risk
from jaxqc.inspection.outcomes.sales import CONFIDENCE, OUTCOMES, Group, group_of, sales_by_lot, under_names
from jaxqc.inspection.rules import GradeRules

EXPECTED = 5
"""A relative risk is shown where each of its four cells is expected to hold as many orders (Cochran's rule)."""
ORDERS = 30
"""A before/after difference is shown where both windows have as many orders."""
POWER = 0.8
LEEWAY = 2
"""Days by which two windows may differ in length: a month of a leap year, a change of clocks."""


@dataclass(frozen=True)
class Comparison:
    """Two groups. `estimate`: relative risk (group over other) or difference (after - before); None: too few orders."""

    outcome: str
    by: str
    """`grade`, `class` or `time`."""
    group: Group
    other: Group
    estimate: Estimate | None
    clustered: Estimate | None
    """The same, with the lots as clusters; None where a group has one lot only."""
    more: tuple[int, int]
    """Orders that `group` and `other` lack for a test that sees the rate doubled or halved, with power `POWER`."""
    note: str


@dataclass(frozen=True)
class OutcomeReport:
    """All comparisons, and which orders they rest on."""

    orders: int
    joined: int
    """Orders of inspected lots."""
    unknown: int
    """Orders that name no lot, and whose order no image's manifest row names with one lot alone."""
    groups: tuple[tuple[str, str, Group], ...]
    """(outcome, `grade` or `class` or `all`, the group)."""
    comparisons: tuple[Comparison, ...]
    unmatched: tuple[str, ...] = ()
    """Examples of lots that orders name and no inspection has, those of most orders first."""
    inspected: tuple[str, ...] = ()
    """Examples of inspected lots that no order names."""


def outcome_report(ledger: Ledger, rules: GradeRules, model: str = "") -> OutcomeReport:
    """`report_of` all lots by these rules. model: digest; "" as `lot_findings`."""
    return report_of(ledger, lot_findings(ledger, rules, model))


def report_of(ledger: Ledger, lots: Iterable[tuple[Lot, LotFinding]]) -> OutcomeReport:
    """Returns and complaints by lot grade, and by whether a class of defects occurs in the lot.

    Grades are compared with the best one that has orders; a class's lots with the lots without it.
    """
    graded = {lot.name: finding for lot, finding in lots}
    sales = under_names(sales_by_lot(ledger), graded)
    joined = [s for s in sales if s.lot in graded]
    groups: list[tuple[str, str, Group]] = []
    comparisons: list[Comparison] = []
    classes = sorted({name for finding in graded.values() for name in finding.composition})

    def part(outcome: str, name: str, keep: Callable[[LotFinding], bool]) -> Group:
        return group_of(outcome, name, [s for s in joined if keep(graded[s.lot or ""])])

    for outcome in OUTCOMES:
        groups.append((outcome, "all", part(outcome, "all", lambda _: True)))
        by_grade = [part(outcome, grade, lambda f, grade=grade: f.grade == grade) for grade in GRADES]
        by_grade = [group for group in by_grade if group.lots]
        groups += [(outcome, "grade", group) for group in by_grade]
        known = [group for group in by_grade if group.orders]
        comparisons += [_risk(outcome, "grade", group, known[0]) for group in known[1:]]
        for name in classes:
            having = part(outcome, name, lambda f, name=name: name in f.composition)
            without = part(outcome, f"lots without {name}", lambda f, name=name: name not in f.composition)
            groups.append((outcome, "class", having))
            comparisons.append(_risk(outcome, "class", having, without))
    total, unknown = sum(s.orders for s in sales), sum(s.orders for s in sales if s.lot is None)
    lost = sorted((s for s in sales if s.lot is not None and s.lot not in graded), key=lambda s: -s.orders)
    named = {s.lot for s in joined}
    return OutcomeReport(
        total,
        sum(s.orders for s in joined),
        unknown,
        tuple(groups),
        tuple(comparisons),
        unmatched=tuple(s.lot or "" for s in lost[:EXAMPLES]),
        inspected=tuple(name for name in graded if name not in named)[:EXAMPLES],
    )


def before_after(
    ledger: Ledger, before: tuple[str, str], after: tuple[str, str], product: str = "", line: str = ""
) -> list[Comparison]:
    """A product or line in two windows [from, to) of ISO 8601 times: difference of its rates, after - before.

    An order's product and line are those of its own row, else of its lot. Orders without a time are left out.

    Raises:
      UserError: windows that are no times, empty, overlapping or of unlike length; no order of this product and line.
    """
    windows = _windows(before, after)
    found = [sales_by_lot(ledger, product, line, *window) for window in windows]
    if not any(found):
        what = f"product {product!r}, line {line!r}" if product or line else "any product"
        raise UserError(f"outcomes: no order of {what} in the two windows; import them with their times first")
    names = [" to ".join(end[:10] for end in window) for window in windows]
    out = []
    for outcome in OUTCOMES:
        old, new = (group_of(outcome, name, sales) for name, sales in zip(names, found, strict=True))
        note = "" if min(old.orders, new.orders) >= ORDERS else f"fewer than {ORDERS} orders in a window"
        out.append(_compare(outcome, "time", new, old, difference, 0, note))
    return out


def _windows(before: tuple[str, str], after: tuple[str, str]) -> list[tuple[str, str]]:
    windows = [(moment(w[0], name), moment(w[1], name)) for name, w in (("--before", before), ("--after", after))]
    (a, b), (c, d) = ([datetime.datetime.fromisoformat(end or "1970-01-01T00:00Z") for end in w] for w in windows)
    if not all(end for w in windows for end in w) or a >= b or c >= d:
        raise UserError("--before, --after: each is a window FROM TO, the earlier first, as 2026-01-01 2026-04-01")
    if b > c:
        raise UserError(
            f"--before ends {b:%Y-%m-%d}, later than --after begins ({c:%Y-%m-%d}); windows must not overlap"
        )
    if abs((b - a) - (d - c)) > datetime.timedelta(days=LEEWAY):
        raise UserError(f"--before is {(b - a).days} days, --after {(d - c).days}; compare windows of the same length")
    return windows


def _risk(outcome: str, by: str, group: Group, other: Group) -> Comparison:
    total, cases = group.orders + other.orders, group.cases + other.cases
    share = min(cases, total - cases) / total if total else 0
    enough = min(group.orders, other.orders) * share >= EXPECTED
    if not group.orders or not other.orders:
        note = f"no orders of {(other if group.orders else group).name}"
    elif cases in (0, total):
        note = "all in both groups" if cases else "none in either group"
    else:
        note = "" if enough else "too few orders"
    return _compare(outcome, by, group, other, relative_risk, 1, note)


def _compare(
    outcome: str, by: str, one: Group, other: Group, compare: Callable[..., Estimate | None], same: float, note: str
) -> Comparison:
    """The comparison, without numbers where `note` says why there are none. `same`: its value where nothing differs."""
    plain = clustered = None
    if not note:
        a, b = one.spread, other.spread
        plain = compare(one.cases, one.orders, other.cases, other.orders, CONFIDENCE)
        if math.isfinite(a) and math.isfinite(b):  # cases and orders become effective numbers
            clustered = compare(one.cases / a, one.orders / a, other.cases / b, other.orders / b, CONFIDENCE)
        shown = clustered or plain
        if shown and shown.low <= same <= shown.high:
            note = "no difference shown"
    return Comparison(outcome, by, one, other, plain, clustered, _more(one, other), note)


def _more(one: Group, other: Group) -> tuple[int, int]:
    """Orders that the groups lack to see the other's rate doubled (halved, from 50 % on); lots widen the need.

    Where the other group has no case, half a case is taken, so that a need can be given.
    """
    share = max(other.cases, 0.5) / max(other.orders, 1)
    share = min(share, 0.99)
    need = cases_needed(share, 2 * share if share < 0.5 else share / 2, POWER, CONFIDENCE)
    widest = max([g.spread for g in (one, other) if math.isfinite(g.spread)], default=1.0)
    need = math.ceil(need * widest)
    return max(0, need - one.orders), max(0, need - other.orders)
