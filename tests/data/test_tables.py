"""Tables in the ways in which spreadsheets and programs write them: one door, every cell text."""

import datetime
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from jaxqc.data.tables.cells import emptied, whole_ids
from jaxqc.data.tables.read import check_columns, read_table
from jaxqc.data.tables.write import TableFile, write_table
from jaxqc.errors import UserError

KNOWN = ("image", "lot")


def table(tmp_path: Path, content: bytes | str, name: str = "t.csv"):
    (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return read_table(tmp_path / name, KNOWN)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_separators_and_encodings(tmp_path, separator, encoding):
    text = "Image|LOT |批号\r\n a.png |007|合格\r\nb.png|1e5|\r\n".replace("|", separator)
    found = table(tmp_path, text.encode(encoding))
    assert found.header == ("image", "lot", "批号")
    assert [(row.where, row.cells, row.fault) for row in found.rows] == [
        ("line 2", ("a.png", "007", "合格"), ""),
        ("line 3", ("b.png", "1e5", ""), ""),
    ]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("sep=;\nimage;lot\n1;2\n", [("line 3", ("1", "2"))]),
        ('"image","lot"\n"a\r\nb","say ""x"""\n\n3,4', [("line 2", ("a\r\nb", 'say "x"')), ("line 5", ("3", "4"))]),
        ("\n\nimage,lot\r1,2\r3,4", [("line 4", ("1", "2")), ("line 5", ("3", "4"))]),
        ('image,"lot\nnumber"\n1,2\n', [("line 3", ("1", "2"))]),
        ('image,lot\n"=""007""",\'=1+1\n', [("line 2", ("007", "=1+1"))]),
        ("image,lot,,\n1,2,,\n", [("line 2", ("1", "2"))]),
        ("image,lot\n1,2,\n", [("line 2", ("1", "2"))]),
        ('image,lot;12" pipe\n1,2\n', [("line 2", ("1", "2"))]),
        ("image,lot\n" + "x" * 200_000 + ",2", [("line 2", ("x" * 200_000, "2"))]),
        ("image,lot\n,\n \n", []),
    ],
)
def test_rows_and_their_lines(tmp_path, text, rows):
    assert [(row.where, row.cells) for row in table(tmp_path, text).rows] == rows


def test_rows_of_other_lengths_are_marked(tmp_path):
    found = table(tmp_path, "image;lot\n1;2;3\n4\n5;6\n")
    assert [row.fault.partition(";")[0] for row in found.rows] == [
        "3 cells under 2 columns",
        "1 cells under 2 columns",
        "",
    ]
    assert [dict(cells) for _, cells in found.records()][1] == {"image": "4"}


def test_a_column_without_a_name_is_noted_where_it_holds_anything(tmp_path):
    found = table(tmp_path, ",image,lot\n0,a.png,7\n1,b.png,8\n")  # pandas' index
    assert (found.header, found.rows[1].cells) == (KNOWN, ("b.png", "8"))
    assert found.notes == (f"{tmp_path}/t.csv: column 1 has no name and is not used; name it in the header",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty file; its first line must name the columns: image,lot"),
        ("Image,lot,image\n", r"column 'image' stands twice in the header 'Image,lot,image' \(separated by commas\)"),
        ("pic;lot\n", r"no column 'image' in the header 'pic;lot' \(separated by semicolons\); expected image,lot"),
        ('image,lot\n1,2\n3,"4\n5,6\n', "line 3: not CSV .a quote is opened and never closed"),
        ('image,lot\n1\n2,"', "line 3: not CSV"),
        ("image,lot\n1,2\nGröße,3".encode("cp1252"), r"line 3: not UTF-8 \(byte 0xf6\); save it as UTF-8"),
        ("image,lot\n".encode("utf-16-le"), "UTF-16 without a byte-order mark; save it as UTF-8"),
        (b"\xff\xfea", "not UTF-16, though its first bytes say so"),
    ],
)
def test_refusals_name_the_place(tmp_path, content, message):
    with pytest.raises(UserError, match=message) as e:
        check_columns(table(tmp_path, content), KNOWN, KNOWN)
    assert "t.csv: " in str(e.value)


