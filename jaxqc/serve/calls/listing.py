"""GET models, lots, suppliers and images: what the ledger knows, a page at a time."""

from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query, Request
from pydantic import BaseModel
from starlette.responses import Response

from jaxqc.inspection.acceptance.suppliers import summarise
from jaxqc.inspection.ledger.masks import mask_of
from jaxqc.inspection.ledger.pictures import inspections_of, lot_names, newest, places_of
from jaxqc.inspection.ledger.queries import lot_findings, supplier_rows
from jaxqc.inspection.ledger.reviews import history
from jaxqc.serve.answers import cursor, file_answer, place_of, tag_of, tagged
from jaxqc.serve.faults import Absent
from jaxqc.serve.records import Digest, Image, Images, Lot, Lots, Model, Models, Suppliers
from jaxqc.serve.service import Service

Limit = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[str, Query(max_length=2000)]
Words = Annotated[str, Query(max_length=2000)]


def add(app: FastAPI, service: Service) -> None:
    """Adds the routes."""
    ledger = service.ledger

    @app.get("/v1/models", response_model=Models, tags=["ledger"])
    async def models(request: Request) -> Any:
        """All models of the ledger, and those of this server."""
        known = {model.digest: model for model in await service.read(ledger.models)}
        known |= {engine.info.digest: engine.info for engine in service.engines}
        sizes = {engine.info.digest: list(engine.sizes) for engine in service.engines}
        found = [Model(digest=digest, name=info.name, details=dict(info.details), serving=digest in sizes,
                       batches=sizes.get(digest, [])) for digest, info in known.items()]  # fmt: skip
        return listed(request, Models(models=found))

    @app.get("/v1/lots", response_model=Lots, tags=["ledger"])
    async def lots(request: Request, supplier: Words = "", product: Words = "", limit: Limit = 50,
                   after: Cursor = "") -> Any:  # fmt: skip
        """Lots by name, with grade, risk and decision."""
        last = place_of(after, str) or ""

        def read() -> tuple[list[str], list[Any]]:
            names = lot_names(ledger, limit, last, supplier, product)
            return names, list(lot_findings(ledger, service.rules, names=names))

        names, found = await service.read(read)
        more = cursor(names[-1]) if len(names) == limit else None
        return listed(request, Lots(lots=[_lot(*one) for one in found], next=more))

    @app.get("/v1/lots/{lot:path}", response_model=Lot, tags=["ledger"], responses={404: {}})
    async def lot(request: Request, lot: str) -> Any:
        """One lot."""
        found = await service.read(lambda: list(lot_findings(ledger, service.rules, names=[lot])))
        if not found:
            raise Absent(f"lot {lot[:200]!r}: the ledger has no such lot, or none of its images is inspected")
        return listed(request, _lot(*found[0]))

    @app.get("/v1/suppliers", response_model=Suppliers, tags=["ledger"])
    async def suppliers(request: Request) -> Any:
        """Suppliers with pass rate, trend and rank."""
        read = lambda: summarise(supplier_rows(lot_findings(ledger, service.rules)))
        return listed(request, Suppliers(suppliers=list(await service.read(read))))

    @app.get("/v1/images", response_model=Images, tags=["ledger"])
    async def images(request: Request, lot: Words | None = None, model: Words = "", limit: Limit = 50,
                     verdict: Literal["", "pass", "review", "reject"] = "", after: Cursor = "") -> Any:  # fmt: skip
        """Inspections, the newest first. model: its whole digest."""
        last = place_of(after, int)
        found = await service.read(lambda: newest(ledger, limit, last, lot=lot, model=model, verdict=verdict))
        return listed(request, Images(images=found, next=cursor(found[-1].id) if len(found) == limit else None))

    @app.get("/v1/images/{sha256}", response_model=Image, tags=["ledger"], responses={404: {}})
    async def image(request: Request, sha256: Digest) -> Any:
        """All that the ledger knows of a picture."""

        def read() -> Image | None:
            seen = inspections_of(ledger, sha256)
            if not seen:
                return None
            drawn = mask_of(ledger, sha256) is not None
            return Image(sha256=sha256, inspections=seen, places=places_of(ledger, sha256),
                         reviews=history(ledger, sha256), mask=drawn)  # fmt: skip

        found = await service.read(read)
        if found is None:
            raise Absent(f"image {sha256[:12]}: the ledger does not know it")
        return listed(request, found)


def listed(request: Request, found: BaseModel) -> Response:
    """An answer with the tag of its content; 304 where the client has it."""
    content = found.model_dump_json().encode()
    tag = tag_of(content)
    return tagged(request, tag, "application/json") or file_answer(
        content, tag, "application/json", "private, no-cache"
    )


def _lot(lot: Any, figures: Any) -> Lot:
    return Lot(figures=figures, model=lot.model, line=lot.line, since=lot.since, suppliers=lot.suppliers)
