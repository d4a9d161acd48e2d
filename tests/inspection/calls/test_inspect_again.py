"""`jaxqc inspect` again and interrupted: resumption, other settings, bad files and names, mistakes, SIGTERM, faults."""

import csv
import dataclasses
import json
import os
import shutil
import signal
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxqc import api
from jaxqc.cli import main
from jaxqc.errors import UserError
from jaxqc.inspection import scorers, stream
from jaxqc.inspection.ledger.listings import listings
from jaxqc.inspection.ledger.store import open_ledger
from jaxqc.inspection.report import Gallery
from jaxqc.inspection.report.collect import collect
from jaxqc.inspection.rules import GradeRules
from jaxqc.lock import locked
from tests.support.inspect_calls import RULES, inspect, like, lines_of
from tests.support.inspect_models import write_image


def test_again_adds_nothing_and_more_images_only_themselves(network, images, tmp_path):
    own, out = shutil.copytree(images, tmp_path / "own"), tmp_path / "out"
    first = inspect(network, own, out)
    again = inspect(network, own, out)
    assert (again.new, again.known) == (0, 11)
    assert again.lots == first.lots
    write_image(own / "B" / "more.png", 400, True)
    shutil.copy(own / "A/0.png", own / "A/copy.png")
    (own / "C").mkdir()
    for name in ("0.png", "more.png"):  # one is there, the other on its way
        shutil.copy(own / ("A" if name == "0.png" else "B") / name, own / "C")
    more = inspect(network, own, out)
    assert (more.new, more.known) == (1, 14)
    assert len(lines_of(out)) == 12
    assert {lot.name: (lot.images, lot.shared) for lot, _ in more.lots} == {"A": (6, 1), "B": (6, 1), "C": (2, 2)}
    assert [line for line in more.warnings if "photo" in line or "picture" in line] == [
        "2 times: one photo lies in lots 'A' (A/0.png, A/copy.png) and 'C' (C/0.png)"]  # fmt: skip
    assert shown(out) >= {("A", "A/0.png"), ("C", "C/0.png"), ("B", "B/more.png"), ("C", "C/more.png")}


def shown(out):
    """Lots and names of the pictures that a report has."""
    with open_ledger(out / "ledger.sqlite", create=False) as ledger:
        views = collect(ledger, Gallery(out / "gallery"), RULES).lots
    return {(view.lot.name, picture.finding.image) for view in views for picture in view.pictures}


