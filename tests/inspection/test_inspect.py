"""`jaxqc inspect`: all kinds of models alike, resumption, bad files, devices, scale, thresholds, lots, exit codes."""

import copy
import csv
import dataclasses
import functools
import json
import os
import shutil
import signal
import zlib

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("cv2", reason="jaxqc[inspect] (OpenCV) is not installed")
import jaxqc
from jaxqc import api
from jaxqc.anomaly.model import AnomalyModel
from jaxqc.cli import main
from jaxqc.errors import UserError
from jaxqc.inspection import run, stream
from jaxqc.inspection.ledger import open_ledger
from jaxqc.inspection.queries import entries
from jaxqc.inspection.rules import ClassWeight, DefectRules, GradeRules, SeverityRules, VerdictRules
from jaxqc.inspection.scorers import make_scorer
from tests.compile_cache import shared_cache
from tests.inspection.inspect_models import BATCH, KINDS, make_checkpoint, use_small_models, write_image, write_network
from tests.tiny_boards import make_boards

RULES = GradeRules(defects=DefectRules(smallest=4))


slow = pytest.mark.slow
EVERY = [pytest.param(kind, marks=[slow] if kind in ("patchcore", "spade") else []) for kind in KINDS]


@pytest.fixture(autouse=True, scope="module")
def small_models(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch, shared_cache(tmp_path_factory):
        use_small_models(patch)
        yield


@pytest.fixture(autouse=True)
def no_report(request, monkeypatch):
    """The page takes longer than all the rest; `test_the_report_is_written` has it."""
    if "report" not in request.node.name:
        monkeypatch.setattr(run, "write_report", lambda *args, **more: None)


@pytest.fixture(scope="module")
def boards(tmp_path_factory):
    return make_boards(tmp_path_factory.mktemp("boards"))


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory, boards):
    """kind → the folder of such a model, made once."""
    return functools.cache(lambda kind: make_checkpoint(kind, tmp_path_factory.mktemp(kind), boards))


@pytest.fixture(scope="module", params=EVERY)
def every(request, folder_of):
    """The folder of a model of each kind."""
    return folder_of(request.param)


@pytest.fixture(scope="module")
def folder(folder_of):
    """A network's run folder."""
    return folder_of("network")


