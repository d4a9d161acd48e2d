"""A lot's images as columns: the model's numbers, people's verdicts, and the pieces that they show."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa
from jaxtyping import Bool, Float, Int

from jaxqc.inspection.acceptance.pieces import NOBODY, Pieces, pieces_of
from jaxqc.inspection.findings import VERDICTS
from jaxqc.inspection.ledger.reviews import latest
from jaxqc.inspection.ledger.rows import CHUNK
from jaxqc.inspection.ledger.schema import inspections, lots, models, sightings


@dataclass(frozen=True)
class LotImages:
    """Columns over m images, by their SHA-256, and v views. Where a person passed an image, it has no defects."""

    severities: Float[np.ndarray, " m"]
    """The model's."""
    ratios: Float[np.ndarray, " m"]
    densities: Float[np.ndarray, " m"]
    model: Int[np.ndarray, " m"]
    """Verdicts, as indices of `VERDICTS`."""
    people: Int[np.ndarray, " m"]
    """The same, or `NOBODY`."""
    composition: Counter[str]
    """Defects by class, and those that only a person saw."""
    image: Int[np.ndarray, " v"]
    piece: Int[np.ndarray, " v"]
    """Numbered as the images are: by SHA-256, an order that says nothing of quality."""
    reused: Bool[np.ndarray, " m"]
    """Images that stand for several pieces of the lot, or lie in other lots too."""

    def reused_pieces(self) -> int:
        """Number of pieces of which every image is reused."""
        own = np.zeros(int(self.piece.max(initial=-1)) + 1, bool)
        np.logical_or.at(own, self.piece, ~self.reused[self.image])
        return int((~own).sum())

    def pieces(self, reject: float) -> Pieces:
        """As `jaxqc.inspection.acceptance.pieces.pieces_of`."""
        return pieces_of(self.image, self.piece, self.model, self.people, self.severities, reject)


def only(query: Any, model: str, lot: str | None) -> Any:
    """Restricts a query of inspections to a model's digest ("" = all) and a lot (None = all)."""
    if model:
        query = query.where(
            inspections.c.model_id == sa.select(models.c.id).where(models.c.digest == model).scalar_subquery()
        )
    return query if lot is None else query.where(inspections.c.sha256.in_(pictures_of(lot)))


def pictures_of(lot: str) -> sa.Select[Any]:
    """SHA-256 of a lot's pictures."""
    return sa.select(sightings.c.sha256).where(sightings.c.lot_id == _id(lot))


def people_on(connection: sa.Connection, pictures: Any) -> dict[str, Mapping[str, str]]:
    """People's verdicts that count on some pictures (a query or list of SHA-256), as rows of `reviews`."""
    return {line["sha256"]: dict(line) for line in connection.execute(latest(pictures)).mappings()}


def lot_images(connection: sa.Connection, model: str, lot: str) -> LotImages:
    """Reads the images of a lot that a model inspected; one lot's numbers are in memory."""
    c, s = inspections.c, sightings.c
    said = people_on(connection, pictures_of(lot))
    named: dict[str, list[str]] = {}
    views = sa.select(s.sha256, s.piece).where(s.lot_id == _id(lot), s.piece != "").distinct()
    for sha256, piece in connection.execute(views.order_by(s.sha256, s.piece)):
        named.setdefault(sha256, []).append(piece)
    several = sa.select(s.sha256).where(s.sha256.in_(pictures_of(lot))).group_by(s.sha256)
    elsewhere = set(connection.scalars(several.having(sa.func.count(s.lot_id.distinct()) > 1)))
    numbers: list[tuple[float, float, float]] = []
    reused: list[bool] = []
    model_says: list[int] = []
    people_say: list[int] = []
    composition: Counter[str] = Counter()
    numbered: dict[str, int] = {}
    image: list[int] = []
    shown: list[int] = []
    query = sa.select(c.sha256, c.severity, c.area_ratio, c.density, c.verdict, c.composition)
    query = query.order_by(c.sha256)
    for line in connection.execute(only(query, model, lot)).yield_per(CHUNK):
        review = said.get(line.sha256)
        passed = review is not None and review["verdict"] == "pass"
        model_says.append(VERDICTS.index(line.verdict))
        people_say.append(NOBODY if review is None else VERDICTS.index(review["verdict"]))
        numbers.append((line.severity, 0.0, 0.0) if passed else (line.severity, line.area_ratio, line.density))
        classes = {} if passed else line.composition
        composition.update(classes)
        if review and review["class_name"] and review["class_name"] not in classes:
            composition[review["class_name"]] += 1
        reused.append(line.sha256 in elsewhere or len(named.get(line.sha256, ())) > 1)
        for piece in named.get(line.sha256, (None,)):
            image.append(len(model_says) - 1)
            # A picture that names no piece is one by itself; an id may be another picture's SHA-256.
            shown.append(numbered.setdefault(line.sha256 if piece is None else f"id {piece}", len(numbered)))
    severities, ratios, densities = np.array(numbers, np.float64).reshape(-1, 3).T
    whole = lambda values: np.array(values, np.int64)
    return LotImages(severities, ratios, densities, whole(model_says), whole(people_say), composition, whole(image),
                     whole(shown), np.array(reused, bool))  # fmt: skip


def _id(lot: str) -> Any:
    return sa.select(lots.c.id).where(lots.c.name == lot).scalar_subquery()