def test_a_corrected_manifest_moves_lots_and_pictures(network, folder, images, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(api, "load", lambda *args, **more: network)
    manifest, out = tmp_path / "lots.csv", tmp_path / "out"
    arguments = ["--checkpoint", str(folder), "--images", str(manifest), "--out", str(out), "--devices", "1", "--quiet"]
    lines = lambda lots: "".join(f"{images}/A/{i}.png,{lot}\n" for i, lot in enumerate(lots))
    printed = []
    for lots in ("AABB", "ACBB", "ACBB"):
        manifest.write_text("image,lot\n" + lines(lots))
        assert main(["inspect", *arguments]) == 0
        printed.append(capsys.readouterr().out)
    assert "1 images lay in another lot" in printed[1]
    assert "another lot" not in printed[0] + printed[2]
    manifest.write_text("image,lot\n" + lines("CCBB") + f"{tmp_path}/bad.png,D\n{tmp_path}/copy.png,D\ngone.png,E\n")
    for name in ("bad", "copy"):
        (tmp_path / f"{name}.png").write_text("no image")
    assert main(["inspect", *arguments]) == 1
    said = capsys.readouterr().err
    assert "note: lot" not in said
    assert "of lot 'D' no image could be inspected" in said
    assert "of lot 'E' no image could be inspected" in said
    with open(out / "problems.csv") as file:
        found = {Path(row["image"]).stem: (row["kind"], row["message"]) for row in csv.DictReader(file)}
    assert {name: kind for name, (kind, _) in found.items()} == {
        "0": "corrected", "bad": "undecodable", "copy": "undecodable", "gone": "missing-file"}  # fmt: skip
    assert found["0"][1].endswith("A/0.png: lot was 'A', is 'C' now")
    with open(out / "lots.csv") as file:
        assert {row["lot"]: row["images"] for row in csv.DictReader(file)} == {"B": "2", "C": "2"}
    assert {lot for lot, _ in shown(out)} == {"B", "C"}
    kept = [json.loads(file.read_text()) for file in (out / "gallery").glob("*/*.json")]
    assert sorted(about["lot"] for about in kept) == ["B", "B", "C", "C"]
    with open_ledger(out / "ledger.sqlite", create=False) as ledger:
        assert {lot: found.words() for lot, found in listings(ledger).items()} == {
            **{lot: "2 images listed, 2 inspected" for lot in "BC"},
            "D": "2 images listed, 0 inspected, 2 broken",
            "E": "1 image listed, 0 inspected, 1 missing",
        }
    # Its folder's name says less than the manifest did; the rule on names is new.
    arguments[3] = str(images / "A")
    assert main(["inspect", *arguments, "--piece", "^[45]"]) == 0
    said = capsys.readouterr().err
    assert "4 times: 0.png: lot 'C' of its manifest stays; its folder says 'A'" in said
    assert "4 of 6 file names do not match and are pieces of their own, such as '0.png', '1.png', '2.png'" in said
    assert "6 images show 6 pieces" in said
    with open(out / "lots.csv") as file:
        assert {row["lot"]: (row["images"], row["pieces"]) for row in csv.DictReader(file)} == {
            lot: ("2", "2") for lot in "ABC"}  # fmt: skip


def test_two_inspections_do_not_share_a_folder(network, images, tmp_path):
    with locked(tmp_path), ThreadPoolExecutor(1) as another:
        error = another.submit(inspect, network, images / "A", tmp_path).exception()
    assert "in use by process" in str(error)
    assert not list(tmp_path.iterdir())


def test_lines_that_the_ledger_lacks_are_mended(network, images, tmp_path):
    inspect(network, images / "A", tmp_path)
    file = tmp_path / "findings.jsonl"
    whole = file.read_bytes()
    lost = whole.splitlines(keepends=True)[2].replace(b'"sha256": "', b'"sha256": "f')
    file.write_bytes(whole + lost + b'{"image": "cut sho')
    assert inspect(network, images / "A", tmp_path).known == 6
    assert file.read_bytes() == whole


def test_another_setting_needs_another_folder(network, images, tmp_path):
    out = tmp_path / "out"
    before = inspect(network, images / "A", out)
    for more, name in (
        ({"threshold": 0.7}, "settings.threshold was 0.4, is 0.7"),
        ({"mm_per_pixel": 0.1}, "settings.mm_per_pixel was None, is 0.1"),
        ({"rules": GradeRules()}, "settings.rules.defects.smallest was 4, is 16"),
        ({"ledger": tmp_path / "other"}, "ledger was ledger.sqlite"),
    ):
        with pytest.raises(UserError, match=name):
            inspect(network, images / "A", out, **more)
    # How lots are graded changes no finding.
    share = before.lots[0][1].fraction
    assert 0 < share < 1
    for b, grade in ((share, "B"), (share - 0.01, "C")):
        lots = dataclasses.replace(RULES.lots, b=b, c=share + 0.01, called_share=1.0)
        after = inspect(network, images / "A", out, rules=dataclasses.replace(RULES, lots=lots))
        assert (after.known, after.lots[0][1].grade) == (6, grade)


def test_pictures_of_an_earlier_call_are_no_images(network, images, tmp_path):
    own = shutil.copytree(images, tmp_path / "own")
    inspect(network, own, own)
    write_image(own / "gallery" / "worst.png", 1, True)
    result = inspect(network, own, own)
    assert (result.new, result.known) == (0, 11)


def spoil(folder):
    """Files that cannot be inspected → what is said of each."""
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)).save(folder / "whole.png")
    data = (folder / "whole.png").read_bytes()
    (folder / "whole.png").unlink()
    (folder / "truncated.png").write_bytes(data[:600])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("no image")
    header = b"IHDR" + (30_000).to_bytes(4, "big") * 2 + data[24:29]
    (folder / "bomb.png").write_bytes(data[:12] + header + zlib.crc32(header).to_bytes(4, "big") + data[33:])
    (folder / "nowhere.png").symlink_to(folder / "gone.png")
    os.mkfifo(folder / "pipe.png")
    return {"truncated": "image file is truncated", "empty": "0 bytes", "text": "not an image", "bomb": "30000 x 30000",
            "nowhere": "a link to nothing", "pipe": "a named pipe"}  # fmt: skip


