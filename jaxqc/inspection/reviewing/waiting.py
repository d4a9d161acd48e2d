"""Pictures that people should look at: those that wait for review, and random ones of those that do not.

Of a picture's inspections the last counts, of all models or of the one that is asked for.
"""

import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from jaxqc.errors import UserError
from jaxqc.inspection.findings import Verdict
from jaxqc.inspection.ledger import reviews
from jaxqc.inspection.ledger.rows import CHUNK, batched
from jaxqc.inspection.ledger.schema import inspections, lots, models, sightings
from jaxqc.inspection.ledger.store import Ledger


@dataclass(frozen=True)
class Picture:
    """A picture as the model saw it, and where it lies."""

    sha256: str
    model: str
    """Digest."""
    verdict: Verdict
    """The model's."""
    score: float
    severity: float
    count: int
    """Defects."""
    composition: Mapping[str, int]
    """Defects by class."""
    image: str = ""
    """As a manifest names it."""
    path: str = ""
    """The file's, where it was last seen."""
    lots: tuple[str, ...] = ()
    """All that hold it."""
    piece: str = ""
    supplier: str = ""
    said: reviews.Review | None = None
    """People's verdict that counts."""


def pictures(ledger: Ledger, digests: Collection[str] = (), lot: str | None = None) -> list[Picture]:
    """Every inspected picture, once, the worst first: by severity, of equal ones by score.

    digests: of the models whose findings count; none = all; of several of them the one that inspected it last counts.
    lot: its pictures alone.

    Raises:
      UserError: no such lot.
    """
    c, said = inspections.c, reviews.latest().subquery()
    last = sa.select(sa.func.max(c.id)).select_from(inspections).group_by(c.sha256)
    if digests:
        last = last.join(models).where(models.c.digest.in_(digests))
    texts = [said.c[name].label(f"said_{name}") for name in ("verdict", "class_name", "person", "note", "time")]
    query = sa.select(c.sha256, models.c.digest, c.verdict, c.score, c.severity, c.count, c.composition, *texts)
    query = query.select_from(inspections.join(models).outerjoin(said, said.c.sha256 == c.sha256))
    query = query.where(c.id.in_(last)).order_by(c.severity.desc(), c.score.desc(), c.sha256)
    with ledger.database.reading() as connection:
        if lot is not None:
            ident = connection.scalar(sa.select(lots.c.id).where(lots.c.name == lot))
            if ident is None:
                raise UserError(f"--lot: {ledger.name} has no lot {lot!r}; `jaxqc ledger lots` lists them")
            query = query.where(c.sha256.in_(sa.select(sightings.c.sha256).where(sightings.c.lot_id == ident)))
        found = connection.execute(query).mappings().all()
        places = _places(connection, [line["sha256"] for line in found])
    return [_picture(line, places.get(line["sha256"], ()), lot) for line in found]


def waits(picture: Picture) -> bool:
    """True where the model is not sure and no person has said anything yet."""
    return picture.verdict == "review" and picture.said is None


def sample(found: Sequence[Picture], verdict: Verdict, count: int, seed: int) -> list[Picture]:
    """A random sample of the pictures with this verdict of the model's that no person has judged.

    Each has the same chance, and each lot the share of the sample that it has of the pictures, to within one: they are
    laid in a row lot by lot, shuffled within each, and every k-th is taken from a random start (systematic sampling).

    Raises:
      UserError: a negative count.

    Examples:
      >>> row = [Picture(str(i), "", "pass", 0.0, 0.0, 0, {}, lots=(f"L{i // 6}",)) for i in range(24)]
      >>> sorted(picture.lots[0] for picture in sample(row, "pass", 8, seed=0))
      ['L0', 'L0', 'L1', 'L1', 'L2', 'L2', 'L3', 'L3']
    """
    if count < 0:
        raise UserError(f"sample: {count} must be 0 or more")
    draw = random.Random(seed)
    there = sorted((p for p in found if p.verdict == verdict and p.said is None), key=lambda p: p.sha256)
    if count >= len(there):
        return there
    draw.shuffle(there)
    there.sort(key=lambda p: p.lots)
    step, start = len(there) / max(count, 1), draw.random()
    return [there[int((start + i) * step)] for i in range(count)]


def _places(connection: sa.Connection, sha256s: Iterable[str]) -> dict[str, list[Any]]:
    """The sightings of pictures, by their SHA-256; those in a lot first, then the newest."""
    s, found = sightings.c, dict[str, list[Any]]()
    query = sa.select(s.sha256, s.image, s.path, s.piece, s.supplier, lots.c.name.label("lot"))
    query = query.select_from(sightings.outerjoin(lots)).order_by(s.lot_id.is_(None), s.id.desc())
    for some in batched(sha256s, CHUNK):
        for line in connection.execute(query.where(s.sha256.in_(some))).mappings():
            found.setdefault(line["sha256"], []).append(line)
    return found


def _picture(line: Any, places: Sequence[Any], lot: str | None) -> Picture:
    first = next((place for place in places if lot is None or place["lot"] == lot), None)
    said = None
    if line["said_verdict"] is not None:
        texts = {name: line[f"said_{name}"] for name in ("verdict", "class_name", "person", "note", "time")}
        said = reviews.Review(line["sha256"], **texts)
    return Picture(
        *(line[name] for name in ("sha256", "digest", "verdict", "score", "severity", "count", "composition")),
        lots=tuple(dict.fromkeys(place["lot"] for place in places if place["lot"])),
        said=said,
        **({name: first[name] for name in ("image", "path", "piece", "supplier")} if first else {}),
    )