@pytest.fixture(scope="module")
def network(folder):
    """The network, loaded once: what it has compiled serves all tests."""
    return jaxqc.load(folder, batch=BATCH)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Two lots, 6 and 5 images, of which 2 and 4 have a hole; sizes and channels differ. Read only."""
    root = tmp_path_factory.mktemp("images")
    for i in range(6):
        write_image(root / "A" / f"{i}.png", 200 + i, i < 2, colour=i == 1)
    for i in range(5):
        write_image(root / "B" / f"{i}.png", 300 + i, i < 4, 64, 80)
    return root


def inspect(checkpoint, images, out, **more):
    more = {"rules": RULES, "batch": BATCH, "devices": 1, "progress": False} | more
    return jaxqc.inspect(checkpoint, images, out, **more)


def like(model, **changes):
    """The same network, sharing what is compiled, but for some of its attributes."""
    other = copy.copy(model)
    vars(other).update(changes)
    return other


def in_ledger(result):
    with open_ledger(result.ledger, create=False) as ledger:
        return {entry.finding.image: entry for entry in entries(ledger, result.model.digest)}


def lines_of(out):
    return [json.loads(line) for line in (out / "findings.jsonl").read_text().splitlines()]


def test_every_kind_of_model_finds_the_holes_where_they_are(every, images, tmp_path):
    model = jaxqc.load(every, batch=BATCH)
    result = inspect(model, images, tmp_path)
    assert (result.new, result.known, result.bad) == (11, 0, 0)
    found = in_ledger(result)
    for lot, holes, count, seed, size in (("A", 2, 6, 200, (56, 48)), ("B", 4, 5, 300, (64, 80))):
        for i in range(count):
            finding = found[f"{lot}/{i}.png"].finding
            assert (finding.height, finding.width) == size
            # The detectors were fitted to boards of one size; stretched from another one they look odd all over.
            if i >= holes or (lot == "B" and isinstance(model, AnomalyModel)):
                continue
            mask = write_image(tmp_path / "again.png", seed + i, True, *size)
            rows, columns = np.nonzero(mask)
            x, y = finding.defects[0].centroid
            assert abs(x - columns.mean() - 0.5) < 5
            assert abs(y - rows.mean() - 0.5) < 5
            assert finding.verdict != "pass"
        all_of = [found[f"{lot}/{i}.png"].finding for i in range(count)]
        assert min(f.score for f in all_of[:holes]) > max(f.score for f in all_of[holes:])
    assert [lot.name for lot, _ in result.lots] == ["A", "B"]
    assert result.lots[0][1].quality > result.lots[1][1].quality
    assert {line["sha256"]: line["verdict"] for line in lines_of(tmp_path)} == {
        e.finding.sha256: e.finding.verdict for e in found.values()
    }


def test_the_maps_are_those_of_predict(every, images):
    model = jaxqc.load(every, batch=BATCH)
    files = [images / "A/1.png", images / "B/0.png"]
    pixels = [np.array(Image.open(file)) for file in files]
    pixels = [p if p.ndim == 3 else p[..., None] for p in pixels]
    expected = model.defect_map(pixels) if every.name.startswith("segm") else model.predict(pixels)
    scorer = make_scorer(model, devices=1)
    for image, values in zip(pixels, expected, strict=True):
        answer = scorer.answer(*image.shape[:2], scorer.score([scorer.prepare(image)], 0)[0])
        np.testing.assert_allclose(answer.scored.map, values, atol=2e-6)


@pytest.mark.parametrize(("kind", "devices"), [("network", 2), *(pytest.param(kind, 8, marks=slow) for kind in KINDS)])
def test_several_devices_find_the_same(kind, devices, images, folder_of, tmp_path):
    model = jaxqc.load(folder_of(kind), batch=2)
    one = inspect(model, images, tmp_path / "one")
    many = inspect(model, images, tmp_path / "many", devices=devices)
    findings = [{name: e.finding for name, e in in_ledger(r).items()} for r in (one, many)]
    assert findings[0] == findings[1]
    assert one.lots[0][1] == many.lots[0][1]


def test_again_adds_nothing_and_more_images_only_themselves(network, images, tmp_path):
    own, out = shutil.copytree(images, tmp_path / "own"), tmp_path / "out"
    first = inspect(network, own, out)
    again = inspect(network, own, out)
    assert (again.new, again.known) == (0, 11)
    assert again.lots == first.lots
    write_image(own / "B" / "more.png", 400, True)
    shutil.copy(own / "A/0.png", own / "A/copy.png")
    more = inspect(network, own, out)
    assert (more.new, more.known) == (1, 12)
    assert len(lines_of(out)) == len(in_ledger(more)) == 12


def test_lines_that_the_ledger_lacks_are_mended(network, images, tmp_path):
    inspect(network, images / "A", tmp_path)
    file = tmp_path / "findings.jsonl"
    whole = file.read_bytes()
    lost = whole.splitlines(keepends=True)[2].replace(b'"sha256": "', b'"sha256": "f')
    file.write_bytes(whole + lost + b'{"image": "cut sho')
    assert inspect(network, images / "A", tmp_path).known == 6
    assert file.read_bytes() == whole


def test_a_ledger_is_shared_by_folders_and_models(every, network, images, tmp_path):
    ledger = tmp_path / "quality.sqlite"
    first = inspect(network, images / "A", tmp_path / "1", ledger=ledger)
    assert inspect(network, images, tmp_path / "2", ledger=ledger).known == 6
    other = inspect(every, images, tmp_path / "3", ledger=ledger, threshold=0.6)
    assert other.model.digest != first.model.digest
    assert (other.new, other.known) == (11, 0)


@slow
def test_a_postgresql_ledger(postgres, network, images, tmp_path):
    url = postgres.database()
    first = inspect(network, images / "A", tmp_path / "out", ledger=url)
    again = inspect(network, images / "A", tmp_path / "out", ledger=f"{url}&password=secret")
    assert (first.new, again.new, again.known) == (6, 0, 6)
    assert again.lots == first.lots
    assert "secret" not in (tmp_path / "out/inspection.json").read_text()


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
    for a, grade in ((before.lots[0][1].quality - 0.01, "A"), (before.lots[0][1].quality + 0.01, "B")):
        lots = dataclasses.replace(RULES.lots, a=a)
        after = inspect(network, images / "A", out, rules=dataclasses.replace(RULES, lots=lots))
        assert (after.known, after.lots[0][1].grade) == (6, grade)


def test_the_threshold_is_the_runs_own_or_the_callers(network, images, tmp_path):
    plain, kept = like(network, meta={**network.meta, "metrics": {}}), network
    notes = []
    results = [
        inspect(model, images / "A", tmp_path / str(i), note=notes.append, **more)
        for i, (model, more) in enumerate(((plain, {}), (kept, {}), (kept, {"threshold": 0.999})))
    ]
    assert "threshold 0.5 (not calibrated)" in notes[0]
    assert "threshold 0.4 (largest F1 of pixels (0.900) on the run's validation images)" in notes[1]
    assert "threshold 0.999 (as given)" in notes[2]
    assert [r.model.details["threshold"] for r in results] == [0.5, 0.4, 0.999]
    areas = [in_ledger(r)["0.png"].finding.area_ratio for r in results]
    assert areas[0] <= areas[1]
    assert areas[2] < areas[1]
    for bad in (0.0, -1.0, 1.5, float("nan")):
        with pytest.raises(UserError, match="--threshold"):
            inspect(kept, images / "A", tmp_path / "bad", threshold=bad)


def test_a_detectors_threshold_moves_both_of_its_own(images, folder_of):
    model = jaxqc.load(folder_of("gaussian"), batch=BATCH)
    loose, own, strict = (make_scorer(model, t, 1) for t in (0.25, None, 0.9))
    image = np.array(Image.open(images / "A/0.png"))[..., None]
    answers = [s.answer(*image.shape[:2], s.score([s.prepare(image)], 0)[0]) for s in (loose, own, strict)]
    score = answers[1].score
    assert [a.defective for a in answers] == [score >= model.thresholds.image * f for f in (0.5, 1.0, 1.8)]
    assert [s.threshold for s in (loose, own, strict)] == [0.25, 0.5, 0.9]


def test_classes_are_those_of_defects(images, tmp_path):
    """The network's own classes name `good` too, which no defect can be."""
    result = inspect(write_network(tmp_path / "named"), images / "A", tmp_path / "out")
    assert set(in_ledger(result)["0.png"].finding.composition) <= {"Hole", "Spot"}
    alone = inspect(write_network(tmp_path / "alone", classes=()), images / "A", tmp_path / "out2")
    assert set(in_ledger(alone)["0.png"].finding.composition) == {"defect"}
    weights = SeverityRules(weights=(ClassWeight("good", 2.0),))
    with pytest.raises(UserError, match=r"'good'.*Hole, Spot"):
        inspect(tmp_path / "named", images, tmp_path / "no", rules=GradeRules(severity=weights))


