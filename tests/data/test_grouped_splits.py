"""Grouped splits: never a group in two parts, decided by the seed and the groups' names alone."""

import dataclasses
import random
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.grouped import choose, choose_groups, folds_of, group_of, hold_out, one_class, propose_split
from jaxqc.data.normals import NORMAL, defects, is_defective, is_normal, means_normal, normals
from jaxqc.errors import UserError

CLASSES = (NORMAL, "hole")


@st.composite
def datasets(draw: st.DrawFn, splits: tuple[str, ...] = ("train", "test", "val")) -> Dataset:
    rows = draw(
        st.lists(
            st.tuples(st.sampled_from(["", "a", "b", "c", "ä b"]), st.integers(-1, 1), st.sampled_from(splits)),
            min_size=1,
            max_size=24,
        )
    )
    samples = tuple(
        Sample(f"s{i}", Path("a"), label=label, split=split, group=group)
        for i, (group, label, split) in enumerate(rows)
    )
    return Dataset("d", CLASSES, samples)


def groups(dataset: Dataset) -> set[str]:
    return {group_of(s) for s in dataset.samples}


@given(dataset=datasets(), share=st.floats(0.05, 0.95), seed=st.integers(0, 2**31), order=st.randoms())
def test_hold_out(dataset: Dataset, share: float, seed: int, order: random.Random) -> None:
    training = groups(normals(dataset.split("train")))
    if len(training) < 2:
        with pytest.raises(UserError, match="normal samples of split 'train': cannot be split by groups"):
            hold_out(dataset, share, seed)
        return
    out = hold_out(dataset, share, seed)
    assert [dataclasses.replace(s, split="") for s in out.samples] == [
        dataclasses.replace(s, split="") for s in dataset.samples
    ]
    moved = {s.id for s, was in zip(out.samples, dataset.samples, strict=True) if s.split != was.split}
    held = {group_of(s) for s in out.samples if s.id in moved}
    assert held <= training
    assert len(held) == min(max(1, round(share * len(training))), len(training) - 1)
    assert not held & groups(out.split("train"))
    assert all(s.split == "val" for s in out.samples if s.id in moved)
    # exact: neither the order nor the number of a group's samples matters
    shuffled = list(dataset.samples)
    order.shuffle(shuffled)
    again = hold_out(dataclasses.replace(dataset, samples=tuple(shuffled)), share, seed)
    assert {(s.id, s.split) for s in again.samples} == {(s.id, s.split) for s in out.samples}
    assert choose_groups(training, share, seed) == held


@given(dataset=datasets(), share=st.floats(0.05, 0.95), seed=st.integers(0, 9))
def test_one_class_parts_are_apart(dataset: Dataset, share: float, seed: int) -> None:
    try:
        parts = one_class(dataset, share, seed)
    except UserError as e:
        assert "d: n" in str(e)  # noqa: PT017
        return
    fit, calibrate, test = (groups(p) for p in (parts.fit, parts.calibrate, parts.test))
    assert fit
    assert calibrate
    assert not fit & calibrate
    assert not (fit | calibrate) & test
    for part in (parts.fit, parts.calibrate):
        assert all(is_normal(s, part) for s in part.samples)
    marred = groups(parts.defects) if parts.defects else frozenset()
    assert not marred & (calibrate | test)
    published = "test" if len(dataset.split("test")) else "val"
    assert parts.test == dataset.split(published)


@given(dataset=datasets(splits=("",)), share=st.floats(0.05, 0.95), seed=st.integers(0, 9), mixed=st.booleans())
def test_proposed_splits(dataset: Dataset, share: float, seed: int, mixed: bool) -> None:
    out = propose_split(dataset, share, seed, mixed)
    assert {s.split for s in out.samples} <= {"train", "test"}
    assert not groups(out.split("train")) & groups(out.split("test"))
    if not mixed:
        assert not any(is_defective(s, out) for s in out.split("train").samples)
    assert propose_split(out, share, seed + 1, mixed) == out  # what has a split keeps it


@given(names=st.sets(st.text(max_size=4), min_size=3, max_size=30), seed=st.integers(0, 99))
def test_a_larger_share_only_adds(names: set[str], seed: int) -> None:
    chosen = [choose_groups(names, share, seed) for share in (0.2, 0.5, 0.8)]
    assert chosen[0] <= chosen[1] <= chosen[2] < names


