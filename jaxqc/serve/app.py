"""The server's application: the calls behind the guard, and its OpenAPI file."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from jaxqc.fields import docs
from jaxqc.inspection.acceptance.suppliers import Supplier
from jaxqc.inspection.findings import Decision, Defect, Finding, LotFinding, Share
from jaxqc.inspection.ledger.pictures import Inspected, Place
from jaxqc.inspection.ledger.reviews import Review
from jaxqc.serve.answers import problem
from jaxqc.serve.calls import health, inspecting, listing, people, pictures
from jaxqc.serve.faults import Fault
from jaxqc.serve.guard import REASON, Guard, wants_page
from jaxqc.serve.pages import site
from jaxqc.serve.records import Problem
from jaxqc.serve.service import Service
from jaxqc.version import __version__

CALLS = (inspecting, listing, pictures, people, health)
"""Modules whose routes there are."""
PARTS = (Finding, Defect, LotFinding, Share, Decision, Supplier, Inspected, Place, Review)
"""Dataclasses whose fields the OpenAPI file describes."""
ABOUT = "Inspection of images by trained models, lots with grade and risk, and people's words, in one ledger."
REFUSALS: Mapping[int | str, dict[str, Any]] = {
    401: {"description": "The token is missing or wrong", "model": Problem},
    403: {"description": "The request comes from another web site", "model": Problem},
    408: {"description": "The body did not come in time", "model": Problem},
    413: {"description": "Too many bytes or pixels", "model": Problem},
    422: {"description": "The request cannot be understood", "model": Problem},
    503: {"description": "Starting, stopping, full, or without its ledger", "model": Problem},
    504: {"description": "The deadline passed", "model": Problem},
}
"""Refusals that any call may give."""


def make_app(service: Service) -> FastAPI:
    """The application of a service, which it opens when it starts and closes at its end."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with service:
            yield

    app = FastAPI(title="jaxqc", version=__version__, description=ABOUT, lifespan=lifespan, responses=dict(REFUSALS),
                  docs_url=None, redoc_url=None, redirect_slashes=False)  # fmt: skip
    for module in (*CALLS, site):
        module.add(app, service)
    _answer_faults(app, service)
    app.openapi = lambda: _openapi(app, service)  # type: ignore[method-assign]
    settings = service.settings
    app.add_middleware(Guard, settings=settings, measures=service.measures)
    if settings.origins:
        app.add_middleware(CORSMiddleware, allow_origins=list(settings.origins), allow_methods=["GET", "POST"],
                           allow_headers=["authorization", "content-type", "last-event-id"])  # fmt: skip
    return app


def _answer_faults(app: FastAPI, service: Service) -> None:
    """Every refusal has one shape, for people a page, and is counted."""

    def answer(request: Request, fault: Fault, headers: Mapping[str, str] | None = None) -> Response:
        service.measures.refused.labels(fault.reason).inc()
        found = site.refusal(fault, service) if wants_page(request.scope) else problem(fault)
        found.headers.update(headers or {})
        return found

    @app.exception_handler(Fault)
    async def of_fault(request: Request, fault: Fault) -> Response:
        return answer(request, fault)

    @app.exception_handler(RequestValidationError)
    async def of_validation(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        fault = Fault(f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
        fault.status, fault.reason = 422, "request"
        return answer(request, fault)

    @app.exception_handler(HTTPException)
    async def of_http(request: Request, error: HTTPException) -> Response:
        fault, headers = Fault(str(error.detail)), dict(error.headers or {})
        usual = {404: "absent", 405: "method"}.get(error.status_code, "request")
        fault.status, fault.reason = error.status_code, headers.pop(REASON, usual)
        return answer(request, fault, headers)


def _openapi(app: FastAPI, service: Service) -> dict[str, Any]:
    """The OpenAPI file, made once: with the fields' meanings, and the token where one is needed."""
    if app.openapi_schema is None:
        found = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schemas = found["components"]["schemas"]
        for kind in PARTS:
            properties = schemas[kind.__name__]["properties"]
            schemas[kind.__name__]["description"] = " ".join((kind.__doc__ or "").split())
            for name, text in docs(kind).items():
                if name in properties:
                    properties[name]["description"] = " ".join(text.split())
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        if service.settings.token:
            found["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            found["security"] = [{"token": []}]
        app.openapi_schema = found
    return app.openapi_schema
