"""The pages of lots and suppliers: the report's tables and charts, for any time, product and supplier."""

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import HTMLResponse, Response

from jaxqc.errors import UserError
from jaxqc.inspection.ledger.pictures import newest
from jaxqc.inspection.ledger.queries import Lot, lot_findings
from jaxqc.inspection.ledger.recent import products
from jaxqc.inspection.report.collect import collect
from jaxqc.inspection.report.page import section_values
from jaxqc.serve.answers import cursor, place_of
from jaxqc.serve.faults import Absent, Bad
from jaxqc.serve.pages.shots import shots_of
from jaxqc.serve.service import Service

PICTURES = 60
"""Pictures of a lot on one page."""


@dataclass(frozen=True)
class Period:
    """The lots that a page is about. since, until: days, both of them within; "" = without an end."""

    since: str = ""
    until: str = ""
    product: str = ""
    supplier: str = ""

    def __post_init__(self) -> None:
        for day in (self.since, self.until):
            try:
                datetime.date.fromisoformat(day or "2000-01-01")
            except ValueError as e:
                raise Bad(f"{day[:40]!r} is no day; give one as 2026-11-30") from e

    def holds(self, lot: Lot) -> bool:
        """True for a lot whose first image was taken or, where nobody knows when, seen within."""
        day = lot.since[:10]
        fits = not self.product or lot.product == self.product
        fits &= not self.supplier or lot.supplier == self.supplier
        return fits and self.since <= day and (not self.until or day <= self.until)

    @property
    def among(self) -> Callable[[Lot], bool] | None:
        """As `collect` takes it; None for all lots."""
        return None if self == Period() else self.holds


def period_of(request: Request) -> Period:
    """The period that a page's query names. Raises Bad."""
    return Period(*(request.query_params.get(name, "").strip() for name in ("from", "to", "product", "supplier")))


def add(app: FastAPI, service: Service, page: Any) -> None:
    """Adds the pages."""
    hidden: Any = {"include_in_schema": False, "response_class": HTMLResponse}
    ledger = service.ledger

    async def values(period: Period) -> dict[str, Any]:
        def read() -> dict[str, Any]:
            report = collect(ledger, None, service.rules, among=period.among)
            return section_values(report) | {"products": products(ledger), "period": period}

        return await service.read(read)

    @app.get("/lots", **hidden)
    async def lots(request: Request) -> Response:
        name = request.query_params.get("lot")
        if name:
            return await one_lot(name, request.query_params.get("after", ""))
        return page("lots_page.html", ("lots.js",), here="lots", **await values(period_of(request)))

    @app.get("/suppliers", **hidden)
    async def suppliers(request: Request) -> Response:
        return page("suppliers_page.html", here="suppliers", **await values(period_of(request)))

    async def one_lot(name: str, after: str) -> Response:
        last = place_of(after, int)

        def read() -> dict[str, Any] | None:
            if not any(True for _ in lot_findings(ledger, service.rules, names=[name])):
                return None
            try:
                report = collect(ledger, None, service.rules, lots=[name])
            except UserError:  # taken out of the ledger meanwhile
                return None
            view = report.lots[0]
            found = newest(ledger, PICTURES, last, lot=name, model=view.lot.model)
            onward = cursor(found[-1].id) if len(found) == PICTURES else ""
            return section_values(report) | {"view": view, "shots_of_lot": shots_of(ledger, found), "next": onward}

        found = await service.read(read)
        if found is None:
            raise Absent(f"lot {name[:200]!r}: the ledger has no such lot, or none of its images is inspected")
        return page("lot_page.html", here="lots", name=name, first=last is None, **found)
