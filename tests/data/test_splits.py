"""Protocols: sizes, determinism, disjointness, and id lists that survive a round trip or are refused."""

import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.load import load_sample
from jaxqc.data.readers import open_dataset
from jaxqc.data.splits import (
    apply_protocol,
    choose_protocol,
    read_split,
    read_splits,
    salt_and_pepper,
    write_split,
    write_splits,
)
from jaxqc.errors import UserError

CLASSES = ("In", "Pa", "Sc")


def make(per_class: int, split: str = "") -> Dataset:
    samples = [
        Sample(f"{name}_{i}", Path(f"{name}_{i}.png"), None, k, split)
        for k, name in enumerate(CLASSES)
        for i in range(1, per_class + 1)
    ]
    return Dataset("steel", CLASSES, tuple(samples))


def ids(dataset: Dataset) -> list[str]:
    return [s.id for s in dataset.samples]


def test_seed_protocol_takes_270_and_30_of_each_class() -> None:
    whole = make(300)
    train, test = apply_protocol(whole, "seed", seed=1)
    assert Counter(s.label for s in train.samples) == {0: 270, 1: 270, 2: 270}
    assert Counter(s.label for s in test.samples) == {0: 30, 1: 30, 2: 30}
    assert not set(ids(train)) & set(ids(test))
    assert [i for i in ids(whole) if i in set(ids(train))] == ids(train)  # index order


def test_seed_decides_and_the_index_order_does_not() -> None:
    whole = make(300)
    shuffled = list(whole.samples)
    random.Random(0).shuffle(shuffled)
    again = Dataset("steel", CLASSES, tuple(shuffled))
    test = apply_protocol(whole, "seed", seed=1)[1]
    assert set(ids(test)) == set(ids(apply_protocol(again, "seed", seed=1)[1]))
    assert set(ids(test)) != set(ids(apply_protocol(whole, "seed", seed=2)[1]))
    # Written down: a result that names protocol and seed must mean the same images on every machine for ever.
    assert ids(apply_protocol(make(10), "seed", seed=0)[1]) == ["In_4", "Pa_5", "Sc_8"]


def test_field_protocol_is_540_clean_and_270_noised_and_tests_on_all() -> None:
    whole = make(300)
    train, test = apply_protocol(whole, "field", seed=4)
    assert Counter((s.label, s.noise > 0) for s in train.samples) == {
        (k, noised): n for k in range(3) for noised, n in ((False, 180), (True, 90))
    }
    assert len(set(ids(train))) == 810
    assert ids(test) == ids(whole)
    assert not any(s.noise for s in test.samples)


@settings(max_examples=50, deadline=None)
@given(per_class=st.integers(2, 40), seed=st.integers(0, 2**32), protocol=st.sampled_from(["seed", "field"]))
def test_any_size_gives_both_sides_of_every_class(per_class: int, seed: int, protocol: str) -> None:
    train, test = apply_protocol(make(per_class), protocol, seed)
    for k in range(3):
        assert sum(s.label == k for s in train.samples) >= 1
        assert sum(s.label == k for s in test.samples) >= 1
    assert len(set(ids(train))) == len(train)
    if protocol == "seed":
        assert sorted(ids(train) + ids(test)) == sorted(ids(make(per_class)))
        assert abs(len(test) / 3 - per_class * 0.1) <= 0.9


def test_index_protocol(sd900: Path) -> None:
    train, test = apply_protocol(open_dataset(sd900), "index")
    assert (len(train), len(test)) == (729, 81)
    assert {s.split for s in test.samples} == {"val"}
    both = Dataset("x", CLASSES, make(2, "train").samples + make(3, "test").samples)
    assert len(apply_protocol(both, "index")[1]) == 9


def test_protocols_that_cannot_be_applied() -> None:
    with pytest.raises(UserError, match=r"needs samples with split 'train'.*\(found: none\); set --data.protocol seed"):
        apply_protocol(make(3), "index")
    with pytest.raises(UserError, match=r"unknown 'feild' \(did you mean 'field'"):
        apply_protocol(make(3), "feild")
    with pytest.raises(UserError, match="class 'In' has 1 image"):
        apply_protocol(make(1), "seed")


def test_split_files_round_trip(tmp_path: Path) -> None:
    whole = make(20)
    for protocol in ("field", "seed"):  # the second run overwrites the first, noised.txt too
        train, test = apply_protocol(whole, protocol, seed=3)
        write_splits(tmp_path / "splits", train, test)
        assert (tmp_path / "splits" / "train.txt").read_text().splitlines() == ids(train)
        assert read_splits(tmp_path / "splits", whole) == (train, test)
    assert sorted(p.name for p in (tmp_path / "splits").iterdir()) == ["test.txt", "train.txt"]


