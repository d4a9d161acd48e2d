"""POST outcomes and reviews: what became of the goods, and a person's word on a picture. GET the news."""

import base64
import binascii
import csv
import io
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import Body, FastAPI, Request
from pydantic import TypeAdapter, ValidationError
from starlette.responses import StreamingResponse

from jaxqc.data.decode import read_image
from jaxqc.errors import UserError
from jaxqc.inspection.findings import Verdict
from jaxqc.inspection.ledger import masks, reviews
from jaxqc.inspection.ledger.queries import lots_of
from jaxqc.inspection.outcomes.orders import COLUMNS, import_outcomes, moment
from jaxqc.serve.faults import Absent, Bad, as_bad
from jaxqc.serve.outlines import filled
from jaxqc.serve.records import Imported, Kept, Order, Word
from jaxqc.serve.service import Service

_ORDERS: TypeAdapter[list[Order]] = TypeAdapter(list[Order])


def add(app: FastAPI, service: Service) -> None:
    """Adds the routes."""
    ledger = service.ledger
    orders = Order.model_json_schema()
    taken = {"requestBody": {"required": True, "content": {
        "application/json": {"schema": {"anyOf": [orders, {"type": "array", "items": orders}]}},
        "text/csv": {"schema": {"type": "string"}}}}}  # fmt: skip

    @app.post("/v1/outcomes", response_model=Imported, openapi_extra=taken, tags=["people"])
    async def outcomes(request: Request) -> Any:
        """Brings in orders' outcomes: one as JSON, a list of them, or a CSV table. The same again changes nothing."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in ("text/csv", "application/json"):
            raise Bad(f"content-type {kind[:80]!r}; send text/csv or application/json")
        body = await request.body()
        table = body if kind == "text/csv" else _table(body)

        def keep() -> Imported:
            with tempfile.TemporaryDirectory(prefix="jaxqc-outcomes-") as folder:
                file = Path(folder) / "outcomes.csv"
                file.write_bytes(table)
                found = import_outcomes(ledger, file)
            plain = lambda lines: [line.replace(str(file), "outcomes") for line in lines]
            return Imported(new=found.new, changed=found.changed, same=found.same, bad=plain(found.bad),
                            notes=plain(found.notes))  # fmt: skip

        try:
            return await service.write(keep)
        except UserError as e:
            raise Bad(str(e)) from e

    @app.post("/v1/reviews", response_model=Kept, tags=["people"], responses={404: {}})
    async def review(word: Annotated[Word, Body()]) -> Any:
        """Keeps a person's word on a picture, with the mask that the person corrected. It is an event: nothing is
        overwritten, and the latest counts."""
        try:
            event = reviews.Review(word.sha256, word.verdict, word.class_name, word.person, word.note,
                                   moment(word.time))  # fmt: skip
            size = await service.read(lambda: masks.size_of(ledger, word.sha256))
            if size is None:
                raise Absent(f"image {word.sha256[:12]}: the ledger does not know it")
            drawn = await service.work(lambda: mask_from(word, size))
            if drawn is None:
                added = await service.write(lambda: reviews.add(ledger, [event]))
            else:
                await service.write(lambda: masks.prepare(ledger))
                added = await service.write(lambda: masks.add(ledger, event, drawn))
        except UserError as e:
            raise as_bad(e) from e
        now: Verdict | None = await service.read(lambda: reviews.verdicts_on(ledger, [word.sha256]).get(word.sha256))
        if added.new:
            facts = {"sha256": word.sha256, "verdict": word.verdict, "person": word.person, "mask": drawn is not None}
            service.events.publish("review", facts)
            service.lots_changed(list((await service.read(lambda: lots_of(ledger, [word.sha256])))[word.sha256]))
        return Kept(new=bool(added.new), verdict=now)

    @app.get("/v1/events", tags=["people"], response_class=StreamingResponse,
             responses={200: {"content": {"text/event-stream": {}}}})  # fmt: skip
    async def events(request: Request) -> StreamingResponse:
        """News as server-sent events: `image`, `lot` and `review`. `Last-Event-ID` brings what was missed since."""
        last = request.headers.get("last-event-id", "")
        after = int(last) if last.isascii() and last.isdigit() and len(last) < 16 else None
        return StreamingResponse(service.events.listen(after), media_type="text/event-stream")


def _table(body: bytes) -> bytes:
    """Orders as JSON → the CSV table that the import reads."""
    try:
        text = body.strip()
        orders = _ORDERS.validate_json(text if text.startswith(b"[") else b"[" + text + b"]")
    except ValidationError as e:
        first = e.errors(include_url=False, include_input=False)[0]
        raise Bad(f"{'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']}") from e
    out = io.StringIO()
    rows = csv.writer(out)
    rows.writerow(COLUMNS)
    for order in orders:
        cells = (getattr(order, name) for name in COLUMNS)
        rows.writerow(["" if v is None else {True: "yes", False: "no"}[v] if isinstance(v, bool) else v for v in cells])
    return out.getvalue().encode("utf-8", "backslashreplace")


def mask_from(word: Word, size: tuple[int, int]) -> np.ndarray | None:
    """The mask bool [h w] of a person's word, of this height and width; None where it has none.

    Raises:
      UserError: both kinds of mask, no image, or another size.
    """
    if word.mask_png is not None and word.polygons is not None:
        raise UserError("mask_png and polygons: give one of them")
    if word.mask_png is not None:
        try:
            data = base64.b64decode(word.mask_png, validate=True)
        except (binascii.Error, ValueError) as e:
            raise UserError("mask_png: no base64") from e
        image = read_image("mask_png", max_pixels=size[0] * size[1], data=data)
        if image.shape[:2] != size:
            raise UserError(
                f"mask_png: {image.shape[0]} x {image.shape[1]} pixels; the picture has {size[0]} x {size[1]}"
            )
        return image[..., 0] > 128 if image.shape[2] == 1 else np.all(image > 128, axis=2)
    return None if word.polygons is None else filled(word.polygons, *size)
