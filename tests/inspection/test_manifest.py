"""Manifests: CSV, Parquet and folders; every bad input an error or a listed problem."""

import datetime
import re

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from jaxqc.data.problems import printable
from jaxqc.errors import UserError
from jaxqc.inspection.manifest import Item, read_manifest
from tests.support.manifests import HEADER, LINES, root, write  # noqa: F401 - a fixture

UTC = datetime.UTC


def test_a_csv_manifest(root):
    manifest = read_manifest(write(root))
    assert (manifest.name, manifest.columns, manifest.problems, len(manifest)) == ("lots", ("shift",), (), 3)
    first, second, third = manifest.items
    at = datetime.datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
    assert first == Item(root / "a.png", "a.png", "L1", "North", "coil", "1", "M7", at, {"shift": "early"})
    assert (second.id, second.image, second.time) == ("sub/b.png", root / "sub/b.png", at)
    assert (third.time, third.more) == (None, {"shift": "late"})


def test_lots_of_rows_that_are_left_out_are_known(root):
    lines = (*LINES, "gone.png,L3,,,,,,", "a.png,L4,,,,,,", "c.png,L5,too,many,cells,in,this,row,of,it")
    manifest = read_manifest(write(root, lines))
    assert {item.lot for item in manifest.items} == {"L1", "L2"}
    assert manifest.lots == {"L1", "L2", "L3", "L4"}
    assert [(one.path, one.lot, one.kind) for one in manifest.left_out] == [
        (str(root / "gone.png"), "L3", "missing-file"), (str(root / "a.png"), "L4", "reused-image"),
        ("", "", "malformed-row")]  # fmt: skip
    assert [one.message for one in manifest.left_out] == [p.message for p in manifest.problems]


