"""The command line, end to end on a tiny network: what it writes, what it says, and its exit codes."""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxqc import cli
from jaxqc.__main__ import take_any_text
from jaxqc.cli import main
from jaxqc.errors import UserError
from tests.support.tiny_run import plates, recipe, run_folder, tiny_network  # noqa: F401 - fixtures


def one_line(capsys) -> str:
    """The single line on stderr."""
    text = capsys.readouterr().err
    assert text.endswith("\n")
    assert text.count("\n") == 1, text
    assert "Traceback" not in text
    return text


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


def test_a_path_that_is_not_there_is_one_line(capsys, monkeypatch):
    def absent(args):
        Path("nowhere/file").read_text()

    monkeypatch.setattr(cli.recipes, "run", absent)
    assert main(["recipes"]) == 2
    assert one_line(capsys) == "jaxqc: nowhere/file: No such file or directory\n"


@pytest.mark.parametrize(("encoding", "shown"), [("ascii", b"a ? ?\n"), ("utf-8", "a — ?\n".encode())])
def test_a_log_takes_what_its_encoding_has_not(encoding, shown):
    stream = io.TextIOWrapper(io.BytesIO(), encoding)
    take_any_text(stream)
    print("a — \udcff", file=stream, flush=True)
    assert stream.buffer.getvalue() == shown


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


def in_course_of(first: BaseException, second: Exception) -> Exception:
    """The second, raised while the first was handled."""
    try:
        try:
            raise first
        finally:
            raise second
    except Exception as error:
        return error


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (in_course_of(KeyboardInterrupt(), RuntimeError("Event loop is closed")), 130, "interrupted"),
        (in_course_of(KeyboardInterrupt(), UserError("closing failed")), 130, "interrupted"),
        (OSError(28, "No space left on device", "runs/x"), 2, "runs/x: No space left on device"),
        (ValueError("UNKNOWN: [File: x] No space left on device"), 2, "No space left on device; make room and run"),
        (OSError(5, "Input/output error", "x.png"), 2, "x.png: Input/output error"),
        (OSError(17, "File exists", "runs"), 2, "runs: a file is there, where a folder is needed"),
        (MemoryError("Unable to allocate 9 GiB"), 2, "out of memory; lower --batch"),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes"), 2, "out of memory; lower --batch"),
    ],
)
def test_interrupt_is_130_and_full_disk_is_2(error, code, line, monkeypatch, capsys):
    def fail(args):
        raise error

    monkeypatch.setattr(cli.verify, "run", fail)
    assert main(["verify", "x"]) == code
    assert one_line(capsys).startswith(f"jaxqc: {line}")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
def test_output_onto_a_full_disk_is_one_line(capsys):
    with open("/dev/full", "w") as full, redirect_stdout(full):
        assert main(["recipes"]) == 2
    assert one_line(capsys) == "jaxqc: disk: No space left on device; make room and run the same command again\n"


def test_closed_streams_are_opened_onto_nothing(tmp_path):
    code = (
        "import os, sys; from jaxqc.__main__ import open_streams; open_streams(); print(1); print(2, file=sys.stderr);"
        f"file = open({str(tmp_path / 'kept')!r}, 'w'); os.write(1, b'x'); os.write(2, b'y')"
    )
    for closed in (">&-", "2>&-", "<&- >&- 2>&-"):
        command = f'"$0" -c "$1" {closed}'
        done = subprocess.run(["sh", "-c", command, sys.executable, code], capture_output=True)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "kept").read_bytes() == b""


def test_other_errors_keep_their_traceback(monkeypatch):
    def broken(args):
        raise RuntimeError("a defect of ours")

    monkeypatch.setattr(cli.verify, "run", broken)
    with pytest.raises(RuntimeError):
        main(["verify", "x"])


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    command = f"{sys.executable} -m jaxqc data check {tmp_path}/plates | head -c 1 >/dev/null; echo ${{PIPESTATUS[0]}}"
    main(["data", "synthetic", str(tmp_path / "plates"), "--count", "3", "--size", "16"])
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120, check=True)
    assert "Traceback" not in done.stderr
    assert done.stdout.strip() in ("0", "141")


@pytest.mark.slow
def test_sigterm_in_the_real_program_saves_and_exits_143(plates, tmp_path):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "jaxqc", "train", "--config", "configs/tscarnet_synthetic.py"]
    command += ["--data", str(plates), "--out", str(run), "--phases", '[{"epochs": 5000, "size": 32, "batch": 8}]']
    env = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("step "):
                process.send_signal(signal.SIGTERM)
                break
        rest = process.stderr.read()
        assert process.wait(timeout=120) == 143
    assert "SIGTERM: saved step" in rest
    assert list((run / "checkpoints").iterdir())
