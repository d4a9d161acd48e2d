"""POST /v1/inspect and /v1/inspect/batch: images in, answers out, everything kept."""

import asyncio
import base64
import io
from typing import Any

import numpy as np
from fastapi import FastAPI, Request

from jaxqc.serve.calls.forms import OPTIONS, Form, read_form
from jaxqc.serve.faults import Fault
from jaxqc.serve.guard import unless_gone
from jaxqc.serve.pipeline import Done, Pipeline
from jaxqc.serve.posted import KNOWN, Posted
from jaxqc.serve.records import Answer, BatchAnswer, Problem
from jaxqc.serve.service import Service

ABOUT = {
    "maps": "`png` adds the map",
    "model": "the beginning of a model's digest, or its name; the server's first one without it",
    "deadline_ms": "milliseconds after which no answer is wanted",
    "image": "the image's name, where the body is the image",
    "rows": "of several images: a JSON list of objects with each one's own fields",
    "lot": "id of the lot",
    "time": "ISO 8601; without a zone it is UTC",
    "piece": "id of the piece within its lot; its views have the same one",
}
"""Meaning of the fields; further ones are kept as text."""


def add(app: FastAPI, service: Service) -> None:
    """Adds the routes."""
    limits, batches = service.settings.limits, service.settings.batches

    def room(request: Request) -> int:
        length = request.headers.get("content-length", "")
        return int(length) if length.isdigit() else limits.body

    @app.post("/v1/inspect", response_model=Answer, openapi_extra=_taken(raw=True), tags=["inspection"])
    async def inspect(request: Request) -> Any:
        """Inspects one image and keeps it. The same image and model again gives the stored answer."""
        service.pipeline()  # before the body is read
        with service.door.let_in(1, room(request)):
            form = await read_form(request, limits, batches.deadline_s, 1)
            pipeline = service.pipeline(form.model)
            return await unless_gone(request, one(pipeline, form, form.images[0], _until(form)))

    @app.post("/v1/inspect/batch", response_model=BatchAnswer, openapi_extra=_taken(raw=False), tags=["inspection"])
    async def inspect_batch(request: Request) -> Any:
        """Inspects several images, each with its own answer: a bad one spoils no other."""
        service.pipeline()
        with service.door.let_in(1, room(request)) as seat:
            form = await read_form(request, limits, batches.deadline_s, min(limits.parts, batches.line))
            seat.grow(len(form.images) - 1)
            pipeline, until = service.pipeline(form.model), _until(form)

            async def each(posted: Posted) -> Answer | Problem:
                try:
                    return await one(pipeline, form, posted, until)
                except Fault as fault:
                    service.measures.refused.labels(fault.reason).inc()
                    return Problem(error=str(fault), reason=fault.reason, retry_after=fault.retry_after)

            found = await unless_gone(request, asyncio.gather(*map(each, form.images)))
            failed = sum(isinstance(answer, Problem) for answer in found)
            return BatchAnswer(images=found, inspected=len(found) - failed, failed=failed)

    async def one(pipeline: Pipeline, form: Form, posted: Posted, until: float) -> Answer:
        done: Done = await pipeline.inspect(posted, until, form.with_map)
        image = None
        if form.with_map and done.seen is not None:
            values = done.seen.scored.map
            image = await service.work(lambda: base64.b64encode(map_png(values)).decode())
        return Answer(finding=done.finding, known=done.known, model=pipeline.engine.info.digest,
                      rules=pipeline.rules_digest, timings_ms=done.stages, map_png=image)  # fmt: skip


def map_png(values: np.ndarray) -> bytes:
    """A map in [0, 1] as a grey PNG file; 255 = 1."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)).save(out, "PNG", compress_level=1)
    return out.getvalue()


def _until(form: Form) -> float:
    return asyncio.get_running_loop().time() + form.deadline_s


def _taken(raw: bool) -> dict[str, Any]:
    """The request's part of the OpenAPI file."""
    options = [name for name in OPTIONS if name != ("rows" if raw else "image")]
    names = [*options, *KNOWN]
    text = lambda name: {"type": "string", "description": ABOUT[name]} if name in ABOUT else {"type": "string"}
    file = {"type": "string", "format": "binary"}
    image = file if raw else {"type": "array", "items": file}
    fields = {name: text(name) for name in names if name != "image"}
    form = {"type": "object", "required": ["image"], "properties": {"image": image, **fields}}
    form["additionalProperties"] = {"type": "string"}
    content: dict[str, Any] = {"multipart/form-data": {"schema": form}}
    if raw:
        content |= {kind: {"schema": file} for kind in ("image/png", "image/jpeg", "image/tiff", "image/bmp",
                                                        "application/octet-stream")}  # fmt: skip
    parameters = [{"name": name, "in": "query", "required": False, "schema": {"type": "string"},
                   **({"description": ABOUT[name]} if name in ABOUT else {})} for name in names]  # fmt: skip
    return {"requestBody": {"required": True, "content": content}, "parameters": parameters}
