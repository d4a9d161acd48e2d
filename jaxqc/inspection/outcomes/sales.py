"""The orders of each lot, and an outcome's rate over a group of lots."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from jaxqc.data.problems import seen_alike
from jaxqc.data.tables.read import plain_name
from jaxqc.inspection.ledger.queries import column_names
from jaxqc.inspection.ledger.schema import columns, lots, outcomes, sightings
from jaxqc.inspection.ledger.store import Ledger
from jaxqc.inspection.manifest import ORDERS
from jaxqc.inspection.outcomes.proportions import Estimate, design_effect, wilson

OUTCOMES = ("returned", "complained")
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Sales:
    """A lot's orders, as far as they are known."""

    lot: str | None
    """Name; None gathers the orders of which no lot is known."""
    orders: int
    told: Mapping[str, int]
    """By outcome, the orders of which it is known."""
    cases: Mapping[str, int]
    """By outcome, the orders where it is yes."""
    ratings: int
    rating_sum: float


@dataclass(frozen=True)
class Group:
    """An outcome over some lots: of `orders` that record it, `cases` are yes."""

    name: str
    lots: int
    orders: int
    cases: int
    rate: Estimate | None
    """With Wilson's interval; None without orders."""
    spread: float
    """Design effect of the lots; infinite for one lot, which says nothing of it."""
    ratings: int
    rating: float | None
    """Mean of the `ratings` that were given."""


def sales_by_lot(ledger: Ledger, product: str = "", line: str = "", since: str = "", until: str = "") -> list[Sales]:
    """Orders by lot: of a product or line where named (the order's own, else its lot's), in [since, until) where given.

    An order that names no lot belongs to the lot whose images' manifest rows name the order, where it is one alone.
    """
    o = outcomes.c
    named = (
        sa.select(columns.c.value.label("order_id"), sa.func.min(lots.c.name).label("lot"))
        .select_from(columns.join(sightings).join(lots))
        .where(_names_order(ledger))
        .group_by(columns.c.value)
        .having(sa.func.count(lots.c.id.distinct()) == 1)
        .subquery()
    )
    lot = sa.func.coalesce(sa.func.nullif(o.lot, ""), named.c.lot)
    joined = outcomes.outerjoin(named, (o.order_id == named.c.order_id) & (o.order_id != ""))
    joined = joined.outerjoin(lots, lots.c.name == lot)
    counted = [count(o[name]) for name in OUTCOMES for count in (sa.func.count, sa.func.sum)]
    query = sa.select(lot, sa.func.count(), sa.func.count(o.rating), sa.func.sum(o.rating), *counted)
    query = query.select_from(joined).group_by(lot)
    for column, wanted in (("product", product), ("line", line)):
        if wanted:
            query = query.where(sa.func.coalesce(sa.func.nullif(o[column], ""), lots.c[column]) == wanted)
    if since or until:
        query = query.where((o.time >= since) & (o.time < until))
    with ledger.database.reading() as connection:
        return [_sales(*row) for row in connection.execute(query)]


def under_names(sales: Iterable[Sales], names: Collection[str]) -> list[Sales]:
    """Sales under the names of inspected lots: a lot that only looks like one of them (`seen_alike`) is that one.

    Examples:
      >>> zero = {"returned": 0, "complained": 0}
      >>> found = under_names([Sales("L\u00a07", 2, zero, zero, 0, 0.0), Sales("L 7", 1, zero, zero, 0, 0.0)], ["L 7"])
      >>> [(s.lot, s.orders) for s in found]
      [('L 7', 3)]
    """
    alike: dict[str, set[str]] = {}
    for name in names:
        alike.setdefault(seen_alike(name), set()).add(name)
    out: dict[str | None, Sales] = {}
    for s in sales:
        meant = alike.get(seen_alike(s.lot), set()) if s.lot is not None and s.lot not in names else set()
        lot = next(iter(meant)) if len(meant) == 1 else s.lot
        out[lot] = _sum(lot, s, out[lot]) if lot in out else replace(s, lot=lot)
    return list(out.values())


def _sum(lot: str | None, a: Sales, b: Sales) -> Sales:
    told, cases = ({name: x[name] + y[name] for name in x} for x, y in ((a.told, b.told), (a.cases, b.cases)))
    return Sales(lot, a.orders + b.orders, told, cases, a.ratings + b.ratings, a.rating_sum + b.rating_sum)


def order_examples(ledger: Ledger, count: int = 3) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Some orders that name no lot, and some that the manifests' columns name: they join where they are equal."""
    o = outcomes.c
    asked = sa.select(o.order_id).where((o.lot == "") & (o.order_id != "")).distinct().limit(count)
    named = sa.select(columns.c.value).where(_names_order(ledger) & (columns.c.value != "")).distinct().limit(count)
    with ledger.database.reading() as connection:
        return tuple(connection.scalars(asked)), tuple(connection.scalars(named))


def _names_order(ledger: Ledger) -> sa.ColumnElement[bool]:
    """True for a manifest's column of orders, as manifests may name it."""
    return columns.c.name.in_([name for name in column_names(ledger) if plain_name(name) in ORDERS])


def group_of(outcome: str, name: str, sales: Iterable[Sales]) -> Group:
    """The rate of an outcome over the orders of these lots."""
    sales = list(sales)
    orders, cases = sum(s.told[outcome] for s in sales), sum(s.cases[outcome] for s in sales)
    ratings = sum(s.ratings for s in sales)
    return Group(
        name=name,
        lots=sum(s.lot is not None for s in sales),
        orders=orders,
        cases=cases,
        rate=wilson(cases, orders, CONFIDENCE) if orders else None,
        spread=design_effect(*_clusters(outcome, sales)) if orders else math.inf,
        ratings=ratings,
        rating=sum(s.rating_sum for s in sales) / ratings if ratings else None,
    )


def _sales(lot: str | None, orders: int, ratings: int, rating_sum: float | None, *counted: Any) -> Sales:
    told: dict[str, int] = dict(zip(OUTCOMES, counted[::2], strict=True))
    cases: dict[str, int] = {name: int(n or 0) for name, n in zip(OUTCOMES, counted[1::2], strict=True)}
    return Sales(lot, orders, told, cases, ratings, rating_sum or 0.0)


def _clusters(outcome: str, sales: Sequence[Sales]) -> tuple[list[int], list[int]]:
    """Cases and orders of each lot that records the outcome; an order of no known lot is a cluster of its own."""
    cases: list[int] = []
    orders: list[int] = []
    for s in sales:
        n, x = s.told[outcome], s.cases[outcome]
        if s.lot is None:
            cases += [1] * x + [0] * (n - x)
            orders += [1] * n
        elif n:
            cases.append(x)
            orders.append(n)
    return cases, orders
