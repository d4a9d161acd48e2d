"""Protocols: which samples train and which test, and the id lists that keep such a choice as files.

A split is ranked by SHA-256 of (seed, id): the same on every machine and version, and independent of the index's order.
"""

import dataclasses
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from jaxqc.atomic import write_text
from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.problems import printable
from jaxqc.errors import UserError, suggest

Protocol = Literal["index", "seed", "field"]
PROTOCOLS = ("index", "seed", "field")
TEST_SHARE = 0.1
"""`seed`: 30 of a class's 300 images."""
CLEAN_SHARE, NOISED_SHARE = 0.6, 0.3
"""`field`: 180 and 90 of a class's 300 images, 540 and 270 in all."""
NOISE = 0.2
"""`field`: share of an image's pixels that salt and pepper replace. The literature leaves it open; our reading."""


def choose_protocol(dataset: Dataset, protocol: str) -> str:
    """`auto` becomes `index` where the data bring a split of their own, else `seed`; any other name stays.

    Examples:
      >>> choose_protocol(Dataset("tiny", (), (Sample("a", Path("a.png"), split="train"),)), "auto")
      'index'
    """
    if protocol != "auto":
        return protocol
    return "index" if any(sample.split for sample in dataset.samples) else "seed"


def apply_protocol(dataset: Dataset, protocol: str, seed: int = 0) -> tuple[Dataset, Dataset]:
    """Splits a data set into (train, test).

    - `index`: the split column: `train`, and `val` (`test` where there is no `val`).
    - `seed`: per class 270 + 30 of 300, or 90 % and 10 % of any other number, at least one for each side.
    - `field`: per class 180 clean and 90 other, noised images of 300 (60 % and 30 % of another number) for training;
      the test set is the whole data set, so it overlaps train.

    Samples without a class count as a class of their own. Horizontal flips are left to the augmentation.

    Raises:
      UserError: an unknown protocol, or too few samples for it.

    Examples:
      >>> samples = tuple(Sample(str(i), Path(f"{i}.png"), label=0) for i in range(20))
      >>> train, test = apply_protocol(Dataset("tiny", ("scratch",), samples), "seed")
      >>> len(train), len(test)
      (18, 2)
    """
    if protocol not in PROTOCOLS:
        raise UserError(f"protocol: unknown {protocol!r}{suggest(protocol, PROTOCOLS)}")
    if protocol == "index":
        return _by_index(dataset)
    train: list[Sample] = []
    test: list[Sample] = []
    for name, samples in _by_class(dataset, seed):
        n = len(samples)
        if n < 2:
            raise UserError(f"{dataset.name}: class {name!r} has {n} image; protocol {protocol!r} needs 2 or more")
        if protocol == "seed":
            held = max(1, round(TEST_SHARE * n))
            test += samples[:held]
            train += samples[held:]
        else:
            clean, noised = max(1, round(CLEAN_SHARE * n)), max(1, round(NOISED_SHARE * n))
            train += samples[:clean]
            train += [dataclasses.replace(s, noise=NOISE) for s in samples[clean : clean + noised]]
    if protocol == "field":
        test = list(dataset.samples)
    return _in_order(dataset, train), _in_order(dataset, test)


def salt_and_pepper(image: UInt8[np.ndarray, "h w c"], seed: int | str, share: float) -> UInt8[np.ndarray, "h w c"]:
    """Sets each pixel (all its channels) with probability `share` to 0 or 255, evenly; a pure function.

    `seed` may be a sample's id: the noise then belongs to the sample, whatever the order or batch it comes in.

    Raises:
      UserError: `share` outside [0, 1].

    Examples:
      >>> noisy = salt_and_pepper(np.full((8, 8, 1), 100, np.uint8), seed=0, share=1.0)
      >>> sorted(set(noisy.ravel().tolist()))
      [0, 255]
    """
    if not 0 <= share <= 1:
        raise UserError(f"noise: share {share} is outside [0, 1]")
    rng = np.random.default_rng(int.from_bytes(_hash(str(seed))[:8], "little"))
    draw = rng.random(image.shape[:2])
    out = image.copy()
    out[draw < share / 2] = 0
    out[(draw >= share / 2) & (draw < share)] = 255
    return out


def write_splits(folder: str | Path, train: Dataset, test: Dataset) -> None:
    """Keeps a protocol's choice: `train.txt`, `test.txt`, and `noised.txt` (part of train) if any are."""
    folder = Path(folder)
    write_split(folder / "train.txt", train)
    write_split(folder / "test.txt", test)
    noised = [s.id for s in train.samples if s.noise]
    if noised:
        write_split(folder / "noised.txt", noised)
    else:
        (folder / "noised.txt").unlink(missing_ok=True)


