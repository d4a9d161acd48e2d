"""The common part of all pages: their frame, styles and programs, signing in, and refusals as a page."""

import datetime
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, quote, urlencode

from fastapi import FastAPI, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from jaxqc.inspection.report.model_card import proved, rates_of
from jaxqc.serve import sessions
from jaxqc.serve.answers import FOREVER, file_answer, tagged
from jaxqc.serve.faults import Absent, Bad, Fault, Foreign
from jaxqc.serve.guard import own_page
from jaxqc.serve.pages import live, model, quality, review
from jaxqc.serve.pages.templating import PROGRAMS, STYLES, files, rendered
from jaxqc.serve.service import Service

PAGES = (live, quality, review, model)
"""Modules whose pages there are."""
MOST = 4096
"""Most bytes of the form that asks for the token."""

Page = Callable[..., HTMLResponse]


def add(app: FastAPI, service: Service) -> None:
    """Adds the routes of all pages."""
    hidden: Any = {"include_in_schema": False, "response_class": Response}
    token = service.settings.token

    def page(template: str, programs: tuple[str, ...] = (), status: int = 200, **values: Any) -> HTMLResponse:
        return HTMLResponse(rendered(template, **frame(service, programs) | values), status)

    @app.get("/static/{digest}/{name}", **hidden)
    async def static(request: Request, digest: str, name: str) -> Response:
        found = files().get(name)
        if found is None or found.digest != digest:
            raise Absent("no such file; load the page again")
        return tagged(request, digest, found.media, FOREVER) or file_answer(found.content, digest, found.media)

    @app.get("/sign-in", **hidden)
    async def ask(request: Request) -> Response:
        onward = sessions.local(request.query_params.get("next", "/"))
        return page("sign_in.html", onward=onward, wrong=False) if token else RedirectResponse(onward, 303)

    @app.post("/sign-in", **hidden)
    async def sign_in(request: Request) -> Response:
        form = await read_fields(request)
        onward = sessions.local(form.get("next", "/"))
        if not token:
            return RedirectResponse(onward, 303)
        if not sessions.same(form.get("token", "").strip(), token):
            service.measures.refused.labels("token").inc()
            return page("sign_in.html", status=401, onward=onward, wrong=True)
        return _with_cookie(request, RedirectResponse(onward, 303), sessions.begin(token, time.time()))

    @app.post("/sign-out", **hidden)
    async def sign_out(request: Request) -> Response:
        await read_fields(request)
        return _with_cookie(request, RedirectResponse("/sign-in" if token else "/", 303), "")

    for module in PAGES:
        module.add(app, service, page)


def frame(service: Service, programs: tuple[str, ...] = ()) -> dict[str, Any]:
    """Values that the frame of each page takes."""
    cards = [engine.info for engine in service.engines]
    return {
        "styles": STYLES,
        "scripts": (*PROGRAMS, *programs),
        "signed_in": bool(service.settings.token),
        "ready": service.compiled,
        "proved": all(proved(rates_of(info.details)) for info in cards),
        "lot_address": lambda view: lot_address(view.lot.name),
        "address_of": lot_address,
        "now": datetime.datetime.now(datetime.UTC).isoformat(),
        "query": lambda **values: urlencode({k: v for k, v in values.items() if v}),
    }


def lot_address(name: str) -> str:
    """The address of a lot's page."""
    return f"/lots?lot={quote(name, safe='')}"


def refusal(fault: Fault, service: Service) -> HTMLResponse:
    """A fault as a page, for people."""
    return HTMLResponse(rendered("refusal.html", **frame(service), fault=fault), fault.status)


async def read_fields(request: Request) -> dict[str, str]:
    """The fields of a page's own form, each once. Raises Bad or Foreign."""
    if not own_page({name: value.decode("latin-1") for name, value in request.scope["headers"]}):
        raise Foreign("a form has to come from this server's own page")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    length = request.headers.get("content-length", "")
    if kind != "application/x-www-form-urlencoded" or not length.isdigit() or int(length) > MOST:
        raise Bad("the form cannot be read; load the page again")
    try:
        found = parse_qs((await request.body()).decode(), keep_blank_values=True, max_num_fields=20)
    except ValueError as e:
        raise Bad("the form cannot be read; load the page again") from e
    return {name: values[-1] for name, values in found.items()}


def _with_cookie(request: Request, answer: Response, value: str) -> Response:
    # The server speaks HTTP; the proxy before it says so where the browser came by HTTPS.
    secure = request.headers.get("x-forwarded-proto", request.url.scheme) == "https"
    answer.headers["set-cookie"] = sessions.set_cookie(value, secure)
    return answer
