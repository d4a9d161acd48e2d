"""People's verdicts on pictures: events that are never changed, of which a picture's latest counts.

A verdict is of the picture's bytes: it holds under whatever name and in whatever lot they lie, and for every model.
"""

import datetime
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import sqlalchemy as sa

from jaxqc.errors import UserError, suggest
from jaxqc.inspection.findings import Verdict
from jaxqc.inspection.ledger.rows import CHUNK, batched, storable
from jaxqc.inspection.ledger.schema import inspections, reviews
from jaxqc.inspection.ledger.store import Ledger

Word = Literal["pass", "reject", "undone"]
WORDS: tuple[Word, ...] = get_args(Word)
"""Verdicts of people. After `undone` the picture has none again."""


@dataclass(frozen=True)
class Review:
    """One person's verdict on one picture.

    Raises:
      UserError: another verdict, or a class with one that is not `reject`.
    """

    sha256: str
    verdict: Word
    class_name: str = ""
    """The defect's; "" = not said."""
    person: str = ""
    note: str = ""
    time: str = ""
    """UTC, ISO 8601; "" = the moment when it is kept."""

    def __post_init__(self) -> None:
        if self.verdict not in WORDS:
            raise UserError(f"verdict={self.verdict!r}{suggest(str(self.verdict), WORDS)}")
        if self.class_name and self.verdict != "reject":
            raise UserError(f"class {self.class_name!r} with verdict {self.verdict!r}: only a reject has a class")


class Added(NamedTuple):
    """The fate of some reviews."""

    new: int
    same: int
    """Those that say what the same person said last of the picture."""
    unknown: tuple[str, ...]
    """SHA-256 of pictures that the ledger does not know; what was said of them is not kept."""


def add(
    ledger: Ledger,
    events: Sequence[Review],
    beside: Callable[[sa.Connection, list[dict[str, Any]]], None] | None = None,
) -> Added:
    """Keeps people's verdicts in one transaction, in their order; the same again adds nothing.

    An event is there already where the same person's last word on the picture was the same verdict, class and note, or
    where one with this very time was: a table that comes in twice takes back no verdict that another person gave since.

    Raises:
      UserError: what the database says; nothing is then kept.
    """
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    lines = [_line(event, now) for event in events]
    wanted = sorted({line["sha256"] for line in lines})

    def work(connection: sa.Connection) -> Added:
        if ledger.database.postgres:  # two that bring the same table in must not both find it new
            connection.execute(sa.DDL("LOCK TABLE reviews IN SHARE ROW EXCLUSIVE MODE"))
        known, last, there = _known(connection, wanted), dict[tuple[str, str], Any](), set[Any]()
        for line in _events(connection, wanted):
            _remember(line, last, there)
        new: list[dict[str, Any]] = []
        for line in lines:
            again = _same(line, last, there) and (line["dated"] or beside is None)
            if line["sha256"] in known and not again:
                _remember(line, last, there)
                new.append({name: value for name, value in line.items() if name != "dated"})
        if new:
            connection.execute(sa.insert(reviews), new)
        if beside is not None:
            beside(connection, new)
        kept = sum(line["sha256"] in known for line in lines)
        return Added(len(new), kept - len(new), tuple(sha256 for sha256 in wanted if sha256 not in known))

    return ledger.database.write(work) if lines else Added(0, 0, ())


def latest(pictures: Any = None) -> sa.Select[Any]:
    """The verdicts that count: sha256, verdict, class_name, person, note, time, a row for each picture that has one.

    Of a picture's events the one of the last time counts, of equal times the one that came last. pictures: a query or
    list of SHA-256; None = all.
    """
    c = reviews.c
    place = sa.func.row_number().over(partition_by=c.sha256, order_by=(c.time.desc(), c.id.desc())).label("place")
    events = sa.select(*(c[name] for name in _SHOWN), place)
    ordered = (events if pictures is None else events.where(c.sha256.in_(pictures))).subquery()
    query: Any = sa.select(*(ordered.c[name] for name in _SHOWN))
    return query.where(ordered.c.place == 1, ordered.c.verdict != "undone")


def history(ledger: Ledger, sha256: str) -> list[Review]:
    """All that people said of a picture, in the order in which it counts: the last is the verdict now."""
    query = sa.select(*(reviews.c[name] for name in _SHOWN)).where(reviews.c.sha256 == sha256)
    with ledger.database.reading() as connection:
        lines = connection.execute(query.order_by(reviews.c.time, reviews.c.id))
        return [Review(**line) for line in lines.mappings()]


def verdicts_on(ledger: Ledger, sha256s: Iterable[str]) -> dict[str, Verdict]:
    """People's verdicts that count on some pictures, by SHA-256."""
    found: dict[str, Verdict] = {}
    with ledger.database.reading() as connection:
        for some in batched(sha256s, CHUNK):
            found |= {line["sha256"]: line["verdict"] for line in connection.execute(latest(some)).mappings()}
    return found


_SAID = ("verdict", "class_name", "note")
_SHOWN = ("sha256", "verdict", "class_name", "person", "note", "time")


def _line(event: Review, now: str) -> dict[str, Any]:
    texts = {name: storable(getattr(event, name)).strip() for name in _SHOWN}
    return texts | {"time": event.time or now, "dated": bool(event.time)}


def _known(connection: sa.Connection, sha256s: Iterable[str]) -> set[str]:
    """Those of the pictures that any model inspected."""
    found: set[str] = set()
    for some in batched(sha256s, CHUNK):
        found |= set(connection.scalars(sa.select(inspections.c.sha256).where(inspections.c.sha256.in_(some))))
    return found


def _events(connection: sa.Connection, sha256s: Iterable[str]) -> Iterable[Any]:
    query = sa.select(*(reviews.c[name] for name in _SHOWN)).order_by(reviews.c.time, reviews.c.id)
    for some in batched(sha256s, CHUNK):
        yield from connection.execute(query.where(reviews.c.sha256.in_(some))).mappings()


def _remember(line: Any, last: dict[tuple[str, str], Any], there: set[Any]) -> None:
    said = tuple(line[name] for name in _SAID)
    last[line["sha256"], line["person"]] = said
    there.add((line["sha256"], line["person"], line["time"], said))


def _same(line: Any, last: dict[tuple[str, str], Any], there: set[Any]) -> bool:
    said = tuple(line[name] for name in _SAID)
    if line["dated"]:
        return (line["sha256"], line["person"], line["time"], said) in there
    return last.get((line["sha256"], line["person"])) == said