def test_a_scale_gives_millimetres(network, images, tmp_path):
    plain, scaled = inspect(network, images, tmp_path / "1"), inspect(network, images, tmp_path / "2", mm_per_pixel=0.5)
    one, other = (in_ledger(r)["A/0.png"].finding for r in (plain, scaled))
    assert other.mm_per_pixel == 0.5
    assert other.defects[0].area_mm2 == one.defects[0].area * 0.25
    assert other.density_m2 == pytest.approx(other.count / (56 * 48 * 0.25e-6))
    with pytest.raises(UserError, match="--mm-per-pixel"):
        inspect(network, images, tmp_path / "3", mm_per_pixel=0.0)


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
            "nowhere": "no such file", "pipe": "not a regular file"}  # fmt: skip


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
    real = stream.find_regions

    def spoiled(scored, *rest):
        if scored.map.shape == (64, 80):
            raise UserError("broken")
        return real(scored, *rest)

    monkeypatch.setattr(stream, "find_regions", spoiled)
    result = inspect(network, images, tmp_path)
    assert (result.new, result.bad, set(result.reasons)) == (6, 5, {"broken"})


def test_a_manifest_brings_lots_suppliers_and_its_own_columns(network, folder, images, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(api, "load", lambda *args, **more: network)
    rows = [("image", "lot", "supplier", "product", "time", "shift")]
    for i in range(6):
        rows.append((str(images / f"A/{i}.png"), f"L{i // 3}", "North", "strip", f"2026-01-0{i + 1}", str(i % 2)))
    rows += [(str(images / f"B/{i}.png"), "=L9 <b>", "[red]South", "strip", "", "") for i in range(5)]
    rows.append((str(images / "gone.png"), "L0", "North", "strip", "", ""))
    manifest = tmp_path / "lots.csv"
    with manifest.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    rules = tmp_path / "rules.py"
    rules.write_text(
        "from jaxqc.inspection.rules import *\n"
        "def get_config(): return GradeRules(DefectRules(smallest=4), verdict=VerdictRules(reject=0.1))\n"
    )
    out = tmp_path / "out"
    arguments = ["--checkpoint", str(folder), "--images", str(manifest), "--out", str(out), "--rules", str(rules)]
    assert main(["inspect", *arguments, "--devices", "1", "--batch", "4", "--quiet"]) == 1
    shown = capsys.readouterr()
    assert "gone.png" in shown.err
    assert "=L9 <b>" in shown.out
    assert "[red]South" in shown.out
    with open(out / "lots.csv") as file:
        lots = {row["lot"]: row for row in csv.DictReader(file)}
    assert {name: int(row["images"]) for name, row in lots.items()} == {"L0": 3, "L1": 3, "=L9 <b>": 5}
    assert lots["L0"]["supplier"] == "North"
    assert int(lots["=L9 <b>"]["reject"]) == 4
    with open(out / "suppliers.csv") as file:
        assert [row["supplier"] for row in csv.DictReader(file)] == ["North", "[red]South"]
    summary = json.loads((out / "summary.json").read_text())
    assert summary["model"]["threshold"] == 0.4
    assert summary["rules"]["verdict"]["reject"] == 0.1
    assert summary["images"] == {"new": 11, "known": 0, "bad": 1}
    assert lines_of(out)[0]["manifest"]["shift"] in "01"
    ledger = str(out / "ledger.sqlite")
    assert main(["ledger", "lots", "--ledger", ledger, "--rules", str(rules)]) == 0
    assert "=L9 <b>" in capsys.readouterr().out
    assert main(["ledger", "export", "--ledger", ledger, "--out", str(tmp_path / "coco"), "--format", "coco"]) == 0


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
    from jaxqc.inspection.ledger import Ledger

    real, calls = Ledger.add, []

    def add(self, findings, model, rows=None):
        calls.append(len(findings))
        if len(calls) == 3:
            raise UserError("database or disk is full")
        return real(self, findings, model, rows)

    monkeypatch.setattr(Ledger, "add", add)
    with pytest.raises(UserError, match="disk is full"):
        inspect(network, images, tmp_path)
    monkeypatch.undo()
    result = inspect(network, images, tmp_path)
    assert (result.new, result.known) == (11 - sum(calls[:2]), sum(calls[:2]))
    assert len(lines_of(tmp_path)) == 11


def test_pictures_of_an_earlier_call_are_no_images(network, images, tmp_path):
    own = shutil.copytree(images, tmp_path / "own")
    inspect(network, own, own)
    write_image(own / "gallery" / "worst.png", 1, True)
    result = inspect(network, own, own)
    assert (result.new, result.known) == (0, 11)


def test_a_run_that_is_already_loaded_and_a_model_in_memory(network, folder, images, tmp_path):
    first = inspect(network, images / "A", tmp_path / "1")
    assert first.model.digest == inspect(folder, images / "A", tmp_path / "2").model.digest
    strict = GradeRules(RULES.defects, verdict=VerdictRules(reject_classes=("Hole", "Spot")))
    found = in_ledger(inspect(network, images / "A", tmp_path / "3", rules=strict))
    assert [name for name, e in sorted(found.items()) if e.finding.verdict == "reject"] == ["0.png", "1.png"]


def test_the_report_is_written(network, images, tmp_path):
    result = inspect(network, images, tmp_path, worst=3)
    page = result.report.read_text()
    assert page.count("data:image/jpeg") >= 4
    kept = [json.loads(file.read_text()) for file in (tmp_path / "gallery").glob("*/*.json")]
    assert sorted(about["lot"] for about in kept) == ["A"] * 3 + ["B"] * 3
    holes = {about["finding"]["image"] for about in kept if about["finding"]["count"]}
    assert {"A/0.png", "A/1.png"} <= holes
    for more, message in (({"worst": 0}, "--worst"), ({"aql": 1.1}, "AQL")):
        with pytest.raises(UserError, match=message):
            inspect(network, images, tmp_path / "no", **more)
    assert not (tmp_path / "no").exists()
