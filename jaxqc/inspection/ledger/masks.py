"""Masks that people corrected: an event beside each review, in one transaction with it; never changed.

The table is made when a mask first comes. A jaxqc that does not know it reads such a ledger as before, so the tables'
version stays.
"""

import io
from typing import Any

import numpy as np
import sqlalchemy as sa
from jaxtyping import Bool

from jaxqc.errors import UserError
from jaxqc.inspection.ledger import reviews
from jaxqc.inspection.ledger.schema import inspections
from jaxqc.inspection.ledger.store import Ledger

_metadata = sa.MetaData()
masks = sa.Table(
    "review_masks",
    _metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("sha256", sa.String(64), nullable=False, index=True),
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("time", sa.Text, nullable=False),  # UTC, ISO 8601: with picture and person those of its review
    *(sa.Column(name, sa.Integer, nullable=False) for name in ("height", "width", "pixels")),
    sa.Column("png", sa.LargeBinary, nullable=False),  # one bit a pixel, white = defect
)


def prepare(ledger: Ledger) -> None:
    """Makes the table where it is not there yet."""
    if not _there(ledger):
        ledger.database.write(lambda connection: _metadata.create_all(connection), alone=True)


def add(ledger: Ledger, event: reviews.Review, mask: Bool[np.ndarray, "h w"]) -> reviews.Added:
    """Keeps a person's verdict on a picture with the mask that the person drew, both or none.

    Call `prepare` once before.

    Raises:
      UserError: a mask of another size than the picture's, a passed picture with marked pixels, a rejected one without.
    """
    height, width = mask.shape
    size = size_of(ledger, event.sha256)
    if size is not None and size != (height, width):
        raise UserError(f"mask: {height} x {width} pixels; the picture has {size[0]} x {size[1]}")
    pixels = int(mask.sum())
    if (event.verdict == "reject") != bool(pixels):
        marked = f"{pixels:,} marked pixels" if pixels else "no marked pixel"
        raise UserError(
            f"mask: {marked} with verdict {event.verdict!r}; a reject marks its defect, and nothing else does"
        )
    png = packed(mask)

    def beside(connection: sa.Connection, kept: list[dict[str, Any]]) -> None:
        own = {"height": height, "width": width, "pixels": pixels, "png": png}
        lines = [{name: line[name] for name in ("sha256", "person", "time")} | own for line in kept]
        if lines:
            connection.execute(sa.insert(masks), lines)

    return reviews.add(ledger, [event], beside)


def mask_of(ledger: Ledger, sha256: str) -> tuple[bytes, str] | None:
    """The mask that counts, as PNG with one bit a pixel, and the time of its review; None where nobody drew one."""
    if not _there(ledger):
        return None
    query = sa.select(masks.c.png, masks.c.time).where(masks.c.sha256 == sha256)
    with ledger.database.reading() as connection:
        line = connection.execute(query.order_by(masks.c.time.desc(), masks.c.id.desc()).limit(1)).first()
    return None if line is None else (bytes(line.png), line.time)


def drawn(ledger: Ledger) -> dict[tuple[str, str, str], int]:
    """Numbers of all masks, by their reviews: picture, person and time; of several of one second the last."""
    if not _there(ledger):
        return {}
    c = masks.c
    with ledger.database.reading() as connection:
        lines = connection.execute(sa.select(c.sha256, c.person, c.time, c.id).order_by(c.id))
        return {(line.sha256, line.person, line.time): line.id for line in lines}


def png_of(ledger: Ledger, number: int) -> bytes:
    """A mask as it was kept: PNG with one bit a pixel. number: of `drawn`."""
    with ledger.database.reading() as connection:
        return bytes(connection.execute(sa.select(masks.c.png).where(masks.c.id == number)).scalar_one())


def size_of(ledger: Ledger, sha256: str) -> tuple[int, int] | None:
    """Height and width of a picture that was inspected; None for an unknown one."""
    c = inspections.c
    with ledger.database.reading() as connection:
        line = connection.execute(sa.select(c.height, c.width).where(c.sha256 == sha256).limit(1)).first()
    return None if line is None else (line.height, line.width)


def packed(mask: Bool[np.ndarray, "h w"]) -> bytes:
    """A mask as PNG of one bit a pixel.

    Examples:
      >>> packed(np.eye(2, dtype=bool))[1:4]
      b'PNG'
    """
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(mask).save(out, "PNG", optimize=True)
    return out.getvalue()


def _there(ledger: Ledger) -> bool:
    with ledger.database.reading() as connection:
        return sa.inspect(connection).has_table(masks.name)
