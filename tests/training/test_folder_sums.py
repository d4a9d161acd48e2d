"""A run's folder: no altered bit of it is read, whatever moment a process is killed at it stays sound."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from jaxqc.errors import UserError
from jaxqc.training.checksums import SUMS, DamagedError, read_lines, write_sums
from jaxqc.training.folder_sums import (
    PROMISE,
    check_all,
    check_folder,
    check_promise,
    check_step,
    close_sums,
    kept_file,
    open_sums,
)
from jaxqc.training.logs import RunLog

META = {"classes": ["crack", "dent"], "mean": 0.5, "std": 0.25}


def write(folder: Path, name: str, text: str) -> None:
    with kept_file(folder, name) as part:
        part.write_text(text)


@pytest.fixture
def run(tmp_path) -> Path:
    """The files that a run of two checkpoints leaves, but for the weights."""
    folder = tmp_path / "run"
    (folder / "splits").mkdir(parents=True)
    (folder / "splits" / "train.txt").write_text("a\nb\n")
    write(folder, "config.json", '{"method": "saliency"}')
    write(folder, "meta.json", json.dumps(META))
    log = RunLog(folder)
    for step in (2, 4):
        log.write({"kind": "train", "step": step, "epoch": step / 2, "loss": 0.5})
        (folder / "checkpoints" / str(step)).mkdir(parents=True)
        (folder / "checkpoints" / str(step) / "weights").write_bytes(bytes(step))
        write_sums(folder / "checkpoints" / str(step))
    log.close()
    with kept_file(folder, "golden.npz") as part, part.open("wb") as file:
        np.savez(file, image=np.zeros(2, np.uint8))
    return folder


def flips(file: Path, every: int = 1):
    """The file with one bit altered after the other, and at the end as it was."""
    sound = file.read_bytes()
    for bit in range(0, 8 * len(sound), every):
        damaged = bytearray(sound)
        damaged[bit // 8] ^= 1 << bit % 8
        file.write_bytes(damaged)
        yield bit
    file.write_bytes(sound)


def error_of(check, *arguments) -> str:
    """The message of the UserError or DamagedError that a check raises; "" where it raises none."""
    try:
        check(*arguments)
    except (UserError, DamagedError) as e:
        return str(e)
    return ""


@pytest.mark.parametrize("name", ["config.json", "meta.json", "splits/train.txt"])
def test_every_altered_bit_is_refused_on_load(run, name):
    said = {error_of(check_folder, run) for _ in flips(run / name)}
    assert said == {f"{run}: damaged ({name} is not as it was saved); copy the whole folder again"}
    check_folder(run)


@pytest.mark.parametrize("name", [SUMS, "metrics.jsonl", "log.csv", "golden.npz", "checkpoints/2/SHA256SUMS", "tb"])
def test_and_of_the_others_by_verify(run, name):
    file = next((run / "tb").iterdir()) if name == "tb" else run / name
    passed = [bit for bit in flips(file, every=7) if "damaged" not in error_of(check_all, run)]
    assert not passed
    assert check_all(run) == ("11 files are as they were written",)


@pytest.mark.parametrize("name", ["meta.json", "golden.npz", "metrics.jsonl", SUMS])
def test_an_emptied_or_lost_file_is_refused(run, name):
    (run / name).write_bytes(b"")
    with pytest.raises(UserError, match="damaged"):
        check_all(run)
    (run / name).unlink()
    if name != SUMS:
        with pytest.raises(UserError, match=f"damaged .{name}: No such file"):
            check_all(run)
    else:  # a run of before has none; a checkpoint knows whether this is one
        assert any("no SHA256SUMS" in line for line in check_all(run))
        check_promise(run, {})
        with pytest.raises(UserError, match="SHA256SUMS is missing"):
            check_promise(run, {"step": 4, **PROMISE})


def test_a_line_lost_from_a_list_is_refused(run):
    lines = (run / SUMS).read_text().splitlines(keepends=True)
    (run / SUMS).write_text("".join(line for line in lines if "meta.json" not in line))
    with pytest.raises(UserError, match=r"it lacks meta\.json"):
        check_folder(run)
    own = run / "checkpoints" / "2"
    (own / SUMS).write_bytes(b"")
    (run / SUMS).write_text("".join(lines))
    with pytest.raises(DamagedError, match="checkpoints/2/SHA256SUMS"):
        check_step(own)


def test_a_checkpoint_may_be_removed_whole_and_other_files_are_named(run):
    for file in (run / "checkpoints" / "2").iterdir():
        file.unlink()
    (run / "checkpoints" / "2").rmdir()
    (run / "evaluation-seed-test").mkdir()
    (run / "evaluation-seed-test" / "evaluation.json").touch()
    (run / "notes.txt").touch()
    assert check_all(run) == (
        "9 files are as they were written",
        "not covered by sums: evaluation-seed-test, notes.txt",
    )


def test_a_kill_at_any_write_leaves_a_sound_folder(run, monkeypatch):
    """A process that goes on opens the list, writes meta.json anew, closes the list; and is killed at each write."""

    def sitting(number: int) -> None:
        write(run, "meta.json", json.dumps(META | {"number": number}))
        open_sums(run)
        (run / "metrics.jsonl").write_text("grown\n")
        close_sums(run)

    replace, left = os.replace, 0

    def until_killed(source, target):
        nonlocal left
        if not left:
            raise KeyboardInterrupt
        left -= 1
        replace(source, target)

    monkeypatch.setattr("jaxqc.atomic.os.replace", until_killed)
    for writes in range(5):
        left = writes
        with pytest.raises(KeyboardInterrupt):
            sitting(writes)
        check_folder(run)
        assert json.loads((run / "meta.json").read_text()).keys() >= META.keys()
        assert read_lines(run)
    left = 5
    sitting(5)
    check_all(run)