def test_a_folder_is_no_table(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_table(tmp_path, KNOWN)


def test_words_for_nothing_are_empty_only_where_asked(tmp_path):
    found = table(tmp_path, "image,lot,note\na,NaN,None\nb,NULL,n/a\nc,nan1,\n")
    found = emptied(found, KNOWN)
    assert [row.cells[1:] for row in found.rows] == [("", "None"), ("", "n/a"), ("nan1", "")]
    assert [note.partition(": ")[2] for note in found.notes] == [
        "column 'lot': 2 cells hold 'NaN', 'NULL', taken as empty"
    ]


@pytest.mark.parametrize(
    ("lots", "read", "noted"),
    [
        (("101.0", "", "0102.0"), ("101.0", "", "0102.0"), ""),
        (("101.0", "", "102.0"), ("101", "", "102"), "101.0 are taken as 101"),
        (("2026.0", "2026.1"), ("2026.0", "2026.1"), ""),
        (("007", "1e5"), ("007", "1e5"), ""),
        (("2.02611E+15", "7"), ("2.02611E+15", "7"), "looks like a long number without its last digits"),
    ],
)
def test_ids_that_a_table_made_floating_point(tmp_path, lots, read, noted):
    found = whole_ids(table(tmp_path, "image,lot\n" + "".join(f"i,{lot}\n" for lot in lots)), ("lot", "order"))
    assert tuple(row.cells[1] for row in found.rows) == read
    assert len(found.notes) == bool(noted)
    assert noted in " ".join(found.notes)


def test_parquet_of_every_type_is_text(tmp_path):
    at = datetime.datetime(2026, 11, 3, 8)
    columns = {
        "Image": pa.array(["a", None]),
        "lot": pa.array([101.0, float("nan")]),
        "id": pa.array([7, None]),
        "kind": pa.array(["x", "y"]).dictionary_encode(),
        "raw": pa.array([b"ab", None]),
        "yes": pa.array([True, None]),
        "at": pa.array([at, None], pa.timestamp("ns", "Mars/Olympus")),
        "late": pa.array([10**13, 0]).cast(pa.timestamp("s")),
        "day": pa.array([10**9, 0], pa.int32()).cast(pa.date32()),
    }
    parquet.write_table(pa.table(columns), tmp_path / "t.parquet")
    found = read_table(tmp_path / "t.parquet", KNOWN)
    assert found.header[:2] == KNOWN
    assert [row.where for row in found.rows] == ["row 1", "row 2"]
    first, second = (row.cells for row in found.rows)
    assert first[:7] == ("a", "101.0", "7", "x", "ab", "True", "2026-11-03 08:00:00+00:00")
    assert second[:7] == ("", "", "", "y", "", "", "")
    assert all("out of range" in cell for cell in first[7:])
    assert [cell[:10] for cell in second[7:]] == ["1970-01-01"] * 2


def test_what_is_written_is_safe_in_spreadsheets_and_read_as_it_was(tmp_path):
    texts = ("=1+1", "+A1", "-x", "@SUM", "'=x", "-5", "+1e3", "a,b;c", 'say "x"', "合格", "'", "a-b", "")
    rows = [{"lot": text, "image": -0.5} for text in texts]
    write_table(tmp_path / "t.csv", KNOWN, rows)
    content = (tmp_path / "t.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbfimage,lot\r\n-0.5,'=1+1\r\n")
    assert b"\r\n-0.5,-5\r\n-0.5,+1e3\r\n" in content
    assert [row.cells for row in read_table(tmp_path / "t.csv", KNOWN).rows] == [("-0.5", text) for text in texts]


def test_the_mark_comes_with_the_first_text_that_needs_it(tmp_path):
    with TableFile(tmp_path / "t.csv", ("lot",)) as file:
        file.put([{"lot": "a"}])
        assert (tmp_path / "t.csv").read_bytes() == b"lot\r\na\r\n"
        file.put([{"lot": "é"}])
        file.put([{"lot": "\udcff"}, {"lot": "ü"}])
    assert (tmp_path / "t.csv").read_text("utf-8-sig") == "lot\na\né\n\\udcff\nü\n"
