"""Shapes of what the server answers and takes, as pydantic has them; findings and lots are those of an inspection."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from jaxqc.inspection.acceptance.suppliers import Supplier
from jaxqc.inspection.findings import Finding, LotFinding, Verdict
from jaxqc.inspection.ledger.pictures import Inspected, Place
from jaxqc.inspection.ledger.reviews import Review

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Text = Annotated[str, Field(max_length=2000)]
Name = Annotated[str, Field(max_length=200)]


class _Record(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid")


class Problem(_Record):
    """The reason why something was refused."""

    error: str
    """In words."""
    reason: str
    """One word for programs, such as `full`, `bytes`, `request`."""
    retry_after: int | None = None
    """Seconds after which to try again; null where that is of no use."""


class Answer(_Record):
    """The answer on an image."""

    finding: Finding
    known: bool
    """The ledger had this picture by this model: nothing was inspected again."""
    model: str
    """Digest of the model with its settings."""
    rules: str
    """Digest of the rules."""
    timings_ms: dict[str, float]
    """Milliseconds of each stage, and in total."""
    map_png: str | None = None
    """The map as a grey PNG of the image's size in base64, where `maps=png` asked for it; 255 = 1."""


class BatchAnswer(_Record):
    """The answers on several images, in their order."""

    images: list[Answer | Problem]
    inspected: int
    """Images with an answer."""
    failed: int
    """Images with a problem."""


class Model(_Record):
    """A model of the ledger or of this server."""

    digest: str
    name: str
    details: dict[str, Any]
    """Card: threshold, data, metrics."""
    serving: bool
    """This server inspects with it."""
    batches: list[int] = []
    """Compiled batch sizes, where it is served."""


class Models(_Record):
    """All models."""

    models: list[Model]


class Lot(_Record):
    """A lot with its figures."""

    figures: LotFinding
    model: str
    """Digest of the model whose findings count."""
    line: str
    since: str
    """Time of its first image; ISO 8601."""
    suppliers: int
    """Number of suppliers that its images name."""


class Lots(_Record):
    """A page of lots, by name."""

    lots: list[Lot]
    next: str | None
    """Cursor of the next page; null at the end."""


class Suppliers(_Record):
    """All suppliers, the best first."""

    suppliers: list[Supplier]


class Images(_Record):
    """A page of inspections, the newest first."""

    images: list[Inspected]
    next: str | None
    """Cursor of the next page; null at the end."""


class Image(_Record):
    """All that the ledger knows of a picture."""

    sha256: str
    inspections: list[Inspected]
    """By all models, the first one first."""
    places: list[Place]
    reviews: list[Review]
    """All that people said, in the order in which it counts: the last is the verdict now."""
    mask: bool
    """A person drew a mask."""


class Order(_Record):
    """The outcome of an order, or of its share of a lot."""

    order: Name = ""
    lot: Name = ""
    returned: bool | None = None
    complained: bool | None = None
    rating: Annotated[float | None, Field(allow_inf_nan=False)] = None
    time: Name = ""
    supplier: Name = ""
    product: Name = ""
    line: Name = ""


class Imported(_Record):
    """The fate of outcomes."""

    new: int
    changed: int
    same: int
    bad: list[str]
    """Rows that were left out, with the reason."""
    notes: list[str]


class Word(_Record):
    """A person's word on a picture."""

    sha256: Digest
    verdict: Literal["pass", "reject", "undone"]
    class_name: Name = ""
    """The defect's, of a reject."""
    person: Name = ""
    note: Text = ""
    """The reason."""
    time: Name = ""
    """ISO 8601; empty = now."""
    mask_png: Annotated[str | None, Field(max_length=2**25)] = None
    """The corrected mask: a grey PNG of the picture's size in base64; above 128 = defect."""
    polygons: Annotated[list[list[tuple[float, float]]] | None, Field(max_length=1000)] = None
    """The corrected mask as outlines (x, y) in the picture's pixels, instead of `mask_png`."""


class Kept(_Record):
    """The fate of a person's word."""

    new: bool
    """False: the same person had said the same before."""
    verdict: Verdict | None
    """The verdict on the picture that counts now; null where there is none."""


class Health(_Record):
    """The state of the server."""

    ok: bool
    compiled: bool | None = None
    ledger: bool | None = None