def test_seeds_differ() -> None:
    names = [str(i) for i in range(40)]
    assert len({choose_groups(names, 0.5, seed) for seed in range(10)}) == 10
    # fixed for ever: a published number must be found again
    assert sorted(choose_groups(names, 0.1, 0), key=int) == ["15", "20", "25", "36"]


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0, float("nan")])
def test_shares_out_of_range(share: float) -> None:
    with pytest.raises(UserError, match="is not between 0 and 1"):
        choose_groups(["a", "b"], share)


@given(datasets(), st.integers(2, 6), st.integers(0, 9))
def test_folds_are_whole_groups_and_each_sample_is_in_one(dataset: Dataset, count: int, seed: int) -> None:
    names = {group_of(s) for s in dataset.samples}
    assume(len(names) > 1)
    folds = folds_of(dataset, count, seed)
    groups = [{group_of(s) for s in fold.samples} for fold in folds]
    assert len(folds) == min(count, len(names))
    assert sum(map(len, groups)) == len(set.union(*groups)) == len(names)
    assert max(map(len, groups)) - min(map(len, groups)) <= 1
    assert sum(len(fold) for fold in folds) == len(dataset)
    assert groups[0] == choose_groups(names, 1 / len(folds), seed)


def test_published_validation_normals_calibrate() -> None:
    rows = [("train", 0), ("train", 0), ("val", 0), ("val", 1), ("test", 0), ("test", 1), ("train", 1)]
    samples = tuple(Sample(str(i), Path("a"), label=k, split=s) for i, (s, k) in enumerate(rows))
    parts = one_class(Dataset("d", CLASSES, samples))
    assert [[s.id for s in p.samples] for p in (parts.fit, parts.calibrate, parts.test)] == [
        ["0", "1"],
        ["2"],
        ["4", "5"],
    ]


def test_good_images_alone_need_no_test_set_and_no_split() -> None:
    good = tuple(Sample(str(i), Path("a"), label=0, split="train") for i in range(6))
    plain = tuple(dataclasses.replace(s, label=-1, split="") for s in good)
    unsplit = tuple(dataclasses.replace(s, split="") for s in good)
    for samples, classes in ((good, CLASSES), (unsplit, CLASSES), (plain, ())):
        parts = one_class(Dataset("d", classes, samples), 0.2)
        assert [len(part) for part in (parts.fit, parts.calibrate, parts.test)] == [5, 1, 0]
        assert all(s.normal or s.label == 0 for s in parts.fit.samples)
    mixed = Dataset("d", CLASSES, (*plain, dataclasses.replace(plain[0], id="hole", label=1)))
    with pytest.raises(UserError, match=r"needs normal .* found 6 of no class without a split, 1 defective without a"):
        one_class(mixed)


@given(dataset=datasets(), seed=st.integers(0, 9))
def test_choices_are_nested(dataset: Dataset, seed: int) -> None:
    assume(len(dataset) > 2)
    chosen = [{s.id for s in choose(dataset, n, seed).samples} for n in (1, 2, len(dataset))]
    assert chosen[0] < chosen[1] < chosen[2]


def test_names_that_mean_normal() -> None:
    for name in (
        "good",
        "Good",
        "Free",
        "OK",
        "NORMAL",
        "no_defect",
        "defect-free",
        "Defect Free",
        "anomaly-free",
        "正常",
        "合格",
        "良品",
        "无缺陷",
        "none",
        "pass",
        "clean",
        "no_anomaly",
        "ＯＫ",
        "OK图",
        "良件",
        "good_images",
    ):
        assert means_normal(name), name
    for name in ("", "bad", "ko", "not good", "abnormal", "defect", "NG", "okay?", "no", "不合格", "异常", "不良"):
        assert not means_normal(name), name


def test_neither_normal_nor_defective() -> None:
    unknown = Sample("a", Path("a"))
    dataset = Dataset("d", CLASSES, (unknown, dataclasses.replace(unknown, normal=True)))
    assert [is_normal(s, dataset) for s in dataset.samples] == [False, True]
    assert len(defects(dataset)) == 0