def test_bad_files_are_written_down_and_the_others_inspected(network, folder, images, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(api, "load", lambda *args, **more: network)
    own, out = shutil.copytree(images, tmp_path / "own"), tmp_path / "out"
    expected = spoil(own / "B")
    arguments = ["--checkpoint", str(folder), "--images", str(own), "--out", str(out), "--devices", "1", "--quiet"]
    assert main(["inspect", *arguments]) == 1
    shown = capsys.readouterr()
    assert "11 images into" in shown.out
    assert f"{len(expected)} files could not be used" in shown.err
    with open(out / "problems.csv") as file:
        rows = list(csv.DictReader(file))
    assert {row["image"].partition("/")[2].removesuffix(".png") for row in rows} == set(expected)
    for row in rows:
        assert expected[row["image"][2:-4]] in row["message"]
    for name in expected:
        (own / "B" / f"{name}.png").unlink()
    assert main(["inspect", *arguments]) == 0
    assert "11 were there already" in capsys.readouterr().out
    assert len((out / "problems.csv").read_text().splitlines()) == 1


def test_only_bad_files_is_no_crash(network, tmp_path):
    spoil(tmp_path / "images")
    result = inspect(network, tmp_path / "images", tmp_path / "out")
    assert (result.new, result.bad, result.lots) == (0, 6, ())
    assert json.loads((tmp_path / "out/summary.json").read_text())["images"] == {"new": 0, "known": 0, "bad": 6}


def test_a_map_that_is_not_finite_is_a_problem_of_its_image(network, images, tmp_path, monkeypatch):
    real = scorers.find_regions

    def spoiled(scored, *rest):
        if scored.map.shape == (64, 80):
            raise UserError("broken")
        return real(scored, *rest)

    monkeypatch.setattr(scorers, "find_regions", spoiled)
    result = inspect(network, images, tmp_path)
    assert (result.new, result.bad, set(result.reasons)) == (6, 5, {"broken"})


def test_hostile_names(network, tmp_path):
    names = [b"a\xff.png", b"new\nline.png", b"=cmd().png", b"<img src=x>.png", "裂.png".encode(), b"[red].png"]
    for i, name in enumerate(names):
        write_image(tmp_path / "plain.png", i, True)
        target = os.fsencode(tmp_path / "images") + b"/lot \xfe"
        os.makedirs(target, exist_ok=True)
        os.rename(tmp_path / "plain.png", os.path.join(target, name))
    os.rename(os.fsencode(tmp_path / "images"), tmp_path / "images")
    result = inspect(network, tmp_path / "images", tmp_path / "out")
    assert (result.new, result.bad) == (6, 0)
    assert [lot.name for lot, _ in result.lots] == ["lot \\udcfe"]
    assert len(lines_of(tmp_path / "out")) == 6
    assert len((tmp_path / "out/lots.csv").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--images", "nowhere"], "nowhere: no such file or folder"),
        (["--checkpoint", "nowhere"], "nowhere: no such run folder"),
        (["--rules", "nowhere.py"], "--rules: no file nowhere.py"),
        (["--threshold", "2"], "--threshold: 2.0 must be"),
        (["--devices", "99"], "--devices: 99 asked for"),
        (["--batch", "0"], "--batch: 0 must be"),
        (["--mm-per-pixel", "nan"], "--mm-per-pixel: nan must be"),
        (["--ledger", "mysql://x/y"], "only a file's path"),
        (["--treshold", "1"], "(did you mean '--threshold'?)"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(more, message, folder, images, tmp_path, capsys):
    arguments = {"--checkpoint": str(folder), "--images": str(images), "--out": str(tmp_path / "out")}
    arguments |= dict([more])
    assert main(["inspect", *(word for pair in arguments.items() for word in pair), "--quiet"]) == 2
    error = capsys.readouterr().err
    assert message in error.splitlines()[-1]


def test_sigterm_keeps_what_is_under_way_and_exits_143(network, images, tmp_path, monkeypatch):
    network, real = like(network, batch=1), stream.Findings.add

    def add(self, findings, rows):
        os.kill(os.getpid(), signal.SIGTERM)
        real(self, findings, rows)

    monkeypatch.setattr(stream.Findings, "add", add)
    with pytest.raises(SystemExit) as e:
        inspect(network, images, tmp_path)
    assert e.value.code == 143
    monkeypatch.undo()
    kept = len(lines_of(tmp_path))
    assert 0 < kept < 11
    with open_ledger(tmp_path / "ledger.sqlite", create=False) as ledger:
        assert ledger.count()["inspections"] == kept
    assert not (tmp_path / "summary.json").exists()
    result = inspect(network, images, tmp_path)
    assert (result.new, result.known) == (11 - kept, kept)


def test_an_error_of_the_ledger_loses_no_more_than_the_batch(network, images, tmp_path, monkeypatch):
    from jaxqc.inspection.ledger.store import Ledger

    real, calls = Ledger.add, []

    def add(self, findings, model, **more):
        calls.append(len(findings))
        if len(calls) == 3:
            raise UserError("database or disk is full")
        return real(self, findings, model, **more)

    monkeypatch.setattr(Ledger, "add", add)
    with pytest.raises(UserError, match="disk is full"):
        inspect(network, images, tmp_path)
    monkeypatch.undo()
    result = inspect(network, images, tmp_path)
    assert (result.new, result.known) == (11 - sum(calls[:2]), sum(calls[:2]))
    assert len(lines_of(tmp_path)) == 11
