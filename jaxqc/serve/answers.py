"""Answers as HTTP has them: problems, files with an ETag, pages with a cursor."""

import base64
import binascii
import hashlib
import json
from typing import Any

from starlette.responses import JSONResponse, Response

from jaxqc.serve.faults import Bad, Fault

FOREVER = "private, max-age=31536000, immutable"
"""Caching of what is named by its digest."""


def problem(fault: Fault) -> JSONResponse:
    """The answer of a fault."""
    content = {"error": str(fault), "reason": fault.reason, "retry_after": fault.retry_after}
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    if fault.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(content, fault.status, headers)


def tagged(request: Any, tag: str, media: str, caching: str = "private, no-cache") -> Response | None:
    """The answer 304 where the client has what the tag names; None where it has not."""
    asked = [one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")]
    if quoted(tag) not in asked and asked != ["*"]:
        return None
    return Response(status_code=304, headers={"ETag": quoted(tag), "Cache-Control": caching}, media_type=media)


def file_answer(content: bytes, tag: str, media: str, caching: str = FOREVER) -> Response:
    """A file with its tag."""
    headers = {"ETag": quoted(tag), "Cache-Control": caching}
    return Response(content, headers=headers, media_type=media)


def quoted(tag: str) -> str:
    """A tag as the header has it."""
    return f'"{tag}"'


def cursor(value: int | str) -> str:
    """A place in a list as text that clients hand back and need not understand.

    Examples:
      >>> place_of(cursor(17), int), place_of(cursor("L/7"), str), place_of("", int)
      (17, 'L/7', None)
    """
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def place_of(text: str, kind: type) -> Any:
    """The place that a cursor names; None for "". Raises Bad."""
    if not text:
        return None
    try:
        value = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, binascii.Error) as e:
        raise Bad(f"cursor: {text[:80]!r} is none of this server's") from e
    if type(value) is not kind or (kind is int and not 0 <= value < 2**63):
        raise Bad(f"cursor: {text[:80]!r} is none of this list's")
    return value


def tag_of(content: bytes) -> str:
    """The tag of a content that has no other name."""
    return hashlib.sha256(content).hexdigest()[:32]
