"""Readers: both layouts, their detection, and a defined answer to every way an index can be wrong."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jaxqc.data.open import open_data
from jaxqc.data.problems import printable
from jaxqc.data.readers import index_csv, open_dataset, scan_dataset
from jaxqc.errors import UserError

Make = Callable[..., Path]


def rewrite(root: Path, change: Callable[[str], str]) -> None:
    """Passes index.csv through `change`."""
    file = root / "index.csv"
    file.write_text(change(file.read_text()))


@pytest.mark.parametrize("layout", ["index", "sd900"])
@pytest.mark.parametrize("asked", ["auto", "same"])
def test_both_layouts(make_set: Make, layout: str, asked: str) -> None:
    dataset = open_dataset(make_set(layout), layout if asked == "same" else "auto")
    assert dataset.classes == ("In", "Pa", "Sc")
    assert [s.id for s in dataset.samples] == ["In_1", "In_2", "Pa_1", "Pa_2", "Sc_1", "Sc_2"]
    assert [s.label for s in dataset.samples] == [0, 0, 1, 1, 2, 2]
    for s in dataset.samples:
        assert s.image.stem == s.id
        assert s.image.is_file()
        assert s.mask is not None
        assert s.mask.stem == s.id
        assert s.mask.is_file()
    assert [s.split for s in dataset.samples[:2]] == (["val", "train"] if layout == "index" else ["", ""])


def test_real_data(sd900: Path) -> None:
    dataset = open_dataset(sd900)
    assert dataset.classes == ("In", "Pa", "Sc")
    assert len(dataset) == 810
    assert (len(dataset.split("train")), len(dataset.split("val"))) == (729, 81)
    assert [sum(s.label == k for s in dataset.samples) for k in range(3)] == [270] * 3


def test_published_layout_passes_over_what_the_system_leaves_there(make_set: Make) -> None:
    root = make_set("sd900")
    for junk in ("Source Images/.DS_Store", "Source Images/Thumbs.db", "Source Images/._In_1.bmp", "readme.txt"):
        (root / junk).write_bytes(b"x")
    (root / "Ground truth").rename(root / "Ground Truth")
    assert len(open_dataset(root)) == 6


def test_published_layout_is_in_natural_order(make_set: Make) -> None:
    ids = [s.id for s in open_dataset(make_set("sd900", per_class=11)).samples]
    assert ids[:3] == ["In_1", "In_2", "In_3"]
    assert ids[9:12] == ["In_10", "In_11", "Pa_1"]


def test_published_layout_problems(make_set: Make) -> None:
    root = make_set("sd900")
    images, masks = root / "Source Images", root / "Ground truth"
    (masks / "Pa_1.png").unlink()
    (images / "Pa_2.bmp").rename(images / "Inside_2.bmp")
    (images / "In_1.bmp").rename(images / "In_1.BMP")
    (images / "In_1.png").write_bytes((images / "In_1.BMP").read_bytes())
    dataset, problems = scan_dataset(root)
    assert {(p.kind, p.where, p.severity) for p in problems} == {
        ("missing-mask", "Pa_1", "error"),
        ("unknown-class", "Inside_2", "error"),
        ("stray-mask", "Pa_2", "warning"),
        ("duplicate-id", "In_1", "error"),
    }
    assert [s.id for s in dataset.samples] == ["In_1", "In_2", "Pa_1", "Sc_1", "Sc_2"]
    with pytest.raises(UserError, match=r"In_1\.png: has the same id as In_1\.BMP.*2 more in .*jaxqc data check"):
        open_dataset(root)


@pytest.mark.skipif(os.name != "posix", reason="byte names")
def test_file_names_that_are_not_utf8(make_set: Make) -> None:
    root = make_set("sd900")
    for folder, ending in (("Source Images", "bmp"), ("Ground truth", "png")):
        file = root / folder / f"In_1.{ending}"
        file.rename(os.fsdecode(os.fsencode(root / folder) + b"/In_\xff." + ending.encode()))
    sample = next(s for s in open_dataset(root).samples if "udcff" in s.id)
    assert sample.id.encode("ascii") == rb"In_\udcff"
    assert sample.image.is_file()
    assert sample.mask is not None


def test_folder_for_prediction(make_set: Make, tmp_path: Path) -> None:
    root = make_set("sd900")
    dataset = open_dataset(root, "folder")
    assert len(dataset) == 12
    assert dataset.samples[0].id == "Ground truth/In_1.png"
    assert {s.mask for s in dataset.samples} == {None}
    single = open_dataset(root / "Source Images" / "In_1.bmp", "folder")
    assert [s.id for s in single.samples] == ["In_1.bmp"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: no images in this folder \(it holds nothing\)"):
        open_dataset(tmp_path / "empty", "folder")
    with pytest.raises(UserError, match="no such file or folder"):
        open_dataset(tmp_path / "gone", "folder")


def test_detection_says_what_it_found(make_set: Make, tmp_path: Path) -> None:
    root = make_set("sd900")
    with pytest.raises(UserError, match=r"no such folder \(did you mean 'set'\?\)"):
        open_dataset(root.with_name("sett"))
    with pytest.raises(UserError, match=r"one level down; give .*/set$"):
        open_dataset(root.parent)
    with pytest.raises(UserError, match="images without masks: good for fit, predict and inspect"):
        open_dataset(root / "Source Images")
    with pytest.raises(UserError, match="not a folder"):
        open_dataset(root / "Source Images" / "In_1.bmp")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty folder; give one with .*images/ and masks/ with"):
        open_dataset(tmp_path / "empty")
    (tmp_path / "empty" / "notes.txt").write_text("x")
    with pytest.raises(UserError, match=r"no data set known here \(holds notes\.txt\); expected"):
        open_dataset(tmp_path / "empty")
    with pytest.raises(UserError, match=r"layout: no reader 'idex' \(did you mean 'index'\?\)"):
        open_dataset(root, "idex")
    with pytest.raises(UserError, match=r"expected index\.csv with the columns id,.* \(layout index\)"):
        open_dataset(root, "index")
    with pytest.raises(UserError, match="expected the folders 'Source Images' and 'Ground truth'"):
        open_dataset(make_set("index", name="other"), "sd900")
    for file in (root / "Source Images").iterdir():
        file.unlink()
    with pytest.raises(UserError, match="Source Images: no images in this folder"):
        open_dataset(root)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: "", r"index\.csv: empty file; its first line must name the columns"),
        (lambda t: t.splitlines()[0], r"no rows below the header"),
        (lambda t: t.replace("id,", "ident,", 1), r"no column 'id' in the header 'ident,cls,image,mask,split'"),
        (lambda t: t.replace(",image,", ",picture,", 1), r"no column 'image'"),
        (
            lambda t: t.replace(",", ";").replace("id;", "i;", 1),
            r"in the header 'i;cls;.*' \(separated by semicolons\)",
        ),
        (lambda t: t.replace(",mask,", ",masks,", 1), r"unknown column 'masks' \(did you mean 'mask'\?\)"),
        (lambda t: t.replace(",cls,", ",Class,", 1), r"unknown column 'Class' \(did you mean 'cls'\?\)"),
        (lambda t: t.replace(",cls,", ",image,", 1), r"column 'image' stands twice"),
        (
            lambda t: t.replace("images/In_2.png", "../In_2.png"),
            r"line 3 \(id 'In_2'\): image '\.\./In_2\.png' points outside",
        ),
        (lambda t: t.replace("masks/In_2.png", "a/../../In_2.png"), r"line 3 .*mask .* points outside"),
        (lambda t: t.replace("images/In_2.png", "/etc/passwd"), r"line 3 .*image '/etc/passwd' points outside"),
        (lambda t: t.replace("images/In_2.png", "images/In_9.png"), r"line 3 .*image: no such file .*In_9\.png"),
        (lambda t: t.replace("masks/In_2.png", "masks"), r"line 3 .*mask: no such file"),
        (lambda t: t.replace("In_2,In,", "In_1,In,"), r"line 3 .*the id already stands on line 2"),
        (lambda t: t.replace("In_2,In,", ",In,"), r"line 3 .*column 'id' is empty"),
        (lambda t: t.replace("images/In_2.png", ""), r"line 3 .*column 'image' is empty"),
        (
            lambda t: t.replace("In_2.png,train", "In_2.png,trian"),
            r"line 3 .*unknown split 'trian' \(did you mean 'train'",
        ),
        (lambda t: t.replace("In_2.png,train", "In_2.png,Train"), r"line 3 .*unknown split 'Train'"),
        (lambda t: t.replace("In_2.png,train", "In_2.png"), r"line 3 .*4 cells under 5 columns"),
        (lambda t: t.replace("In_2.png,train", "In_2.png,train,x,y"), r"line 3 .*7 cells under 5 columns"),
        (lambda t: t.replace("In_2,In", 'In_2,"In'), r"line \d+: not CSV"),
        (lambda t: t.replace("In_2,", "In\x00_2,"), r"line 3 .*control characters in column 'id'"),
        (lambda t: t.replace("images/In_2.png", "i" * 9000), r"line 3 .*no such file"),
        (lambda t: t.replace("images/In_2.png", "D:\\\\In_2.png"), r"line 3 .*; a path of another machine: write it"),
    ],
)
def test_wrong_indices_are_refused(make_set: Make, change: Callable[[str], str], message: str) -> None:
    root = make_set()
    rewrite(root, change)
    with pytest.raises(UserError, match=message):
        open_dataset(root)


def test_wrong_encodings(make_set: Make) -> None:
    root = make_set()
    file = root / "index.csv"
    text = file.read_text()
    file.write_bytes(text.replace("In_2", "Grün").encode("latin-1"))
    with pytest.raises(UserError, match=r"index\.csv: line 3: not UTF-8 \(byte 0xfc\); save it as UTF-8"):
        open_dataset(root)
    file.write_bytes(text.encode("utf-16"))
    text = text.replace("/", "\\").replace(",Pa,", ",None,").replace(",Sc,", ",NaN,")
    text = text.replace("id,cls,image", "ID, Cls ,Image").replace("\n", "\r\n")
    for coded in (text.encode("utf-8-sig"), text.replace(",", "\t").encode("utf-16"), text.replace(",", ";").encode()):
        file.write_bytes(coded)  # as spreadsheet programs write it
        dataset = open_dataset(root)
        assert all(s.image.is_file() and s.mask and s.mask.is_file() for s in dataset.samples)
        assert (len(dataset), dataset.classes) == (6, ("In", "None"))  # none is a name of what is good
        assert [(p.kind, p.severity) for p in scan_dataset(root)[1]] == [("table", "warning")]


def test_optional_and_foreign_columns(make_set: Make) -> None:
    root = make_set()
    rewrite(root, lambda t: "note,id,image\n,a,images/In_1.png\n\nx,b,images/../images/In_2.png\n")
    dataset = open_dataset(root)
    assert dataset.classes == ()
    assert [(s.id, s.label, s.mask, s.split) for s in dataset.samples] == [("a", -1, None, ""), ("b", -1, None, "")]
    rewrite(root, lambda t: 'id,cls,image,split,group\na,"x, y",images/In_1.png,train2,g\nb,,images/In_2.png,,\n')
    dataset = open_dataset(root)
    assert dataset.classes == ("x, y",)
    assert [(s.label, s.split, s.group) for s in dataset.samples] == [(0, "train2", "g"), (-1, "", "")]


def test_absent_files_stay_where_asked(make_set: Make) -> None:
    root = make_set()
    (root / "images" / "In_1.png").unlink()
    (root / "masks" / "Sc_1.png").unlink()
    with pytest.raises(UserError, match="and 1 more in "):
        open_dataset(root)
    assert len(open_data(root, skip_bad=True)) == 6
    rewrite(root, lambda t: t.replace("Pa_1,", "In_2,", 1))
    with pytest.raises(UserError, match="already stands on line 3"):
        open_data(root, skip_bad=True)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    header=st.sampled_from(["", "id,image\n", "id,cls,image,mask,split\n", '"id",image,group\r\n']),
    body=st.one_of(
        st.binary(max_size=200),
        st.text(max_size=200).map(lambda t: t.encode("utf-8", "surrogatepass")),
        st.text(alphabet='ab.,/"\n\r ;\\\0~', max_size=80).map(str.encode),
    ),
)
def test_any_text_gives_rows_inside_the_folder_or_a_user_error(tmp_path: Path, header: str, body: bytes) -> None:
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "index.csv").write_bytes(header.encode() + body)
    try:
        dataset, problems = index_csv.scan(tmp_path)
    except UserError as e:
        assert "index.csv" in str(e)  # noqa: PT017
        assert "\n" not in str(e)  # noqa: PT017
        return
    assert len({s.id for s in dataset.samples}) == len(dataset)
    assert len(dataset) + len(problems) > 0
    for p in problems:
        assert printable(p.message) == p.message
    for s in dataset.samples:
        for file in (s.image, s.mask or s.image):
            assert os.path.normpath(file).startswith(os.path.normpath(tmp_path))