def test_a_parquet_manifest_says_the_same(root):

    at = datetime.datetime(2026, 11, 21, 8, 30)
    columns = {
        "image": ["a.png", "sub/b.png", "c.png"],
        "lot": ["L1", "L1", "L2"],
        "supplier": ["North", "North", "South"],
        "product": ["coil"] * 3,
        "line": [1, 1, 2],
        "machine": ["M7", "M7", "M8"],
        "time": pa.array([at, at, None], pa.timestamp("ns")),
        "shift": ["early", "early", "late"],
    }
    for end in (".parquet", ".pq"):
        parquet.write_table(pa.table(columns), root / f"lots{end}")
        assert read_manifest(root / f"lots{end}") == read_manifest(write(root))
    columns["time"] = pa.array([datetime.date(2026, 11, 21)] * 3)
    parquet.write_table(pa.table(columns), root / "lots.parquet")
    assert read_manifest(root / "lots.parquet").items[0].time == datetime.datetime(2026, 11, 21, tzinfo=UTC)
    columns["time"] = pa.array([10**9, None, 0], pa.int32()).cast(pa.date32())
    parquet.write_table(pa.table(columns | {"lot": [1.0, 1.0, 2.0]}), root / "lots.parquet")
    found = read_manifest(root / "lots.parquet")
    assert [(i.lot, i.time) for i in found.items] == [
        ("1", None),
        ("1", None),
        ("2", datetime.datetime(1970, 1, 1, tzinfo=UTC)),
    ]
    assert [p.kind for p in found.problems] == ["table", "bad-time"]
    columns["time"] = pa.array([at] * 3, pa.timestamp("ms", "Europe/Berlin"))
    parquet.write_table(pa.table(columns), root / "lots.parquet")
    assert read_manifest(root / "lots.parquet").items[0].time == at.replace(tzinfo=UTC)
    (root / "lots.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(UserError, match=r"lots\.parquet: not a readable Parquet file"):
        read_manifest(root / "lots.parquet")
    parquet.write_table(pa.table({"image": ["a.png"]}), root / "lots.parquet")
    with pytest.raises(UserError, match="no column 'lot'"):
        read_manifest(root / "lots.parquet")


def test_a_folder_and_an_image(root):
    manifest = read_manifest(root)
    assert [(i.id, i.lot) for i in manifest.items] == [
        ("a.png", root.name),
        ("c.png", root.name),
        ("sub/b.png", "sub"),
    ]
    assert {(i.supplier, i.source) for i in manifest.items} == {("", "folder")}
    (root / "sub/cut.png.part").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert [(one.path, one.lot) for one in read_manifest(root).left_out] == [(str(root / "sub/cut.png.part"), "sub")]
    (item,) = read_manifest(root / "sub/b.png").items
    assert (item.image, item.id) == (root / "sub/b.png", "b.png")


@pytest.mark.parametrize(
    ("line", "kind", "message"),
    [
        ("x.png,L1,North,coil,1,M7,,", "missing-file", r"line 5: image: no such file .*x\.png"),
        ("./sub/../a.png,L1,North,coil,1,M7,,", "duplicate-image", "already stands on line 2; keep one"),
        ("d.png,L1,South,coil,1,M7,,", "mixed-lot", "lot 'L1' has supplier 'South', on line 2 'North'"),
        ("d.png,L1,North,plate,1,M7,,", "mixed-lot", "lot 'L1' has product 'plate', on line 2 'coil'"),
        ("d.png,,North,coil,1,M7,,", "malformed-row", "column 'lot' is empty"),
        (",L1,North,coil,1,M7,,", "malformed-row", "column 'image' is empty"),
        ("d.png,L1,North,coil", "malformed-row", "4 cells under 8 columns"),
        ("d.png,L1,North,coil,1,M7,,x,y", "malformed-row", "9 cells under 8 columns"),
        ("d.png,L1,North,coil,1,M\x077,,", "malformed-row", "control characters in column 'machine'"),
    ],
)
def test_bad_rows_are_listed_and_left_out(root, line, kind, message):
    (root / "d.png").write_bytes(b"")
    manifest = read_manifest(write(root, [*LINES, line]))
    assert len(manifest) == 3
    (problem,) = manifest.problems
    assert (problem.kind, problem.severity) == (kind, "error")
    assert re.search(message, problem.message)
    assert "lots.csv: line 5" in problem.message


@pytest.mark.parametrize("time", ["21.11.2026", "yesterday", "2026-13-01", "2026-11-21 25:00"])
def test_a_bad_time_keeps_its_image(root, time):
    manifest = read_manifest(write(root, [LINES[0].replace("2026-11-21T08:30Z", time)]))
    assert [i.time for i in manifest.items] == [None]
    (problem,) = manifest.problems
    assert (problem.kind, problem.severity) == ("bad-time", "warning")
    assert f"time {time!r} is not ISO 8601" in problem.message


def test_pieces_are_ids_within_their_lots(root):
    rows = ["a.png,L1,1.0,2026-11-21", "sub/b.png,L1,1.0,", "c.png,L2, 1.0 ,"]
    manifest = read_manifest(write(root, rows, "image,lot,Piece ID,time"))
    assert [(item.lot, item.piece, item.source) for item in manifest.items] == [
        ("L1", "1", "manifest"), ("L1", "1", "manifest"), ("L2", "1", "manifest")]  # fmt: skip
    assert [p.kind for p in manifest.problems] == ["table", "piece-in-several-lots"]
    assert "1 piece id stands in several lots ('1' in 'L1' and 'L2'): a piece in each" in manifest.problems[1].message
    misspelt = read_manifest(write(root, ["a.png,L1,1"], "image,lot,peice"))
    twice = read_manifest(write(root, ["a.png,L1,1", "a.png,L1,2"], "image,lot,piece"))
    assert "line 2 for piece '1' of lot 'L1', and a photo shows one piece; keep one" in twice.problems[0].message
    assert "if it is the piece, rename it 'piece'" in misspelt.problems[0].message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty file; its first line must name the columns: image,lot"),
        ("image,lot\n", "no rows below the header"),
        ("image,supplier\na.png,S\n", "no column 'lot' in the header 'image,supplier'"),
        ("picture,lot\na.png,S\n", "no column 'image'"),
        ("image,lot,lot\na.png,1,2\n", "column 'lot' stands twice"),
        ('image,lot\na.png,"1\n', "not CSV"),
    ],
)
def test_unusable_manifests_are_refused(root, text, message):
    (root / "lots.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        read_manifest(root / "lots.csv")


def test_what_is_no_manifest_is_refused(root):
    with pytest.raises(UserError, match=r"none\.csv: no such file or folder"):
        read_manifest(root / "none.csv")
    (root / "lots.xlsx").write_bytes(b"x")
    with pytest.raises(UserError, match=r"lots\.xlsx: not a manifest; its name must end in"):
        read_manifest(root / "lots.xlsx")
    (root / "empty").mkdir()
    with pytest.raises(UserError, match="no images in this folder"):
        read_manifest(root / "empty")
    (root / "lots.csv").write_bytes(f"{HEADER}\na.png,Größe".encode("latin-1"))
    with pytest.raises(UserError, match="line 2: not UTF-8"):
        read_manifest(root / "lots.csv")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    header=st.sampled_from(["", "image,lot\n", HEADER + "\n"]),
    body=st.one_of(st.binary(max_size=200), st.text('a.png,L1"\n\r \0', max_size=80).map(str.encode)),
)
def test_any_text_gives_items_problems_or_a_user_error(root, header, body):
    (root / "lots.csv").write_bytes(header.encode() + body)
    try:
        manifest = read_manifest(root / "lots.csv")
    except UserError as e:
        assert "\n" not in str(e)  # noqa: PT017
        return
    assert len(manifest) + len(manifest.problems) > 0
    assert all(printable(p.message) == p.message for p in manifest.problems)
    assert len({i.image for i in manifest.items}) == len(manifest)


def test_a_folder_s_own_table_describes_its_images(root):
    (root / "notes.md").write_text("")
    own = root / "Delivery.CSV"
    own.write_text("image,lot,supplier,piece\na.png,L1,North,7\nsub/b.png,L1,North,7\ngone.png,L2,,\n")
    found = read_manifest(root)
    assert found.name == root.name
    assert [(item.id, item.lot, item.piece, item.source) for item in found.items] == [
        ("a.png", "L1", "7", "manifest"),
        ("sub/b.png", "L1", "7", "manifest"),
        ("c.png", root.name, "", "folder"),
    ]
    kinds = [("missing-file", "error"), ("other-files", "warning"), ("not-in-table", "warning")]
    assert [(p.kind, p.severity) for p in found.problems] == kinds
    assert "1 other entries" in found.problems[1].message
    assert "does not name 1 images (as c.png)" in found.problems[2].message
    assert [one.image for one in found.left_out] == ["gone.png"]
    (root / "delivery.parquet").write_bytes(b"")
    with pytest.raises(UserError, match=r"holds Delivery\.CSV and delivery\.parquet; give one of them"):
        read_manifest(root)
