"""Every entry of a folder is used or named: links, loops, pipes, other endings; nothing ends a run or blocks it."""

import os
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxqc.data import walk as walking
from jaxqc.data.check import check_path
from jaxqc.data.classes import open_classes
from jaxqc.data.open import open_data
from jaxqc.data.predict_folder import each_image
from jaxqc.data.readers import folder, scan_dataset
from jaxqc.data.walk import walk
from jaxqc.errors import UserError
from jaxqc.inspection.manifest import read_manifest
from jaxqc.lock import LOCK
from tests.support.anomaly_trees import TREES

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links and pipes")


def image(file: Path, value: int = 0) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8), value, np.uint8)).save(file, "PNG")
    return file


def spoil(root: Path) -> set[tuple[str, str]]:
    """Puts entries into a folder that are no images, though some are called so; kind and name of each."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "self.png").symlink_to("self.png")
    (root / "ping").symlink_to("pong")
    (root / "pong").symlink_to("ping")
    (root / "gone.png").symlink_to("nowhere.png")
    (root / "above").symlink_to(root.parent)
    (root / "loop").symlink_to(root)
    os.mkfifo(root / "pipe.png")
    (root / "null.png").symlink_to(os.devnull)
    with socket.socket(socket.AF_UNIX) as s:
        here = os.getcwd()
        os.chdir(root)  # the path of a socket is short
        s.bind("socket.png")
        os.chdir(here)
    return {("broken-link", "self.png"), ("broken-link", "ping"), ("broken-link", "pong"), ("broken-link", "gone.png"),
            ("linked-again", "above"), ("linked-again", "loop"), ("not-a-file", "pipe.png"),
            ("not-a-file", "null.png"), ("not-a-file", "socket.png")}  # fmt: skip


def named(problems) -> set[tuple[str, str]]:
    return {(p.kind, p.where) for p in problems}


def test_no_entry_ends_a_walk(tmp_path: Path) -> None:
    expected = spoil(tmp_path / "set")
    (tmp_path / "set" / os.fsdecode(b"\xff.png")).touch()
    found = walk(tmp_path / "set")
    assert named(found.problems) == expected | {("name-not-utf8", "\\udcff.png")}
    assert {p.kind for p in found.problems if p.severity == "warning"} == {"linked-again", "name-not-utf8"}
    assert [f.name for f in found.files] == [os.fsdecode(b"\xff.png")]
    messages = " ".join(p.message for p in found.problems)
    for text in ("a link to nothing", "a link that leads back to itself", "a named pipe", "a socket", "a device"):
        assert text in messages


def test_a_folder_behind_a_link_is_entered_once(tmp_path: Path) -> None:
    image(tmp_path / "elsewhere" / "a.png")
    image(tmp_path / "set" / "z" / "b.png")
    (tmp_path / "set" / "a").symlink_to("z")  # the folder itself keeps its name, though the link comes first
    (tmp_path / "set" / "lot2").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "lot3").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "set")
    found = walk(tmp_path / "set")
    assert [f.relative_to(tmp_path / "set").as_posix() for f in found.files] == ["lot2/a.png", "z/b.png"]
    assert named(found.problems) == {("linked-again", "a"), ("linked-again", "lot3"), ("linked-again", "lot2/back")}
    assert {i.lot for i in read_manifest(tmp_path / "set").items} == {"lot2", "z"}


def test_an_unreadable_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image(tmp_path / "set" / "a.png")
    image(tmp_path / "set" / "shut" / "b.png")

    def scandir(path: Path):
        if path.name == "shut":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    real = os.scandir
    monkeypatch.setattr(walking.os, "scandir", scandir)
    found, problems = folder.scan(tmp_path / "set")
    assert len(found) == 1
    assert named(problems) == {("unreadable-folder", "shut")}
    with pytest.raises(UserError, match="shut: cannot be read"):
        folder.scan(tmp_path / "set" / "shut")


def test_files_of_a_delivery_are_used_or_named(tmp_path: Path) -> None:
    root = tmp_path / "set"
    used = {"a.PNG", "b.jfif", "lot/no_ending", "c.Tiff"}
    left = {"d.tif.bak", "e.png~", ".f.png", "g.heic", "lot.zip"}
    for name in used | left:
        image(root / name)
    (root / "lot2").write_text("../set/lot\n")  # as git and archives leave a link where there are none
    left.add("lot2")
    beside = {
        "Thumbs.db": b"\xd0\xcf",
        ".DS_Store": b"\0",
        "._a.png": b"\0\5\x16\7",
        "notes.txt": b"P5 and P6",
        "BM": b"BMW",
    }
    for name, data in beside.items():
        (root / name).write_bytes(data)
    image(root / ".cache" / "h.png")
    delivery = read_manifest(root)
    assert {item.id for item in delivery.items} == used
    errors = [p for p in delivery.problems if p.severity == "error"]
    assert named(errors) == {("not-inspected", name) for name in left}
    (rest,) = (p for p in delivery.problems if p.severity == "warning")
    assert f"{len(beside) + 1} other entries are hidden or no images, and left out: 3 hidden, " in rest.message
    for part in ("1 .db", "1 .txt", "1 without an ending"):
        assert part in rest.message


def test_results_in_the_folder_of_images_are_not_counted(tmp_path: Path) -> None:
    image(tmp_path / "set" / "a.png")
    (tmp_path / "set" / "out").mkdir()
    (tmp_path / "set" / "out" / "report.html").touch()
    image(tmp_path / "set" / "out" / "b.png")
    assert read_manifest(tmp_path / "set", [(tmp_path / "set" / "out").resolve()]).problems == ()
    assert len(read_manifest(tmp_path / "set").problems) == 1
    assert len(read_manifest(tmp_path / "set", [(tmp_path / "set" / "out").resolve()])) == 2


def test_a_prediction_names_what_it_passes_over(tmp_path: Path) -> None:
    expected = spoil(tmp_path / "set")
    image(tmp_path / "set" / "whole.png")
    image(tmp_path / "set" / os.fsdecode(b"\xff.png"))
    (tmp_path / "set" / "notes.txt").touch()
    locks: list[bool] = []
    write = lambda _, __, files: locks.append((files[0].parent / LOCK).exists())
    result = each_image(tmp_path / "set", [tmp_path / "out"], lambda images: images, write, 2, progress=False)
    assert len(result.written) == 2
    assert locks == [True, True], "no other program writes there meanwhile"
    assert len(result.unreadable) == sum(kind != "linked-again" for kind, _ in expected)
    assert [note.partition(": ")[2][:20] for note in result.notes if "other entries" in note] == [
        "1 other entries are "
    ]


@pytest.mark.parametrize("layout", ["mvtec", "mt", "index"])
def test_a_set_is_opened_and_its_other_entries_are_named(layout: str, tmp_path: Path, make_set) -> None:
    root = make_set("index") if layout == "index" else TREES[layout](tmp_path / "set")
    count = len(open_data(root, layout))
    place = {"mvtec": root / "train" / "good", "mt": root / "MT_Free" / "Imgs", "index": root / "images"}[layout]
    expected = spoil(place)
    image(root / "extra" / "x.png", 200)
    image(root / "y.png.part", 201)
    dataset, problems = scan_dataset(root, layout)
    assert len(dataset) == count
    ours = {(kind, f"{place.relative_to(root).as_posix()}/{name}") for kind, name in expected}
    assert named(problems) == ours | {("unused-images", "set"), ("not-inspected", "y.png.part")}
    assert {p.severity for p in problems} == {"warning"}
    assert open_data(root, layout).warnings == tuple(p.message for p in problems)
    assert check_path(root, layout).ok


def test_a_folder_that_a_set_links_twice_is_used_twice(tmp_path: Path) -> None:
    root = TREES["mvtec"](tmp_path / "set")
    (root / "validation").mkdir()
    (root / "validation" / "good").symlink_to(root / "test" / "good")
    assert named(scan_dataset(root, "mvtec")[1]) == set()


def test_classes_are_folders_that_are_there_once(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for name in ("b\u30001", "10", "2"):
        image(root / name / "sub" / "x.png")
    spoil(root)
    (root / "2" / "link").symlink_to(root / "10")
    dataset = open_classes(root)
    assert dataset.classes == ("10", "2", "b\u30001")
    assert [s.id for s in dataset.samples] == ["10/sub/x.png", "2/sub/x.png", "b\u30001/sub/x.png"]
    assert not any("in no sample" in line for line in dataset.warnings)
    assert any("a named pipe" in line for line in dataset.warnings)
