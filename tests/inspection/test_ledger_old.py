"""Older ledgers: brought to the present tables whole or not at all, read where they may not be written."""

import sqlite3

import pytest
import sqlalchemy as sa

from jaxqc.errors import UserError
from jaxqc.inspection.ledger import migrate, schema
from jaxqc.inspection.ledger.database import Database
from jaxqc.inspection.ledger.queries import entries, lot_findings
from jaxqc.inspection.ledger.rows import defect_rows, inspection_row
from jaxqc.inspection.ledger.sightings import Sighting
from jaxqc.inspection.ledger.store import open_ledger
from jaxqc.inspection.rules import GradeRules
from tests.support.ledger_makers import MODEL, finding

OLD = ((1, 1, 1, "a.png", "A"), (2, 2, 1, "b.png", "A"), (3, 2, 2, "b.png", "B"), (4, 3, 1, "c.png", None))
"""Inspection, picture, model, name and lot: the second model's manifest has the second picture in another lot."""


def write_old(where):
    """A ledger as version 1 kept it."""
    metadata, inspections, columns = migrate._first()
    names = {"A": 1, "B": 2, None: None}
    database = Database(where, create=True)

    def write(connection):
        metadata.create_all(connection)
        put = lambda table, *rows: connection.execute(sa.insert(table), list(rows))
        put(metadata.tables["ledger_version"], {"version": 1, "written_by": "0.1.0"})
        put(
            metadata.tables["models"], *({"id": i, "digest": f"m{i}", "name": "x", "details": {"a": 1}} for i in (1, 2))
        )
        empty = {"supplier": "North", "product": "", "line": ""}
        put(metadata.tables["lots"], *({"id": i, "name": name, **empty} for name, i in names.items() if name))
        for ident, picture, model, image, lot in OLD:
            put(inspections, {
                **inspection_row(finding(picture, 2)), **empty, "id": ident, "model_id": model, "image": image,
                "lot_id": names[lot], "machine": "", "time": "", "inspected": f"2026-01-0{ident}"})  # fmt: skip
            put(metadata.tables["defects"], *defect_rows(ident, finding(picture, 2)))
            put(columns, {"inspection_id": ident, "name": "order", "value": str(ident)})

    database.write(write)
    database.close()


SECOND = (
    (1, "/in/A/1.png", {"lot": "A"}, ("", "folder")),
    (2, "/in/A/2.png", {"lot": "A", "time": "2026-01-01"}, ("", "manifest")),
    (3, "/in/x/3.png", {"lot": "B"}, ("", "manifest")),
    (4, "/in/C/4.png", {"lot": "C", "piece": "7", "shift": "2"}, ("7", "manifest")),
    (5, "/in/5.png", {}, ("", "")),
)
"""Picture, path, what was said of it, and the piece and the lot's source that follow."""


def write_second(where):
    """A ledger as version 2 kept it: a piece was a further column."""
    with open_ledger(where) as ledger:
        rows = [{k.replace("piece", "_piece"): v for k, v in row.items()} for _, _, row, _ in SECOND]
        seen = [Sighting(finding(n).sha256, str(n), row, path) for (n, path, *_), row in zip(SECOND, rows, strict=True)]
        ledger.add([finding(n) for n, *_ in SECOND], MODEL, seen=seen)

        def age(connection):
            for column in ("piece", "source"):
                connection.execute(sa.DDL(f"ALTER TABLE sightings DROP COLUMN {column}"))
            for table in ("reviews", "uninspected"):
                connection.execute(sa.DDL(f"DROP TABLE {table}"))
            connection.execute(sa.text("UPDATE sighting_columns SET name = 'piece' WHERE name = '_piece'"))
            connection.execute(sa.text("UPDATE ledger_version SET version = 2, written_by = '0.2.0'"))

        ledger.database.write(age)


def check_second(ledger):
    with ledger.database.reading() as connection:
        s = schema.sightings.c
        found = connection.execute(sa.select(s.piece, s.source).order_by(s.image)).all()
        further = connection.execute(sa.select(schema.columns.c.name, schema.columns.c.value)).all()
    assert [tuple(line) for line in found] == [expected for *_, expected in SECOND]
    assert [tuple(line) for line in further] == [("shift", "2")]
    assert {entry.finding.sha256: entry.finding.defects for entry in entries(ledger)} == {
        finding(n).sha256: finding(n).defects for n, *_ in SECOND}  # fmt: skip


