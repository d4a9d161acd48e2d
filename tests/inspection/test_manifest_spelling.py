"""Manifests as people and spreadsheets spell them: spaces, capitals, separators, look-alikes."""

import pytest

from jaxqc.errors import UserError
from jaxqc.inspection.manifest import read_manifest
from tests.support.manifests import root, write  # noqa: F401 - a fixture


def test_spaces_and_line_breaks_of_a_spreadsheet_are_no_control_characters(root):
    file = write(root, [
        "a.png,L\u30001,North\u00a0Steel,coil,1,M7,,early",
        'sub/b.png,L\u30001 ,North Steel,coil,1,"M\r\n7",,"bent\nat \x07 the\u2028edge"',
        "c.png,\ufeffL\u200d2\u3000,\u200eSouth\u202f,coil,2,M8,,",
    ])  # fmt: skip
    manifest = read_manifest(file)
    assert manifest.problems == ()
    assert [(i.lot, i.supplier) for i in manifest.items] == [
        ("L\u30001", "North\u00a0Steel"),
        ("L\u30001", "North\u00a0Steel"),
        ("L\u200d2", "South"),
    ]
    assert manifest.items[1].machine == "M 7"
    assert manifest.items[1].more["shift"] == "bent\nat \x07 the\u2028edge"


def test_folders_are_lots_by_their_own_names(root):
    for name in ("外\u3000销", "L\u00a07 "):
        (root / name).mkdir()
        (root / name / "d.png").write_bytes(b"")
    assert {i.lot for i in read_manifest(root).items} >= {"外\u3000销", "L\u00a07"}


def test_a_spreadsheet_s_ways_of_writing(root):
    """Semicolons, capitals, blanks, backslashes, words for nothing, and numbers made floating point."""
    text = "Image ; LOT ID;Supplier;Order ID\na.png;101.0;None;7.0\nsub\\b.png;101.0;;\nc.png;;NULL;8.0\n"
    (root / "lots.txt").write_text(text)
    found = read_manifest(root / "lots.txt")
    assert [(i.id, i.lot, i.supplier, i.more) for i in found.items] == [
        ("a.png", "101", "", {"Order ID": "7"}),
        ("sub/b.png", "101", "", {"Order ID": ""}),
    ]
    assert [(p.kind, p.severity) for p in found.problems] == [*[("table", "warning")] * 3, ("malformed-row", "error")]
    (root / "lots.csv").write_text("image,lot,coil,coil\na.png,L1,A,B\n")
    with pytest.raises(UserError, match="column 'coil' stands twice in the header"):
        read_manifest(root / "lots.csv")
    (root / "lots.csv").write_text("image,lot\nD:\\img\\a.png,L1\nno\\a.png,L1\n")
    messages = [p.message for p in read_manifest(root / "lots.csv").problems]
    assert messages[0].endswith("a path of another machine: write it relative to the table")
    assert messages[1].endswith("neither with its backslashes nor with slashes for them")


def test_names_that_look_alike_and_times_of_two_kinds_are_said(root):
    rows = ["a.png,L 1,N,2026-11-21T08:30", "sub/b.png,L\u30001,N\u200d,2026-11-21T08:30+08:00", "c.png,L2,N,"]
    manifest = read_manifest(write(root, rows, "image,lot,supplier,time"))
    assert len(manifest) == 3
    assert [p.message.partition(": ")[2] for p in manifest.problems] == [
        r"column 'lot': 'L 1' and 'L\u30001' look alike and count as 2; write one of them",
        r"column 'supplier': 'N' and 'N\u200d' look alike and count as 2; write one of them",
        "some times have a zone and others none, which are taken as UTC; write the zone to all of them",
    ]
    for lot in ("L 1", "L\u00a01"):
        (root / "lots" / lot).mkdir(parents=True)
        (root / "lots" / lot / "a.png").touch()
    assert [p.kind for p in read_manifest(root / "lots").problems] == ["names-alike"]


def test_a_file_under_a_name_that_looks_the_same_is_named(root):
    (root / "M\u00e9.png").touch()
    manifest = read_manifest(write(root, ["Me\u0301.png,L1", "SUB/b.png,L1", "d.png,L1"], "image,lot"))
    assert [p.message.partition("; ")[2] for p in manifest.problems] == [
        "'M\u00e9.png' is there, not 'Me\\u0301.png'",
        "'sub' is there, not 'SUB'",
        "",
    ]


def test_columns_that_may_be_misspelt_are_told(root):
    manifest = read_manifest(write(root, ["a.png,L1,North"], "image,lot,suplier"))
    assert manifest.items[0].more == {"suplier": "North"}
    assert [(p.kind, p.severity) for p in manifest.problems] == [("unknown-column", "warning")]
    assert "if it is the supplier, rename it 'supplier'" in manifest.problems[0].message
