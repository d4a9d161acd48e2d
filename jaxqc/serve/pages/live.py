"""The first page: the last images with verdict and outlines, lots as they fill up, an image or a camera to try."""

import asyncio
from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import HTMLResponse, Response

from jaxqc.inspection.ledger.pictures import inspections_of, newest, places_of
from jaxqc.inspection.ledger.queries import lot_findings
from jaxqc.inspection.ledger.recent import filling
from jaxqc.serve.faults import Absent
from jaxqc.serve.pages.shots import Shot, shots_of
from jaxqc.serve.records import Digest
from jaxqc.serve.service import Service

IMAGES, LOTS = 24, 8
"""Images and lots that the page shows, the last ones."""
STALE = 5.0
"""Seconds after which the page looks for what another server of the ledger has added."""


def add(app: FastAPI, service: Service, page: Any) -> None:
    """Adds the page, and its part that changes."""
    hidden: Any = {"include_in_schema": False, "response_class": HTMLResponse}
    ledger = service.ledger
    kept: dict[str, Any] = {"number": -1, "at": 0.0, "values": {}}
    busy = asyncio.Lock()

    def read() -> dict[str, Any]:
        names = filling(ledger, LOTS)
        found = {lot.name: (lot, figures) for lot, figures in lot_findings(ledger, service.rules, names=names)}
        last = newest(ledger, IMAGES)
        return {"lots": [found[name] for name in names if name in found], "pictures": shots_of(ledger, last)}

    async def values() -> dict[str, Any]:
        """The lots and pictures of now; however many look, the ledger is read once for each change."""
        async with busy:
            number, now = service.events.number, asyncio.get_running_loop().time()
            if number != kept["number"] or now - kept["at"] > STALE:
                kept.update(values=await service.read(read), number=number, at=now)
            return kept["values"]

    @app.get("/", **hidden)
    async def live() -> Response:
        return page("live.html", ("live.js", "camera.js"), here="live", models=service.engines, **await values())

    @app.get("/live/now", **hidden)
    async def now() -> Response:
        return page("live_now.html", **await values())

    @app.get("/live/shot/{sha256}", **hidden)
    async def shot(request: Request, sha256: Digest, model: str = "") -> Response:
        def one() -> list[Shot]:
            seen = [i for i in inspections_of(ledger, sha256) if i.model.startswith(model)]
            return shots_of(ledger, seen[-1:])

        found = await service.read(one)
        if not found:
            raise Absent(f"image {sha256[:12]}: the ledger does not know it")
        places = await service.read(lambda: places_of(ledger, sha256))
        return page("live_tried.html", shot=found[0], places=places)
