"""The page of a model: its card, its scores beside the threshold, drift, agreement with people, and returns by class.

`SECTIONS` names the templates in the page's order. A further one is a template and a line there, and its values a line
in `read`.
"""

from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

from fastapi import FastAPI
from starlette.responses import HTMLResponse, Response

from jaxqc.inspection.ledger.recent import last_scores
from jaxqc.inspection.ledger.store import ModelInfo
from jaxqc.inspection.outcomes.rates import outcome_report
from jaxqc.inspection.report.model_card import model_card
from jaxqc.inspection.report.templating import flat
from jaxqc.inspection.reviewing.agreement import agreement
from jaxqc.serve.faults import Absent
from jaxqc.serve.pages.scores import distribution
from jaxqc.serve.service import Service

SECTIONS = ("scores.html", "drift.html", "agreement.html", "card.html", "outcomes.html")
"""Templates of the page's parts, in their order."""
LAST = 2000
"""Last images whose scores are shown."""


def add(app: FastAPI, service: Service, page: Any) -> None:
    """Adds the page."""
    hidden: Any = {"include_in_schema": False, "response_class": HTMLResponse}
    ledger = service.ledger

    def read(info: ModelInfo) -> dict[str, Any]:
        rules = service.rules
        confidence = rules.lots.confidence
        scores = last_scores(ledger, info.digest, LAST)
        outcomes = outcome_report(ledger, rules) if ledger.count()["outcomes"] else None
        return {
            "report": SimpleNamespace(cards=[model_card(info, confidence)], outcomes=outcomes),
            "scores": distribution(scores, score_threshold(info)),
            "seen": len(scores.values),
            "drift": service.following.get(info.digest),
            "agreement": agreement(ledger, info.digest, confidence),
        }

    @app.get("/model", **hidden)
    async def model(digest: str = "") -> Response:
        known = {info.digest: info for info in await service.read(ledger.models)}
        known |= {engine.info.digest: engine.info for engine in service.engines}
        chosen = digest or service.engines[0].info.digest
        if chosen not in known:
            raise Absent(f"model {digest[:80]!r}: neither the ledger nor this server knows it")
        values = await service.read(lambda: read(known[chosen]))
        serving = {engine.info.digest for engine in service.engines}
        return page("model_page.html", here="model", sections=SECTIONS, info=known[chosen], known=list(known.values()),
                    serving=serving, rules=flat(asdict(service.rules)), **values)  # fmt: skip


def score_threshold(info: ModelInfo) -> float:
    """The score from which a model calls an image, or its map a defect."""
    return float(info.details.get("score_threshold", info.details.get("threshold", 0.5)))