def read_splits(folder: str | Path, dataset: Dataset) -> tuple[Dataset, Dataset]:
    """Inverse of `write_splits`. Train and test may share ids only where `noised.txt` records protocol `field`.

    Raises:
      UserError: a list is absent, is malformed, names an unknown id, or train and test overlap.
    """
    folder = Path(folder)
    train, test = read_split(folder / "train.txt", dataset), read_split(folder / "test.txt", dataset)
    file = folder / "noised.txt"
    if not file.exists():
        check_overlap(train, test, printable(folder))
        return train, test
    noised = {s.id for s in read_split(file, train).samples}
    samples = tuple(dataclasses.replace(s, noise=NOISE) if s.id in noised else s for s in train.samples)
    return dataclasses.replace(train, samples=samples), test


def check_overlap(train: Dataset, test: Dataset, where: str) -> None:
    """Raises `UserError` where a sample is in both."""
    common = sorted({s.id for s in train.samples} & {s.id for s in test.samples})
    if common:
        more = f" and {len(common) - 1} more" if len(common) > 1 else ""
        raise UserError(f"{where}: train and test overlap: {common[0]!r}{more}; remove the ids from one of the lists")


def write_split(file: str | Path, ids: Dataset | Iterable[str]) -> None:
    """Writes a list of ids, one a line, UTF-8. The folder is made where it is absent; the file appears whole or not.

    Processes that write the same list at once do not meet.

    Examples:
      >>> write_split("train.txt", ["a", "b"])
      >>> Path("train.txt").read_text().split()
      ['a', 'b']
    """
    file = Path(file)
    lines = [s.id for s in ids.samples] if isinstance(ids, Dataset) else list(ids)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, "".join(f"{line}\n" for line in lines))
    except OSError as e:
        raise UserError(f"{printable(file)}: cannot be written ({e.strerror}); give a writable folder") from e


def read_split(file: str | Path, dataset: Dataset) -> Dataset:
    """The samples whose ids the file lists, in the file's order. Blank lines are passed over.

    Raises:
      UserError: no such file, not UTF-8, no ids, an id twice, or one that the data set lacks.

    Examples:
      >>> write_split("test.txt", ["b"])
      >>> samples = (Sample("a", Path("a.png")), Sample("b", Path("b.png")))
      >>> [sample.id for sample in read_split("test.txt", Dataset("tiny", (), samples)).samples]
      ['b']
    """
    name, lines = printable(file), read_ids(file)
    # Lists of older runs hold an unusual space as its escape.
    escaped = lambda ident: (
        ident if ident.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in ident)
    )
    known = {escaped(s.id): s for s in dataset.samples} | {s.id: s for s in dataset.samples}
    chosen: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        ident = line.strip(" \t")  # other spaces may belong to the id
        where = f"{name}: line {number}: id {ident!r}"
        if not ident:
            continue
        if ident in chosen:
            raise UserError(f"{where} already stands on line {chosen[ident]}; remove one")
        if ident not in known:
            hint = suggest(ident, known)
            raise UserError(f"{where} is not in {dataset.name}{hint if 'did you mean' in hint else ''}; remove it")
        chosen[ident] = number
    if not chosen:
        raise UserError(f"{name}: no ids in it; give one a line")
    return dataclasses.replace(dataset, samples=tuple(known[i] for i in chosen))


def read_ids(file: str | Path) -> list[str]:
    """The lines of a list, as they stand there.

    Raises:
      UserError: no such file, or not UTF-8.

    Examples:
      >>> write_split("test.txt", ["b"])
      >>> read_ids("test.txt")
      ['b']
    """
    try:
        return Path(file).read_text("utf-8-sig").splitlines()
    except OSError as e:
        raise UserError(f"{printable(file)}: cannot be read ({e.strerror}); give a list of ids, one a line") from e
    except UnicodeDecodeError as e:
        raise UserError(f"{printable(file)}: not UTF-8 (byte {e.start}); save it as UTF-8") from e


def _by_index(dataset: Dataset) -> tuple[Dataset, Dataset]:
    train, test = dataset.split("train"), dataset.split("val")
    test = test if len(test) else dataset.split("test")
    if not len(train) or not len(test):
        found = ", ".join(sorted({s.split or "none" for s in dataset.samples})) or "no samples"
        raise UserError(
            f"{dataset.name}: protocol 'index' needs samples with split 'train' and with 'val' or 'test'"
            f" (found: {printable(found)}); set --data.protocol seed for a data set without a split"
        )
    return train, test


def _by_class(dataset: Dataset, seed: int) -> list[tuple[str, list[Sample]]]:
    """(class name, its samples ranked by hash), for the classes that occur."""
    groups: dict[int, list[Sample]] = {}
    for sample in dataset.samples:
        groups.setdefault(sample.label, []).append(sample)
    name = [*dataset.classes, "no class"]  # label -1 is the last
    return [(name[k], sorted(groups[k], key=lambda s: rank(seed, s.id))) for k in sorted(groups)]


def rank(seed: int, name: str) -> bytes:
    """The key by which ids and groups are sorted into a random order that only `seed` and the names decide."""
    return _hash(f"{seed}:{name}")


def _in_order(dataset: Dataset, samples: list[Sample]) -> Dataset:
    place = {s.id: i for i, s in enumerate(dataset.samples)}
    return dataclasses.replace(dataset, samples=tuple(sorted(samples, key=lambda s: place[s.id])))


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
