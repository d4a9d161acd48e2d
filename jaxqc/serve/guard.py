"""The guard before all calls: who may call, how much and how long a body may be, headers of every answer, counting."""

import asyncio
import logging
import time
from typing import Any
from urllib.parse import quote, urlsplit

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from jaxqc.serve import sessions
from jaxqc.serve.answers import problem
from jaxqc.serve.faults import Fault, Foreign, Gone, Refused, TooLarge, TooSlow
from jaxqc.serve.measures import Measures
from jaxqc.serve.settings import Settings, is_loopback

REASON = "x-reason"
"""Header by which an `HTTPException` carries a fault's reason."""
OPEN = ("/healthz", "/readyz", "/sign-in")
"""Calls that need no token: those of whoever starts and watches the server, and the form that asks for it."""
STATIC = "/static/"
"""Beginning of the addresses of the package's own styles and programs, which need none either."""
SAFE = ("GET", "HEAD")
"""Methods that change nothing."""
HEADERS = {
    "content-security-policy": "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "img-src 'self' blob:; style-src 'self'; script-src 'self'; connect-src 'self'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",  # with none, browsers send no origin with a form
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
}
"""Headers of every answer."""

log = logging.getLogger("jaxqc.serve")


class Guard:
    """ASGI middleware. An error behind it that nobody answered becomes a plain 500, and a line in the log."""

    def __init__(self, app: Any, settings: Settings, measures: Measures) -> None:
        self.app, self.settings, self.measures = app, settings, measures

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, sent = time.perf_counter(), 0

        async def answer(message: Any) -> None:
            nonlocal sent
            if message["type"] == "http.response.start":
                sent = message["status"]
                present = {name for name, _ in message["headers"]}
                own = {**HEADERS, "cache-control": "no-store"}
                if not body.done:  # what is still being sent is not waited for
                    own["connection"] = "close"
                more = [(name.encode(), value.encode()) for name, value in own.items() if name.encode() not in present]
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        body = _Body(receive, self.settings)
        try:
            self._check(scope)
            body.check(scope)
            await self.app(scope, body.receive, answer)
        except Fault as fault:
            self.measures.refused.labels(fault.reason).inc()
            await _refusal(fault, scope)(scope, receive, answer)
        except Exception:
            log.exception("%s %s", scope["method"], scope["path"])
            if sent:
                raise
            await problem(Fault("an error of the server; its log says more"))(scope, receive, answer)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self.measures.requests.labels(route, str(sent)).inc()
            self.measures.seconds.labels(route).observe(time.perf_counter() - start)

    def _check(self, scope: Any) -> None:
        """Raises Refused or Foreign."""
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host, origin = headers.get(b"host", ""), headers.get(b"origin")
        # A name of another site that leads to this machine must not make a browser its messenger.
        if is_loopback(self.settings.host) and not is_loopback(_name(host)):
            raise Foreign(f"host {host[:100]!r} is not this server's")
        if origin is not None and origin not in self.settings.origins and _netloc(origin) != host:
            raise Foreign(f"origin {origin[:100]!r} may not call; --allow-origin lets one")
        if self.settings.token and scope["path"] not in OPEN and not scope["path"].startswith(STATIC):
            self._admit(scope["method"], headers)

    def _admit(self, method: str, headers: dict[bytes, str]) -> None:
        """Lets programs in by the token, browsers by a session's cookie. Raises Refused or Foreign."""
        kind, _, token = headers.get(b"authorization", "").partition(" ")
        if sessions.same(token.strip(), self.settings.token) and kind.lower() == "bearer":
            return
        cookie = sessions.cookie_of(headers.get(b"cookie", ""))
        if not sessions.holds(cookie, self.settings.token, time.time()):
            raise Refused
        # Browsers bring a cookie along whoever made them call.
        if method not in SAFE and not own_page(headers):
            raise Foreign("a change by a browser has to come from this server's own page")


def own_page(headers: dict[bytes, str]) -> bool:
    """True where a browser says that a page of this very server made it call."""
    origin, site = headers.get(b"origin"), headers.get(b"sec-fetch-site", "same-origin")
    return origin is not None and _netloc(origin) == headers.get(b"host") and site == "same-origin"


def wants_page(scope: Any) -> bool:
    """True where a person's browser asks for a page, not a program for an answer."""
    accept = dict(scope["headers"]).get(b"accept", b"")
    return scope["method"] == "GET" and b"text/html" in accept and not scope["path"].startswith("/v1/")


def _refusal(fault: Fault, scope: Any) -> Response:
    """A fault's answer: people without a session are asked for the token."""
    if isinstance(fault, Refused) and wants_page(scope):
        query = f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else ""
        return RedirectResponse(f"/sign-in?next={quote(quote(scope['path']) + query, safe='')}", 303)
    return problem(fault)


class _Body:
    """A request's body as it comes, within the limits of bytes and time."""

    def __init__(self, receive: Any, settings: Settings) -> None:
        self._receive, self._most, self._seconds = receive, settings.limits.body, settings.limits.body_s
        self._size, self._end = 0, time.monotonic() + self._seconds
        self.done = False

    def check(self, scope: Any) -> None:
        """Raises TooLarge where the request's head says so."""
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        self.done = length == b"0" and b"transfer-encoding" not in headers
        if length.isdigit() and int(length) > self._most:
            raise TooLarge(f"{int(length):,} bytes are above the limit of {self._most:,}")

    async def receive(self) -> Any:
        """The next part. Raises HTTPException, which also FastAPI's own reading hands on."""
        if self.done:
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), max(0.001, self._end - time.monotonic()))
        except TimeoutError as e:
            raise as_http(TooSlow(f"the body took more than {self._seconds:g} seconds")) from e
        if message["type"] != "http.request":
            self.done = True
            return message
        self._size += len(message.get("body", b""))
        if self._size > self._most:
            raise as_http(TooLarge(f"the body is above the limit of {self._most:,} bytes"))
        self.done = not message.get("more_body", False)
        return message


def as_http(fault: Fault) -> HTTPException:
    """A fault as Starlette's own exception."""
    return HTTPException(fault.status, str(fault), {REASON: fault.reason})


def _netloc(origin: str) -> str:
    """Host and port of an origin; "" of one that is none.

    Examples:
      >>> _netloc("http://127.0.0.1:8000"), _netloc("null"), _netloc("http://[")
      ('127.0.0.1:8000', '', '')
    """
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _name(host: str) -> str:
    """The name in a Host header.

    Examples:
      >>> _name("127.0.0.1:8000"), _name("[::1]:8000"), _name("localhost")
      ('127.0.0.1', '[::1]', 'localhost')
    """
    return host.rpartition(":")[0] if ":" in host and not host.endswith("]") else host


async def unless_gone(request: Any, work: Any) -> Any:
    """The result of a coroutine, which ends early where the client leaves. The request's body must have been read.

    Raises:
      Gone: the client left. What the coroutine raises.
    """
    task = asyncio.ensure_future(work)
    watch = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise Gone
    finally:
        for one in (task, watch):
            one.cancel()
        await asyncio.gather(task, watch, return_exceptions=True)


async def _gone(request: Any) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
