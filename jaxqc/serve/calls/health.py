"""GET /healthz, /readyz and /metrics."""

from typing import Any

from fastapi import FastAPI
from starlette.responses import JSONResponse, Response

from jaxqc.serve.records import Health
from jaxqc.serve.service import Service


def add(app: FastAPI, service: Service) -> None:
    """Adds the routes."""

    @app.get("/healthz", response_model=Health, tags=["health"])
    async def healthz() -> Any:
        """Answers as long as the server runs."""
        return Health(ok=True)

    @app.get("/readyz", response_model=Health, tags=["health"], responses={503: {"model": Health}})
    async def readyz() -> Any:
        """Yes where every batch size is compiled, the ledger answers, and the server is not being stopped."""
        ledger = await service.reachable()
        found = Health(
            ok=service.compiled and ledger and not service.stopping, compiled=service.compiled, ledger=ledger
        )
        return JSONResponse(found.model_dump(), 200 if found.ok else 503)

    @app.get("/metrics", tags=["health"], response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        """Figures for Prometheus."""
        service.gauges()
        content, media = service.measures.text()
        return Response(content, headers={"content-type": media})
