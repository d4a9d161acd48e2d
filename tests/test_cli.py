"""The command line, end to end on a tiny network: what it writes, what it says, and its exit codes."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from jaxqc.cli import main
from tests.support.one_line import one_line
from tests.support.tiny_run import plates, recipe, run_folder, tiny_network  # noqa: F401 - fixtures


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "unknown 'trian' (did you mean 'train'?)"),
        (["train"], "required: --config, --data"),
        (["train", "--confg", "x"], "unknown argument --confg (did you mean '--config'?)"),
        (["train", "--config", "x", "--data", "y", "--optm.lr", "1"], "(did you mean '--optim.lr'?)"),
        (["train", "--config", "nowhere.py", "--data", "y"], "--config: no file nowhere.py"),
        (["evaluate", "--checkpint", "x"], "(did you mean '--checkpoint'?)"),
        (["evaluate", "--checkpoint", "x", "--data", "y", "--split", "tset"], "--split: unknown 'tset' (did you mean"),
        (["predict", "--checkpoint", "x", "--images", "y", "--batch", "many"], "invalid int value: 'many'"),
        (["predict", "--checkpoint", "x", "--images", "y", "--batch", "0"], "--batch: 0 must be 1 or more"),
        (["predict", "--checkpoint", "nowhere", "--images", "y"], "nowhere: no such run folder"),
        (["predict", "--checkpoint", "x", "--data", "y"], "unknown argument --data (did you mean '--images'?)"),
        (["evaluate", "--checkpoint", "x", "--images", "y"], "unknown argument --images (did you mean '--data'?)"),
        (["verify", "nowhere"], "nowhere: no such run folder"),
        (["verify", "a", "b"], "unexpected argument 'b'"),
        (["data", "chek", "x"], "unknown 'chek' (did you mean 'check'?)"),
        (["data", "check", "nowhere"], "nowhere: no such folder"),
        (["data", "synthetic", "x", "--count", "0"], "n: 0; a synthetic set needs"),
        (["--verison"], "(did you mean '--version'?)"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert message in one_line(capsys)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("verb", ["train", "evaluate", "predict", "inspect", "verify", "data check", "data synthetic"])
def test_every_verb_helps_with_examples(verb, capsys):
    with pytest.raises(SystemExit) as e:
        main([*verb.split(), "--help"])
    assert e.value.code == 0
    text = capsys.readouterr().out
    assert f"jaxqc {verb}" in text.split("examples:")[1]


def test_no_arguments_shows_help_and_version_is_told(capsys):
    with pytest.raises(SystemExit):
        main([])
    assert "VERB" in capsys.readouterr().out
    with pytest.raises(SystemExit) as e:
        main(["--version"])
    assert e.value.code == 0


def test_train_leaves_a_whole_run_folder(run_folder):
    meta = json.loads((run_folder / "meta.json").read_text())
    assert meta["classes"] == ["In", "Pa", "Sc"]
    assert 0 < meta["mean"] < 1
    assert meta["train"] + meta["val"] == 30
    train, test = (set((run_folder / "splits" / f"{n}.txt").read_text().split()) for n in ("train", "test"))
    assert len(train) == 27
    assert len(test) == 3
    assert not train & test
    with open(run_folder / "log.csv") as file:
        assert len(list(csv.DictReader(file))) >= 2


def test_train_again_goes_on_with_the_finished_run(run_folder, plates, recipe, tmp_path, capsys):
    run = shutil.copytree(run_folder, tmp_path / "run")
    arguments = ["train", "--config", str(recipe), "--data", str(plates), "--out", str(run), "--quiet"]
    before = (run / "metrics.jsonl").read_text()
    assert main(arguments) == 0
    assert "next: jaxqc evaluate" in capsys.readouterr().out
    assert (run / "metrics.jsonl").read_text() == before
    assert main([*arguments, "--no-resume"]) == 2
    assert "holds a run already" in one_line(capsys)
    assert main([*arguments, "--optim.lr", ".5"]) == 2
    assert "optim.lr was 0.01, is 0.5" in one_line(capsys)


def test_evaluate_writes_metrics_scores_and_pictures(run_folder, plates, tmp_path, capsys):
    out = tmp_path / "report"
    arguments = ["evaluate", "--checkpoint", str(run_folder), "--data", str(plates), "--out", str(out)]
    assert main([*arguments, "--split", "all", "--worst", "2", "--quiet"]) == 0
    shown = capsys.readouterr().out
    assert "protocol none, split all, 30 images" in shown
    assert "class accuracy" in shown
    assert "…" not in shown
    result = json.loads((out / "evaluation.json").read_text())
    assert (result["protocol"], result["split"], result["images"]) == ("none", "all", 30)
    assert set(result["by_class"]) == {"In", "Pa", "Sc"}
    assert result["checkpoint"]["data_digest"]
    assert result["evaluated_with"]["versions"]["jax"]
    with open(out / "per_image.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 30
    assert np.mean([float(r["mae"]) for r in rows]) == pytest.approx(result["overall"]["mae"], abs=1e-5)
    worst = min(rows, key=lambda r: float(r["s_measure"]))["id"]
    pictures = sorted(p.name for p in (out / "worst").iterdir())
    assert len(pictures) == 2
    assert worst in pictures[0]


def test_evaluate_takes_the_runs_own_split(run_folder, plates, tmp_path, capsys):
    out = tmp_path / "report"
    common = ["evaluate", "--checkpoint", str(run_folder), "--data", str(plates), "--quiet", "--worst", "0"]
    assert main([*common, "--out", str(out)]) == 0
    assert "protocol seed, split test, 3 images" in capsys.readouterr().out
    with open(out / "per_image.csv") as file:
        told = {row["id"] for row in csv.DictReader(file)}
    assert told == set((run_folder / "splits" / "test.txt").read_text().split())
    assert main([*common, "--out", str(out), "--split", "train"]) == 0
    assert "split train, 27 images" in capsys.readouterr().out
    assert main([*common, "--protocol", "index"]) == 2
    assert "protocol 'index' needs" in one_line(capsys)


def test_unreadable_files_are_listed_and_exit_1(run_folder, plates, tmp_path, capsys):
    data = shutil.copytree(plates, tmp_path / "data")
    bad = sorted((data / "Source Images").iterdir())[0]
    bad.write_bytes(b"BM")
    common = ["--checkpoint", str(run_folder), "--quiet"]
    arguments = ["--data", str(data), "--split", "all", "--worst", "0", "--out", str(tmp_path / "report")]
    assert main(["evaluate", *common, *arguments]) == 1
    got = capsys.readouterr()
    assert "29 images" in got.out
    assert bad.name in got.err
    maps = tmp_path / "maps"
    assert main(["predict", *common, "--images", str(data / "Source Images"), "--out", str(maps)]) == 1
    assert bad.name in capsys.readouterr().err
    assert len(list(maps.iterdir())) == 29


def test_train_refuses_bad_samples_or_skips_them_by_name(plates, recipe, tmp_path, capsys):
    data = shutil.copytree(plates, tmp_path / "data")
    bad = sorted((data / "Source Images").iterdir())[0]
    bad.write_bytes(b"")
    arguments = ["train", "--config", str(recipe), "--data", str(data), "--quiet", "--out", str(tmp_path / "run")]
    assert main(arguments) == 2
    assert bad.name in one_line(capsys)
    assert main(["data", "check", str(data)]) == 1
    assert bad.stem in capsys.readouterr().out
    assert main([*arguments, "--skip-bad", "--phases.0.epochs", "1"]) == 0
    assert "skipped" in capsys.readouterr().err
    assert any(bad.name in line for line in json.loads((tmp_path / "run" / "meta.json").read_text())["skipped"])


def test_predict_writes_a_map_of_the_images_size(run_folder, tmp_path, capsys, rng):
    images = tmp_path / "images"
    (images / "line 2").mkdir(parents=True)
    sizes = {"a.png": (40, 24), "b.jpg": (33, 57), "line 2/a.png": (48, 48), "b.png": (8, 8)}
    for name, (w, h) in sizes.items():
        Image.fromarray(rng.integers(0, 256, (h, w), np.uint8)).save(images / name)
    out = tmp_path / "maps"
    assert main(["predict", "--checkpoint", str(run_folder), "--images", str(images), "--out", str(out)]) == 0
    assert "4 maps" in capsys.readouterr().out
    # Two images named b differ only in their extension, which their maps therefore keep.
    expected = {"a.png": "a.png", "b.jpg": "b.jpg.png", "line 2/a.png": "line 2/a.png", "b.png": "b.png.png"}
    assert {str(p.relative_to(out)) for p in out.rglob("*.png")} == set(expected.values())
    for name, place in expected.items():
        with Image.open(out / place) as picture:
            assert picture.size == sizes[name]
            assert picture.mode == "L"


def test_predict_never_replaces_its_input(run_folder, tmp_path, capsys):
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()
    assert main(["predict", "--checkpoint", str(run_folder), "--images", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert "would replace an image" in one_line(capsys)
    assert (tmp_path / "a.png").read_bytes() == before


@pytest.mark.slow
def test_records_are_packed_and_trained_on(plates, recipe, tmp_path, capsys):
    file = tmp_path / "plates.array_record"
    assert main(["data", "records", str(plates), str(file)]) == 0
    assert "30 samples" in capsys.readouterr().out
    run = tmp_path / "run"
    arguments = ["--config", str(recipe), "--data", str(file), "--out", str(run), "--data.mode", "stream", "--quiet"]
    assert main(["train", *arguments, "--phases.0.epochs", "1"]) == 0
    assert json.loads((run / "config.json").read_text())["data"]["mode"] == "stream"
