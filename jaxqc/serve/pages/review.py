"""The page of people's verdicts: a queue, one picture at a time, its mask to be corrected, and all that was said of it.

The page itself keeps nothing: its program sends each word to /v1/reviews, where it becomes an event.
"""

from typing import Any, get_args

from fastapi import FastAPI, Request
from starlette.responses import HTMLResponse, Response

from jaxqc.inspection.ledger.masks import mask_of
from jaxqc.inspection.ledger.pictures import inspections_of, places_of
from jaxqc.inspection.ledger.reviews import history
from jaxqc.inspection.ledger.store import ModelInfo
from jaxqc.inspection.reviewing import queues
from jaxqc.serve.faults import Absent, Bad
from jaxqc.serve.pages.model import score_threshold
from jaxqc.serve.pages.shots import shots_of
from jaxqc.serve.records import Digest
from jaxqc.serve.service import Service
from jaxqc.serve.store import is_digest

LONGEST = 60
"""Pictures of a queue that a page knows."""
PROGRAMS = ("mask.js", "zoom.js", "keys.js", "judge.js")
"""Programs for a picture to be judged; the second is the report's."""
CLASSES = 60
"""Names of classes that are offered."""


def add(app: FastAPI, service: Service, page: Any) -> None:
    """Adds the page, of a queue's first picture and of a given one."""
    hidden: Any = {"include_in_schema": False, "response_class": HTMLResponse}
    ledger = service.ledger

    @app.get("/review", **hidden)
    async def first(request: Request) -> Response:
        return await shown(request, "")

    @app.get("/review/{sha256}", **hidden)
    async def one(request: Request, sha256: Digest) -> Response:
        return await shown(request, sha256)

    async def shown(request: Request, sha256: str) -> Response:
        ask = request.query_params
        queue, lot, start = ask.get("queue", "waiting"), ask.get("lot") or None, ask.get("model", "")
        if queue not in get_args(queues.Queue):
            raise Bad(f"queue {queue[:80]!r}: {' and '.join(get_args(queues.Queue))} are known")
        known = [engine.info for engine in service.engines if engine.info.digest.startswith(start)]
        if not known:
            raise Absent(f"model {start[:80]!r}: this server does not use it")
        found = await service.read(lambda: read(known[0], queue, lot, sha256))
        if sha256 and not found["inspections"]:
            raise Absent(f"image {sha256[:12]}: the ledger does not know it")
        values = {
            "queue": queue,
            "lot": lot or "",
            "before": before if is_digest(before := ask.get("before", "")) else "",
            "model": start,
            "models": [engine.info for engine in service.engines],
            "info": known[0],
        }
        programs = PROGRAMS if found["shot"] else ()
        return page("review_page.html", programs, here="review", **values, **found)

    def read(info: ModelInfo, queue: str, lot: str | None, sha256: str) -> dict[str, Any]:
        """All that the page shows. lot: the pictures of one that wait."""
        threshold = score_threshold(info)
        if queue == "near":
            listed = queues.near(ledger, info.digest, threshold, LONGEST)
        else:
            listed = queues.waiting(ledger, info.digest, LONGEST, lot)
        row = [one.sha256 for one in listed]
        current = sha256 or next(iter(row), "")
        seen = inspections_of(ledger, current) if current else []
        own = [one for one in seen if one.model == info.digest] or seen
        onward = row[row.index(current) + 1 :] if current in row else [one for one in row if one != current]
        drawn = mask_of(ledger, current) if current else None
        return {
            "row": listed,
            "count": queues.count_waiting(ledger, info.digest),
            "inspections": seen,
            "shot": shots_of(ledger, own[-1:])[0] if own else None,
            "serving": bool(own) and own[-1].model in service.pipelines,
            "places": places_of(ledger, current) if current else [],
            "said": history(ledger, current) if current else [],
            "drawn": drawn is not None,
            "onward": onward[0] if onward else "",
            "left": len(onward),
            "threshold": threshold,
            "classes": _classes(info, own),
        }


def _classes(info: ModelInfo, own: list[Any]) -> list[str]:
    """Names of classes that a person may mean."""
    known = info.details.get("classes")
    names = [str(name) for name in known] if isinstance(known, list) else []
    return list(dict.fromkeys([*(name for one in own for name in one.finding.composition), *names]))[:CLASSES]