VERSIONS = {1: (write_old, lambda ledger: check(ledger)), 2: (write_second, check_second)}
"""The writer of each older version's ledger, and the check of it."""


def check(ledger):
    found = {(entry.model, entry.finding.sha256): entry for entry in entries(ledger)}
    assert len(found) == len(OLD)
    for _, picture, model, image, _ in OLD:
        entry = found[f"m{model}", finding(picture).sha256]
        assert entry.finding.defects == finding(picture, 2).defects
        assert entry.finding.image == image
        assert entry.row.get("lot") == {1: "A", 2: "B", 3: None}[picture]  # the newer manifest's
        assert entry.row["order"] == {1: "1", 2: "3", 3: "4"}[picture]
    assert [(lot.name, lot.images, lot.since) for lot, _ in lot_findings(ledger, GradeRules())] == [
        ("A", 1, "2026-01-01"), ("B", 1, "2026-01-02")]  # fmt: skip


def tables(where):
    """Columns, keys and indexes of all tables."""
    engine = Database(where, create=False).engine
    there = sa.inspect(engine)
    found = {name: (sorted((c["name"], str(c["type"]), c["nullable"]) for c in there.get_columns(name)),
                    there.get_pk_constraint(name)["constrained_columns"],
                    sorted(tuple(k["constrained_columns"]) for k in there.get_foreign_keys(name)),
                    sorted(tuple(k["column_names"]) for k in there.get_unique_constraints(name)),
                    sorted(i["name"] for i in there.get_indexes(name) if not i["unique"]))
             for name in there.get_table_names()}  # fmt: skip
    engine.dispose()
    return found


@pytest.fixture(params=VERSIONS)
def old(request):
    """Version, writer and check."""
    return request.param, *VERSIONS[request.param]


def test_an_old_ledger_is_brought_to_the_present_tables(old, where, tmp_path, request):
    version, write, check = old
    write(where)
    notes = []
    with open_ledger(where, create=False, note=notes.append) as ledger:
        check(ledger)
        assert f"its tables were those of version {version} and are now those of 3" in notes[0]
        assert ledger.place([]) == []
        new = str(tmp_path / "new") if "://" not in where else request.getfixturevalue("postgres").database()
    with open_ledger(where, note=notes.append) as ledger:
        check(ledger)
    assert len(notes) == 1
    with open_ledger(new):
        assert tables(where) == tables(new)


def test_a_fault_leaves_the_old_tables(old, where, monkeypatch):
    _, write, check = old
    write(where)
    before = tables(where)
    with monkeypatch.context() as patch:
        patch.setattr(schema, "sign", lambda connection: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            open_ledger(where)
    assert tables(where) == before
    with open_ledger(where, note=lambda text: None) as ledger:
        check(ledger)


def test_an_old_ledger_that_may_not_be_written_is_read_from_a_copy(old, postgres, tmp_path, monkeypatch):
    """On a server; files: `test_ledger_read_only`."""
    _, write, check = old
    where = postgres.database()
    write(where)
    before, notes = tables(where), []
    url = f"{where}&options=-cdefault_transaction_read_only%3Don"
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with open_ledger(url, create=False, note=notes.append) as ledger:
        check(ledger)
        with pytest.raises(UserError, match="may not be written; give a writable"):
            ledger.place([Sighting(finding(1).sha256, "x.png", {"lot": "Z"})])
    assert tables(where) == before
    assert not list(tmp_path.iterdir())
    assert [note.rpartition(": ")[2][:18] for note in notes] == ["may not be written"]
    with pytest.raises(UserError, match="read-only transaction"):
        open_ledger(url)
    with open_ledger(where, note=notes.append), open_ledger(url, create=False) as ledger:
        check(ledger)


def test_rows_that_refer_to_none_are_no_reason_to_lose_the_ledger(tmp_path):
    file = tmp_path / "old.sqlite"
    write_old(file)
    connection = sqlite3.connect(file)
    connection.execute("UPDATE defects SET inspection_id = 99 WHERE inspection_id = 1")
    connection.commit()
    connection.close()
    with pytest.raises(UserError, match="rows refer to others that are not there; take it from a backup"):
        open_ledger(file)
