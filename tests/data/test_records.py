"""Record files: what goes in comes out, in every way of reading; files that are not whole are refused by name."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter

from jaxqc.data.dataset import ArrayDataset
from jaxqc.data.load import load_arrays
from jaxqc.data.pipeline import eval_batches, make_loader
from jaxqc.data.records import open_records, write_records
from jaxqc.data.splits import apply_protocol
from jaxqc.errors import UserError
from tests.data.test_pipeline import arrays, files


def noise(rng: np.random.Generator, n: int = 20, channels: int = 3, side: int = 37) -> ArrayDataset:
    return ArrayDataset(
        "noise",
        ("a", "b", "c"),
        tuple(f"id {i} é" for i in range(n)),
        rng.integers(0, 256, (n, side, side, channels), np.uint8),
        rng.integers(0, 2, (n, side, side), np.uint8),
        rng.integers(-1, 3, n).astype(np.int32),
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_round_trip(tmp_path: Path, rng: np.random.Generator, channels: int) -> None:
    data = noise(rng, channels=channels)
    seen: list[tuple[int, int]] = []
    write_records(data, tmp_path / "deep" / "x.array_record", progress=lambda *at: seen.append(at))
    back = load_arrays(open_records(tmp_path / "deep" / "x.array_record"))
    assert (back.name, back.classes, back.ids) == (data.name, data.classes, data.ids)
    for a, b in ((data.images, back.images), (data.masks, back.masks), (data.labels, back.labels)):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype
    assert back.digest() == data.digest()
    assert seen == [(16, 20), (20, 20)]
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["x.array_record"]


def test_digest_is_that_of_the_arrays(tmp_path: Path, rng: np.random.Generator) -> None:
    data = noise(rng)
    dataset = write_records(data, tmp_path / "x")
    assert dataset.samples[0].store.digest == data.digest()
    changed = dataclasses.replace(data, masks=data.masks.copy())
    changed.masks[-1, -1, -1] ^= 1
    assert write_records(changed, tmp_path / "y").samples[0].store.digest == changed.digest() != data.digest()


@pytest.mark.parametrize("workers", [0, 1])
def test_loader_gives_the_batches_of_the_files(tmp_path: Path, workers: int) -> None:
    index = files(tmp_path, arrays(9))
    records = write_records(index, tmp_path / "x")
    with make_loader(index, 2, 5, 3, 2) as a, make_loader(records, 2, 5, 3, 2, workers=workers) as b:
        for left, right in zip(a, b, strict=True):
            for key in left:
                np.testing.assert_array_equal(left[key], right[key])


def test_resized_when_written_or_when_read(tmp_path: Path, rng: np.random.Generator) -> None:
    data = noise(rng, 3)
    small = load_arrays(write_records(data, tmp_path / "x", size=16))
    later = load_arrays(write_records(data, tmp_path / "y"), size=16)
    assert small.images.shape == (3, 16, 16, 3)
    assert small.digest() == later.digest()


def test_splits_groups_and_protocols_live_on(tmp_path: Path) -> None:
    index = files(tmp_path, arrays(12))
    named = tuple(
        dataclasses.replace(s, split="val" if i % 4 == 0 else "train", group=f"g{i // 2}")
        for i, s in enumerate(index.samples)
    )
    index = dataclasses.replace(index, samples=named)
    records = write_records(index, tmp_path / "x")
    for protocol in ("index", "seed", "field"):
        for ours, theirs in zip(apply_protocol(records, protocol), apply_protocol(index, protocol), strict=True):
            assert [(s.id, s.split, s.group, s.label) for s in ours.samples] == [
                (s.id, s.split, s.group, s.label) for s in theirs.samples
            ]
            np.testing.assert_array_equal(load_arrays(ours).images, load_arrays(theirs).images)


def test_files_that_are_not_whole_are_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    path, bad = tmp_path / "x", tmp_path / "bad"
    write_records(noise(rng, 40), path)
    whole = path.read_bytes()
    for cut in (0, 10, 70_000, len(whole) // 2, len(whole) - 1):
        bad.write_bytes(whole[:cut])
        with pytest.raises(UserError, match="bad: not a whole record file"):
            open_records(bad)
    bad.write_bytes(rng.bytes(200_000))
    with pytest.raises(UserError, match="bad: not a whole record file"):
        open_records(bad)
    with pytest.raises(UserError, match="absent: no such file"):
        open_records(tmp_path / "absent")
    with pytest.raises(UserError, match="no such file"):
        open_records(tmp_path)


def test_other_programs_files_are_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "x"
    for last in (b"", b"tf.Example, say", b"[1, 2]", b'{"format": "theirs"}', b"\xff\xfe"):
        writer = ArrayRecordWriter(str(path), "group_size:1")
        writer.write(last)
        writer.close()
        with pytest.raises(UserError, match="x: an ArrayRecord file, but not one of jaxqc-records-1"):
            open_records(path)
    write_records(noise(rng, 5), path)
    reader = ArrayRecordReader(str(path))
    kept = [reader.read([i])[0] for i in (0, 1, 2, 3, 5)]
    writer = ArrayRecordWriter(str(tmp_path / "fewer"), "group_size:1")
    for record in kept:
        writer.write(record)
    writer.close()
    with pytest.raises(UserError, match="4 records, but 5 promised"):
        open_records(tmp_path / "fewer")


def test_damage_inside_is_named_with_its_record(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "x"
    data = noise(rng, 40)
    write_records(data, path)
    content = bytearray(path.read_bytes())
    at = bytes(content).index(data.images[17].tobytes()[:64])
    content[at] ^= 0xFF
    path.write_bytes(content)
    dataset = open_records(path)
    with pytest.raises(UserError, match="x/17: damaged record"):
        load_arrays(dataset)
    assert load_arrays(dataset, skip_bad=True).ids == data.ids[:17] + data.ids[18:]


def test_replaced_file_is_not_mixed_with_the_old_one(tmp_path: Path, rng: np.random.Generator) -> None:
    old = write_records(noise(rng, 3), tmp_path / "x")
    write_records(noise(rng, 3), tmp_path / "x")
    with pytest.raises(UserError, match="replaced by other data"):
        load_arrays(old)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, rng: np.random.Generator) -> None:
    index = files(tmp_path, arrays(40))
    out = tmp_path / "out"
    write_records(noise(rng, 3), out / "x")
    before = (out / "x").read_bytes()
    index.samples[1].image.write_bytes(b"no image")
    with pytest.raises(UserError, match=r"s1\.png"):
        write_records(index, out / "x")
    assert [p.name for p in out.iterdir()] == ["x"]
    assert (out / "x").read_bytes() == before
    with pytest.raises(UserError, match="a folder; give a file"):
        write_records(noise(rng, 3), out)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="x: cannot be written"):
        write_records(noise(rng, 3), tmp_path / "file" / "x")


def test_a_killed_writer_leaves_no_file_under_the_name(tmp_path: Path) -> None:
    program = """
import os, sys, numpy as np
from jaxqc.data.dataset import ArrayDataset
from jaxqc.data.records import write_records
n = 64
data = ArrayDataset("n", (), tuple(map(str, range(n))), np.zeros((n, 64, 64, 1), np.uint8),
                    np.zeros((n, 64, 64), np.uint8), np.zeros(n, np.int32))
write_records(data, sys.argv[1], progress=lambda done, total: done >= 32 and os.kill(os.getpid(), 9))
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "x")], check=False, env={**os.environ})
    assert done.returncode == -9
    assert not (tmp_path / "x").exists()


def test_real_data(tmp_path: Path, sd900: Path) -> None:
    from jaxqc.data.readers import open_dataset

    val = open_dataset(sd900).split("val")
    records = write_records(val, tmp_path / "val.array_record")
    assert load_arrays(records).digest() == load_arrays(val).digest()
    with eval_batches(records, 16) as batches:
        assert sum(int(b["weight"].sum()) for b in batches) == len(val) == 81
