"""Exports: tables that pyarrow and csv read back, and COCO instances that pycocotools loads and rasterises."""

import csv
import dataclasses
import io
import json
import tracemalloc
from functools import partial

import numpy as np
import pytest

from jaxqc.errors import UserError
from jaxqc.inspection.ledger import exports, queries
from jaxqc.inspection.ledger.exports import export_coco, export_tables
from jaxqc.inspection.ledger.store import open_ledger
from tests.support.ledger_makers import MODEL, OTHER, SIDE, finding, row

N = 24


@pytest.fixture
def ledger(tmp_path):
    with open_ledger(tmp_path / "quality.sqlite") as opened:
        opened.add([finding(i) for i in range(N)], MODEL, [row(i) | {"score": f"own {i}"} for i in range(N)])
        yield opened


def rows_of(file):
    return list(csv.DictReader(io.StringIO(file.read_text("utf-8"), newline="")))


def check_tables(images, parts):
    assert len(images) == N
    images = sorted(images, key=lambda image: image["image"])
    by_sha = {}
    for part in parts:
        by_sha.setdefault(part["sha256"], []).append(part)
    for i, image in enumerate(images):
        one = finding(i)
        known = row(i)
        assert (image["image"], image["sha256"], image["model"]) == (one.image, one.sha256, MODEL.digest)
        assert {k: image[k] for k in known} == known
        assert image["manifest.score"] == f"own {i}"
        assert float(image["score"]) == one.score
        assert int(image["count"]) == one.count
        assert json.loads(image["composition"]) == one.composition
        assert [float(p["peak_score"]) for p in by_sha.get(one.sha256, [])] == [d.peak_score for d in one.defects]
        for part, defect in zip(by_sha.get(one.sha256, []), one.defects, strict=True):
            assert tuple(int(part[k]) for k in ("x0", "y0", "x1", "y1")) == defect.box
            assert [tuple(p) for p in json.loads(part["polygon"])] == list(defect.polygon)
            assert part["class_name"] == defect.class_name


def test_parquet(ledger, tmp_path):
    from pyarrow import parquet

    files = export_tables(ledger, tmp_path / "out", "parquet")
    assert [file.name for file in files] == ["inspections.parquet", "defects.parquet", "sightings.parquet"]
    images, parts, places = (parquet.read_table(file).to_pylist() for file in files)
    check_tables(images, parts)
    assert {x["mm_per_pixel"] for x in images} == {None, 0.1}
    assert [(p["path"], p["lot"], p["shift"]) for p in places] == [(x["image"], x["lot"], x["shift"]) for x in images]
    assert sorted((tmp_path / "out").iterdir()) == sorted(files)


def test_csv(ledger, tmp_path):
    files = export_tables(ledger, tmp_path, "csv")
    images, parts, _ = map(rows_of, files)
    check_tables(images, parts)
    assert {x["mm_per_pixel"] for x in images} == {"", "0.1"}


def test_one_models_findings(ledger, tmp_path):
    ledger.add([finding(i, 1) for i in range(3)], OTHER)
    files = export_tables(ledger, tmp_path, "csv", OTHER.digest)
    assert [len(rows_of(file)) for file in files] == [3, 3, 3]
    with pytest.raises(UserError, match="has 2 models; COCO holds one's findings: name one"):
        export_coco(ledger, tmp_path / "x.json")
    assert export_coco(ledger, tmp_path / "x.json", OTHER.digest) == (3, 3)


def test_an_empty_ledger_gives_tables_without_rows(tmp_path):
    from pyarrow import parquet

    with open_ledger(tmp_path / "empty.sqlite") as empty:
        files = export_tables(empty, tmp_path, "parquet")
        assert [parquet.read_table(file).num_rows for file in files] == [0, 0, 0]
        with pytest.raises(UserError, match="has 0 models"):
            export_coco(empty, tmp_path / "x.json")
    with pytest.raises(UserError, match="format: 'xml'; one of parquet, csv"):
        export_tables(empty, tmp_path, "xml")


def test_a_broken_export_leaves_the_old_files(ledger, tmp_path, monkeypatch):
    old = [file.read_bytes() for file in export_tables(ledger, tmp_path / "out", "csv")]
    monkeypatch.setattr(exports, "_defect_lines", lambda entry: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_tables(ledger, tmp_path / "out", "csv")
    assert len(old) == len(list((tmp_path / "out").iterdir()))
    assert [(tmp_path / "out" / f"{name}.csv").read_bytes() for name in ("inspections", "defects", "sightings")] == old


# pycocotools 2.0.11 was built against an older numpy protocol; numpy takes its masks all the same.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")
def test_pycocotools_loads_and_rasterises_it(ledger, tmp_path, capsys):
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed; part of the extra `dev`")
    line = dataclasses.replace(finding(1, 1).defects[0], polygon=((5, 5), (9, 5)), box=(5, 5, 10, 6), area=5)
    odd = dataclasses.replace(finding(N, 0), image='名 "<b>\n.png', defects=(line,), count=1)
    ledger.add([odd], MODEL)
    images, annotations = export_coco(ledger, tmp_path / "out" / "instances.json")
    assert images == N + 1
    assert annotations == sum(len(finding(i).defects) for i in range(N)) + 1
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["instances.json"]
    loaded = coco.COCO(str(tmp_path / "out" / "instances.json"))
    assert [c["name"] for c in loaded.loadCats(loaded.getCatIds())] == ["In", "Pa", "Sc"]
    assert len(loaded.getImgIds()) == N + 1
    by_name = {image["file_name"]: image["id"] for image in loaded.loadImgs(loaded.getImgIds())}
    for one in [*(finding(i) for i in range(N)), odd]:
        own = loaded.loadAnns(loaded.getAnnIds(by_name[one.image]))
        assert len(own) == len(one.defects)
        for annotation, defect in zip(own, one.defects, strict=True):
            x0, y0, x1, y1 = defect.box
            expected = np.zeros((SIDE, SIDE), np.uint8)
            expected[y0:y1, x0:x1] = 1
            np.testing.assert_array_equal(loaded.annToMask(annotation), expected)
            assert annotation["bbox"] == [x0, y0, x1 - x0, y1 - y0]
            assert annotation["area"] == defect.area
            assert loaded.loadCats(annotation["category_id"])[0]["name"] == defect.class_name
    # Results, other than ground truth, hold masks by run lengths.
    results = loaded.loadRes([
        {"image_id": a["image_id"], "category_id": a["category_id"], "score": a["score"],
         "segmentation": loaded.annToRLE(a)} for a in loaded.dataset["annotations"]
    ])  # fmt: skip
    evaluation = pytest.importorskip("pycocotools.cocoeval").COCOeval(loaded, results, "segm")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1)  # its own findings, found again
    capsys.readouterr()


@pytest.mark.parametrize("kind", ["csv", "coco"])
def test_exports_take_the_same_memory_for_eight_times_the_images(kind, usual_collector, tmp_path, monkeypatch):
    monkeypatch.setattr(exports, "entries", partial(queries.entries, chunk=10))
    monkeypatch.setattr(exports, "CHUNK", 10)

    def peak(count):
        with open_ledger(tmp_path / f"{count}.sqlite") as opened:
            opened.add([finding(i) for i in range(count)], MODEL)
            tracemalloc.start()
            if kind == "coco":
                export_coco(opened, tmp_path / "x.json")
            else:
                export_tables(opened, tmp_path, kind)
            size = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return size

    peak(40)  # imports and caches
    assert peak(320) < 2 * peak(40)
