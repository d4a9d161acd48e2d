"""GET a picture, its map, overlay, thumbnail and mask: the ledger's own pictures alone, by their SHA-256."""

import asyncio
import io
from typing import Any

import numpy as np
from fastapi import FastAPI, Request
from starlette.responses import Response

from jaxqc.data.decode import read_image
from jaxqc.errors import UserError
from jaxqc.inspection.defects import opencv
from jaxqc.inspection.findings import Defect
from jaxqc.inspection.ledger.masks import mask_of
from jaxqc.inspection.ledger.pictures import places_of
from jaxqc.inspection.report.layers import Layers, fitting, jpeg, make_layers, plain, shrunk
from jaxqc.inspection.report.thumbnails import SIDE
from jaxqc.serve.answers import FOREVER, file_answer, tag_of, tagged
from jaxqc.serve.calls.inspecting import map_png
from jaxqc.serve.faults import Absent
from jaxqc.serve.guard import unless_gone
from jaxqc.serve.pipeline import Seen
from jaxqc.serve.records import Digest
from jaxqc.serve.service import Service
from jaxqc.serve.store import kind_of, verified

LARGEST = 1600
"""Longest side of an overlay in pixels."""
VIEWED = 4096
"""Longest side of a view in pixels."""
SHOWN = ("image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp")
"""Kinds that browsers show."""


def add(app: FastAPI, service: Service) -> None:
    """Adds the routes."""
    ledger = service.ledger
    files: Any = {"response_class": Response, "tags": ["pictures"]}
    png: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}}, 404: {}}
    shown: dict[int | str, dict[str, Any]] = {200: {"content": {"image/jpeg": {}}}, 404: {}}

    async def data_of(sha256: str) -> bytes:
        """A picture's bytes: kept here, or still in the delivery's folder, unchanged. Raises Absent."""

        def read() -> bytes | None:
            places = places_of(ledger, sha256)
            if not places:
                return None  # not the ledger's
            found = service.store.read(sha256)
            return found or next((data for one in places if (data := verified(one.path, sha256))), None)

        found = await service.read(read)
        if found is None:
            raise Absent(f"image {sha256[:12]}: the ledger does not know it, or its file is gone")
        return found

    async def scored(request: Request, sha256: str, model: str) -> Seen:
        """The picture scored again; the same as when it was inspected."""
        pipeline = service.pipeline(model)
        data = await data_of(sha256)
        with service.door.let_in(1, len(data)):
            until = asyncio.get_running_loop().time() + service.settings.batches.deadline_s
            return await unless_gone(request, pipeline.look(data, sha256[:12], sha256, until))

    @app.get("/v1/images/{sha256}/file", responses={404: {}}, **files)
    async def file(request: Request, sha256: Digest) -> Response:
        """The picture as it came."""
        data = await data_of(sha256)
        media = kind_of(data)[1]
        answer = tagged(request, sha256, media, FOREVER) or file_answer(data, sha256, media)
        if media not in SHOWN:
            answer.headers["Content-Disposition"] = f'attachment; filename="{sha256[:16]}{kind_of(data)[0]}"'
        return answer

    async def smaller(request: Request, sha256: str, name: str, longest: int, quality: int) -> Response:
        """The picture as JPEG, its longest side at most so many pixels."""
        tag = f"{sha256}-{name}"
        data = await data_of(sha256)
        if same := tagged(request, tag, "image/jpeg", FOREVER):
            return same

        def make() -> bytes:
            image = read_image(sha256[:12], max_pixels=service.settings.limits.pixels, data=data)
            return jpeg(shrunk(opencv(), plain(image), fitting(image.shape, longest)), quality)

        try:
            return file_answer(await service.work(make), tag, "image/jpeg")
        except UserError as e:
            raise Absent(str(e)) from e

    @app.get("/v1/images/{sha256}/thumbnail", responses=shown, **files)
    async def thumbnail(request: Request, sha256: Digest) -> Response:
        """The picture, small, as JPEG."""
        return await smaller(request, sha256, "thumbnail", 2 * SIDE, 80)

    @app.get("/v1/images/{sha256}/view", responses=shown, **files)
    async def view(request: Request, sha256: Digest) -> Response:
        """The picture as any browser shows it: JPEG, its longest side at most 4,096 pixels."""
        return await smaller(request, sha256, "view", VIEWED, 92)

    @app.get("/v1/images/{sha256}/map.png", responses=png, **files)
    async def map_of(request: Request, sha256: Digest, model: str = "") -> Response:
        """The map by a model of this server, grey, of the picture's size; 255 = 1."""
        tag = f"{sha256}-{service.pipeline(model).engine.info.digest}-map"
        if same := tagged(request, tag, "image/png", FOREVER):
            return same
        seen = await scored(request, sha256, model)
        return file_answer(await service.work(lambda: map_png(seen.scored.map)), tag, "image/png")

    @app.get("/v1/images/{sha256}/overlay.png", responses=png, **files)
    async def overlay(request: Request, sha256: Digest, model: str = "") -> Response:
        """The picture with heat where the map reaches the threshold, and the defects' outlines."""
        engine = service.pipeline(model).engine
        tag = f"{sha256}-{engine.info.digest}-overlay"
        if same := tagged(request, tag, "image/png", FOREVER):
            return same
        seen = await scored(request, sha256, model)
        return file_answer(await service.work(lambda: overlay_png(seen, engine.scorer.threshold)), tag, "image/png")

    @app.get("/v1/images/{sha256}/heat.png", responses=png, **files)
    async def heat(request: Request, sha256: Digest, model: str = "") -> Response:
        """The map as a small coloured picture, clear below the threshold, to lay over the picture."""
        engine = service.pipeline(model).engine
        tag = f"{sha256}-{engine.info.digest}-heat"
        if same := tagged(request, tag, "image/png", FOREVER):
            return same
        seen = await scored(request, sha256, model)
        layers = await service.work(lambda: layers_of(seen, engine.scorer.threshold))
        return file_answer(layers.heat, tag, "image/png")

    @app.get("/v1/images/{sha256}/mask.png", responses=png, **files)
    async def mask(request: Request, sha256: Digest) -> Response:
        """The mask that a person drew last, one bit a pixel."""
        found = await service.read(lambda: mask_of(ledger, sha256))
        if found is None:
            raise Absent(f"image {sha256[:12]}: nobody drew a mask on it")
        tag, caching = tag_of(found[0]), "private, no-cache"
        return tagged(request, tag, "image/png", caching) or file_answer(found[0], tag, "image/png", caching)


