"""`jaxqc inspect`: all kinds of models alike, devices, scale, thresholds, classes, lots, ledgers, the report."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

import jaxqc
from jaxqc import api
from jaxqc.anomaly.model import AnomalyModel
from jaxqc.cli import main
from jaxqc.data import batches
from jaxqc.errors import UserError
from jaxqc.inspection import stream
from jaxqc.inspection.rules import ClassWeight, GradeRules, SeverityRules, VerdictRules
from jaxqc.inspection.scorers import make_scorer
from tests.support.inspect_calls import RULES, in_ledger, inspect, like, lines_of
from tests.support.inspect_models import BATCH, KINDS, write_image, write_network

slow = pytest.mark.slow
EVERY = [pytest.param(kind, marks=[slow] if kind in ("patchcore", "spade") else []) for kind in KINDS]


@pytest.fixture(scope="module", params=EVERY)
def every(request, folder_of):
    """The folder of a model of each kind."""
    return folder_of(request.param)


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
    expected = model.predict(pixels, outputs="map")["map"]
    scorer = make_scorer(model, devices=1)
    for image, values in zip(pixels, expected, strict=True):
        answer = scorer.answer(*image.shape[:2], scorer.score([scorer.prepare(image)], 0)[0])
        np.testing.assert_allclose(answer.scored.map, values, atol=2e-6)
        # What a defect's probability is has a name where the model has such a figure, and only there.
        known = answer.scored.probabilities is not None or answer.scored.labels is not None
        assert bool(scorer.probability_is) == known


@pytest.mark.parametrize(("kind", "devices"), [("network", 2), *(pytest.param(kind, 8, marks=slow) for kind in KINDS)])
def test_several_devices_find_the_same(kind, devices, images, folder_of, tmp_path):
    model = jaxqc.load(folder_of(kind), batch=2)
    one = inspect(model, images, tmp_path / "one")
    many = inspect(model, images, tmp_path / "many", devices=devices)
    findings = [{name: e.finding for name, e in in_ledger(r).items()} for r in (one, many)]
    assert findings[0] == findings[1]
    assert one.lots[0][1] == many.lots[0][1]


def test_large_images_go_alone(network, images, tmp_path, monkeypatch):
    """With a limit below every image, no second one is decoded before the first is in the ledger."""
    kept, ahead = [0], []
    decode, keep = stream.Stream.decode, stream.Stream.keep

    def counted(self, source):
        ahead.append(len(ahead) - kept[0])
        return decode(self, source)

    def keeping(self, batch):
        keep(self, batch)
        kept[0] += len(batch)

    monkeypatch.setattr(stream.Stream, "decode", counted)
    monkeypatch.setattr(stream.Stream, "keep", keeping)
    together = {name: e.finding for name, e in in_ledger(inspect(network, images, tmp_path / "one")).items()}
    assert max(ahead) > 0
    kept[0], ahead[:] = 0, []
    monkeypatch.setattr(stream, "MAX_PIXELS", 1)
    monkeypatch.setattr(batches, "MAX_PIXELS", 1)
    monkeypatch.setattr(stream, "MAX_BYTES", 1)
    alone = inspect(network, images, tmp_path / "two")
    assert ahead == [0] * 11
    assert {name: e.finding for name, e in in_ledger(alone).items()} == together


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


def test_a_manifest_brings_lots_suppliers_and_its_own_columns(network, folder, images, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(api, "load", lambda *args, **more: network)
    rows = [("image", "lot", "supplier", "product", "time", "shift")]
    for i in range(6):
        rows.append((str(images / f"A/{i}.png"), f"L{i // 3}", "North", "strip", f"2026-01-0{i + 1}", str(i % 2)))
    rows += [(str(images / f"B/{i}.png"), "=L9 <b>", "[red]South", "strip", "1.1.2026", "") for i in range(5)]
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
    assert f"warning: 5 times: {manifest}: line 8: time '1.1.2026' is not ISO 8601" in shown.err
    assert "=L9 <b>" in shown.out
    assert "[red]South" in shown.out
    with open(out / "lots.csv") as file:
        lots = {row["lot"]: row for row in csv.DictReader(file)}
    # A spreadsheet would compute a cell that begins with "=".
    assert {name: int(row["images"]) for name, row in lots.items()} == {"L0": 3, "L1": 3, "'=L9 <b>": 5}
    assert lots["L0"]["supplier"] == "North"
    assert int(lots["'=L9 <b>"]["reject"]) == 4
    assert "grade D" in json.loads(lots["'=L9 <b>"]["reasons"])[0]
    assert json.loads(lots["L0"]["decision"])["action"] == "review"
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


def test_a_run_that_is_already_loaded_and_a_model_in_memory(network, folder, images, tmp_path):
    first = inspect(network, images / "A", tmp_path / "1")
    assert first.model.digest == inspect(folder, images / "A", tmp_path / "2").model.digest
    strict = GradeRules(RULES.defects, verdict=VerdictRules(reject_classes=("Hole", "Spot")))
    found = in_ledger(inspect(network, images / "A", tmp_path / "3", rules=strict))
    assert [name for name, e in sorted(found.items()) if e.finding.verdict == "reject"] == ["0.png", "1.png"]


def test_the_report_is_written(network, images, tmp_path):
    unsure = GradeRules(RULES.defects, verdict=VerdictRules(reject=1.0))
    result = inspect(network, images, tmp_path, worst=3, rules=unsure)
    page = result.report.read_text()
    assert page.count("data:image/jpeg") >= 4
    kept = [json.loads(file.read_text()) for file in (tmp_path / "gallery").glob("*/*.json")]
    assert sorted(about["lot"] for about in kept) == ["A"] * 3 + ["B"] * 3
    holes = {about["finding"]["image"] for about in kept if about["finding"]["count"]}
    assert {"A/0.png", "A/1.png"} <= holes
    assert {about["threshold"] for about in kept} == {result.model.details["threshold"]}
    waiting = {e.finding.sha256 for e in in_ledger(result).values() if e.finding.verdict == "review"}
    assert {file.stem for file in (tmp_path / "gallery" / "thumbnails").iterdir()} == waiting
    assert waiting
    for more, message in (({"worst": 0}, "--worst"), ({"aql": 1.1}, "AQL")):
        with pytest.raises(UserError, match=message):
            inspect(network, images, tmp_path / "no", **more)
    assert not (tmp_path / "no").exists()