def test_split_files_hold_the_spaces_of_ids_and_once_held_their_escapes(tmp_path: Path) -> None:
    ids = ("外\u30001/a", "b\u00a0", "c")
    dataset = Dataset("set", (), tuple(Sample(i, Path(f"{i}.png")) for i in ids))
    write_split(tmp_path / "new.txt", dataset)
    (tmp_path / "old.txt").write_text("外\\u30001/a\nb\\xa0\nc\n", "utf-8")
    for name in ("new.txt", "old.txt"):
        assert tuple(s.id for s in read_split(tmp_path / name, dataset).samples) == ids


def test_split_files_keep_their_order_and_take_spreadsheet_endings(tmp_path: Path) -> None:
    file = tmp_path / "s.txt"
    file.write_bytes(b"\xef\xbb\xbfSc_2\r\n\r\n In_1 \r\n")
    assert ids(read_split(file, make(3))) == ["Sc_2", "In_1"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"In_1\nPa_9\n", r"s\.txt: line 2: id 'Pa_9' is not in steel \(did you mean"),
        (b"In_1\n\nIn_1\n", r"line 3: id 'In_1' already stands on line 1"),
        (b"\n \n", "no ids in it"),
        (b"In_\xff\n", "not UTF-8"),
        (b"\x1b[2J\n", r"id '\\x1b\[2J' is not in steel; remove it"),
    ],
)
def test_wrong_split_files(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "s.txt").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_split(tmp_path / "s.txt", make(3))


def test_absent_unwritable_and_overlapping_lists(tmp_path: Path) -> None:
    whole = make(3)
    with pytest.raises(UserError, match=r"train\.txt: cannot be read"):
        read_splits(tmp_path, whole)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write_split(tmp_path / "file" / "train.txt", whole)
    write_split(tmp_path / "train.txt", ["In_1", "In_2", "Pa_1"])
    write_split(tmp_path / "test.txt", ["Pa_1", "In_2", "Sc_1"])
    with pytest.raises(UserError, match="train and test overlap: 'In_2' and 1 more"):
        read_splits(tmp_path, whole)


def test_salt_and_pepper() -> None:
    image = np.full((200, 200, 3), 100, np.uint8)
    out = salt_and_pepper(image, "In_1", 0.2)
    np.testing.assert_array_equal(out, salt_and_pepper(image, "In_1", 0.2))
    assert (out != salt_and_pepper(image, "In_2", 0.2)).any()
    assert (image == 100).all()  # the argument is left alone
    assert set(np.unique(out)) == {0, 100, 255}
    assert (out == out[..., :1]).all()
    # Binomial, n = 40,000: five standard deviations are .0075 (p = .1) at most.
    assert abs((out == 0).mean() - 0.1) < 0.0075
    assert abs((out == 255).mean() - 0.1) < 0.0075
    assert (salt_and_pepper(image, 0, 0.0) == image).all()
    assert set(np.unique(salt_and_pepper(image, 0, 1.0))) == {0, 255}
    with pytest.raises(UserError, match=r"share 1\.5 is outside"):
        salt_and_pepper(image, 0, 1.5)


def test_noise_reaches_the_image_and_not_the_mask(sd900: Path) -> None:
    whole = open_dataset(sd900)
    train, _ = apply_protocol(whole, "field")
    noised = next(s for s in train.samples if s.noise)
    clean = next(s for s in whole.samples if s.id == noised.id)
    (a, mask_a), (b, mask_b) = load_sample(noised), load_sample(clean)
    np.testing.assert_array_equal(mask_a, mask_b)
    changed = a != b
    assert 0.17 < changed.mean() <= 0.22
    assert set(np.unique(a[changed])) <= {0, 255}


def test_auto_takes_the_datas_own_split_or_else_the_seeded_one() -> None:
    plain = Dataset("x", ("a",), tuple(Sample(str(i), Path(f"{i}.png"), label=0) for i in range(4)))
    split = Dataset("x", ("a",), (Sample("0", Path("0.png"), label=0, split="train"), *plain.samples[1:]))
    assert choose_protocol(plain, "auto") == "seed"
    assert choose_protocol(split, "auto") == "index"
    assert choose_protocol(split, "field") == "field"


def test_processes_that_write_the_same_list_at_once_do_not_meet(tmp_path: Path) -> None:
    """As cells of one table do that share a seed."""
    program = (
        "import sys; from jaxqc.data.splits import write_split\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "for _ in range(500): write_split(sys.argv[1], map(str, range(2000)))"
    )
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", program, str(tmp_path / "labeled.txt")]
    both = [subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(2)]
    for one in both:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    for one in both:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    assert [(one.communicate()[1], one.returncode) for one in both] == [("", 0)] * 2
    assert [file.name for file in tmp_path.iterdir()] == ["labeled.txt"]
    assert len((tmp_path / "labeled.txt").read_text().splitlines()) == 2000