def layers_of(seen: Seen, threshold: float) -> Layers:
    """The layers of a picture that was scored."""
    mask: Any = seen.scored.mask
    return make_layers(seen.image, seen.scored.map, mask, threshold)


def overlay_png(seen: Seen, threshold: float) -> bytes:
    """The picture, its heat and its outlines as one PNG file, its longest side at most `LARGEST`."""
    from PIL import Image

    cv2 = opencv()
    width, height = fitting(seen.image.shape, LARGEST)
    small = shrunk(cv2, plain(seen.image), (width, height))
    layers = layers_of(seen, threshold)
    base = Image.fromarray(small).convert("RGBA")
    with Image.open(io.BytesIO(layers.heat)) as heat:
        base.alpha_composite(heat.convert("RGBA").resize((width, height), Image.Resampling.BILINEAR))
    drawn = np.array(base.convert("RGB"))
    scale = np.array([width / seen.image.shape[1], height / seen.image.shape[0]])
    for defect in seen.finding.defects:
        cv2.polylines(drawn, [_corners(defect, scale)], True, (255, 255, 255), 2, cv2.LINE_AA)
        cv2.polylines(drawn, [_corners(defect, scale)], True, (200, 30, 30), 1, cv2.LINE_AA)
    out = io.BytesIO()
    Image.fromarray(drawn).save(out, "PNG", compress_level=3)
    return out.getvalue()


def _corners(defect: Defect, scale: np.ndarray) -> np.ndarray:
    """A defect's outline, or its box, in pixels of the drawing."""
    x0, y0, x1, y1 = defect.box
    points = defect.polygon or ((x0, y0), (x1, y0), (x1, y1), (x0, y1))
    return np.round(np.array(points) * scale).astype(np.int32)
