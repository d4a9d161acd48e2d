"""The side of a data set that a saliency network is measured on: the run's own data, other data, typed protocols."""

from pathlib import Path

import pytest

from jaxqc.config import DataConfig, TrainConfig
from jaxqc.data.coverage import coverage
from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.splits import apply_protocol, write_splits
from jaxqc.errors import UserError
from jaxqc.saliency.report import chosen

CONFIG = TrainConfig(data=DataConfig(protocol="seed"))


def samples(prefix: str, n: int, split: str = "") -> tuple[Sample, ...]:
    return tuple(Sample(f"{prefix}{i}", Path("a"), label=0, split=split) for i in range(n))


@pytest.fixture
def own() -> Dataset:
    return Dataset("own", ("In",), samples("own", 20))


@pytest.fixture
def run(own: Dataset, tmp_path: Path) -> Path:
    """A run's folder with its kept lists."""
    write_splits(tmp_path / "splits", *apply_protocol(own, "seed", CONFIG.seed))
    return tmp_path


def test_the_runs_own_data_are_divided_as_for_training(own: Dataset, run: Path) -> None:
    part, protocol, split = chosen(own, "test", None, CONFIG, run)
    assert (len(part), protocol, split) == (2, "seed", "test")
    assert coverage(own, part).line(2) == "2 of 20 images measured; left out: 18 without a split"
    assert chosen(own, "test", None, CONFIG, None)[0] == part
    assert len(chosen(own, "train", None, CONFIG, run)[0]) == 18


def test_other_data_are_divided_by_their_own_split_or_not_at_all(own: Dataset, run: Path) -> None:
    val = Dataset("other", ("In",), samples("other", 10, "val"))
    assert chosen(val, "test", None, CONFIG, run) == (val, "index", "test")
    both = Dataset("both", ("In",), (*samples("a", 3, "val"), *samples("b", 4, "train")))
    part, _, _ = chosen(both, "test", None, CONFIG, run)
    assert coverage(both, part).line(len(part)) == "3 of 7 images measured; left out: 4 of split 'train'"
    plain = Dataset("plain", ("In",), samples("other", 10))
    assert chosen(plain, "test", None, CONFIG, run) == (plain, "none", "all")
    fewer = Dataset("fewer", ("In",), own.samples[:10])
    assert "have the ids of training images" in chosen(fewer, "test", None, CONFIG, run)[2]
    train = Dataset("train", ("In",), samples("other", 10, "train"))
    with pytest.raises(
        UserError, match=r"needs samples with split 'val' or 'test'; found 10 defective of split 'train'"
    ):
        chosen(train, "test", None, CONFIG, run)
    with pytest.raises(UserError, match="without a split, and not what the run was trained on"):
        chosen(plain, "train", None, CONFIG, run)


def test_a_typed_protocol_is_taken(own: Dataset, run: Path) -> None:
    plain = Dataset("plain", ("In",), samples("other", 10))
    part, protocol, _ = chosen(plain, "test", "seed", CONFIG, run)
    assert (len(part), protocol) == (1, "seed")
    assert chosen(plain, "test", "auto", CONFIG, run) == (part, "seed", "test")
    with pytest.raises(UserError, match="protocol 'index' needs samples with split 'val' or 'test'"):
        chosen(own, "test", "index", CONFIG, run)


def test_a_protocol_beside_split_all_is_refused(own: Dataset, run: Path) -> None:
    assert chosen(own, "all", None, CONFIG, run) == (own, "none", "all")
    with pytest.raises(UserError, match="protocol: 'seed' chooses a side, and split 'all' takes every sample"):
        chosen(own, "all", "seed", CONFIG, run)
