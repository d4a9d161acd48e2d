"""Splits for learning from normal samples only: what is fitted, what calibrates the threshold, what is tested.

Samples of one group (one object, one shot series, the crops of one image) always stay together; a sample without a
group is a group of its own. Which groups are chosen follows from the seed and the groups' names alone, by the SHA-256
ranking of `jaxqc.data.splits`: not from the order of the index, nor from how many samples a group has.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest

from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.normals import SHOWN, defects, is_defective, is_normal, normals
from jaxqc.data.problems import printable
from jaxqc.data.splits import rank
from jaxqc.errors import UserError

CALIBRATION = 0.2
"""Share of the groups of normal training samples that calibrate the threshold by default."""


@dataclass(frozen=True)
class Parts:
    """A data set divided for anomaly detection; no group is in two of the parts."""

    fit: Dataset
    """Normal samples only."""
    calibrate: Dataset
    """Normal samples only, unseen by `fit`."""
    test: Dataset
    """Normal and defective samples; none where the data are good images alone."""
    defects: Dataset | None = None
    """Defective training samples, for a detector that learns from such; None where there are none."""


def group_of(sample: Sample) -> str:
    """The name of the sample's group; of a sample without one, a name that is its own."""
    return f"group:{sample.group}" if sample.group else f"id:{sample.id}"


def choose_groups(groups: Iterable[str], share: float, seed: int = 0) -> frozenset[str]:
    """About `share` of the groups, at least one and never all of them; more share only adds groups.

    Raises:
      UserError: fewer than two groups, or a share outside (0, 1).

    Examples:
      >>> len(choose_groups(["coil1", "coil2", "coil3", "coil4"], share=0.5))
      2
    """
    ranked = sorted(set(groups), key=lambda g: rank(seed, g))
    if not 0 < share < 1:
        raise UserError(f"share: {share} is not between 0 and 1")
    if len(ranked) < 2:
        found = f"1 group ({printable(ranked[0])})" if ranked else "no samples"
        raise UserError(f"cannot be split by groups: {found}; needs 2 or more")
    return frozenset(ranked[: min(max(1, round(share * len(ranked))), len(ranked) - 1)])


def hold_out(dataset: Dataset, share: float = CALIBRATION, seed: int = 0) -> Dataset:
    """The same samples, where those of a share of the training groups that hold normals are in split `val` now.

    A defective sample of such a group goes with it: no group is split. Other splits stay as they are.

    Raises:
      UserError: fewer than two groups of normal training samples, or a share outside (0, 1).
    """
    held: frozenset[str] = frozenset()
    for product, own in by_product(normals(dataset.split("train"))).items():
        try:
            held |= choose_groups((group_of(s) for s in own.samples), share, seed)
        except UserError as e:
            raise UserError(f"{named(dataset, product)}: normal samples of split 'train': {e}") from e
    samples = (
        dataclasses.replace(s, split="val") if s.split == "train" and group_of(s) in held else s
        for s in dataset.samples
    )
    return dataclasses.replace(dataset, samples=tuple(samples))


def folds_of(dataset: Dataset, count: int, seed: int = 0) -> tuple[Dataset, ...]:
    """The samples in `count` parts of whole groups, about as many groups each; of fewer groups each is a part.

    The first part is what `choose_groups` gives for a share of 1 / count.

    Raises:
      UserError: fewer than two groups.

    Examples:
      >>> from pathlib import Path
      >>> shots = tuple(Sample(f"{tile}{i}", Path("a.png"), group=tile) for tile in "abc" for i in range(2))
      >>> [len(part) for part in folds_of(Dataset("tiles", (), shots), 2)]
      [4, 2]
    """
    each = []
    for product, own in by_product(dataset).items():
        try:
            each.append(_parts({group_of(s) for s in own.samples}, count, seed))
        except UserError as e:
            raise UserError(f"{named(dataset, product)}: normal samples to hold out in turn: {e}") from e
    sets = [frozenset().union(*one) for one in zip_longest(*each, fillvalue=frozenset[str]())]
    return tuple(
        dataclasses.replace(dataset, samples=tuple(s for s in dataset.samples if group_of(s) in part)) for part in sets
    )


def _parts(names: set[str], count: int, seed: int) -> list[frozenset[str]]:
    """Groups in `count` parts; of fewer groups each is a part."""
    count = max(2, min(count, len(names)))
    first = choose_groups(names, 1 / count, seed)
    rest = sorted(names - first, key=lambda g: rank(seed, g))
    return [first, *(frozenset(rest[i :: count - 1]) for i in range(count - 1))]


def by_product(dataset: Dataset) -> dict[str, Dataset]:
    """The samples of each product, by its name; of a set of one product all of them, by "".

    Examples:
      >>> from pathlib import Path
      >>> shots = Sample("a", Path("a.png"), product="bolt"), Sample("b", Path("b.png"), product="nut")
      >>> list(by_product(Dataset("parts", (), shots)))
      ['bolt', 'nut']
    """
    names = dict.fromkeys(s.product for s in dataset.samples) or {"": None}
    return {n: dataclasses.replace(dataset, samples=tuple(s for s in dataset.samples if s.product == n)) for n in names}


def named(dataset: Dataset, product: str) -> str:
    """The data set's name, with that of one of its products.

    Examples:
      >>> named(Dataset("parts", (), ()), "bolt"), named(Dataset("parts", (), ()), "")
      ('parts/bolt', 'parts')
    """
    return f"{dataset.name}/{product}" if product else dataset.name


def with_products(dataset: Dataset, products: str) -> Dataset:
    """The samples with products as a recipe takes them: `layout`, `group` or `none` (`FitDataConfig.products`).

    Raises:
      UserError: `group`, and samples without one.

    Examples:
      >>> from pathlib import Path
      >>> shots = Dataset("parts", (), (Sample("a", Path("a.png"), group="bolt"),))
      >>> [with_products(shots, products).samples[0].product for products in ("layout", "group")]
      ['', 'bolt']
    """
    if products == "layout":
        return dataset
    if products == "group" and (lacking := sum(not (s.group or s.product) for s in dataset.samples)):
        raise UserError(f"{dataset.name}: data.products group: {lacking} of {len(dataset)} samples have no group")
    as_product = lambda s: dataclasses.replace(s, product=s.group or s.product, group="")
    alone = lambda s: dataclasses.replace(s, product="")
    change = as_product if products == "group" else alone
    return dataclasses.replace(dataset, samples=tuple(change(s) for s in dataset.samples))


def one_class(dataset: Dataset, share: float = CALIBRATION, seed: int = 0) -> Parts:
    """Divides a data set by its split column: the test set is `test`, or `val` where there is no `test`.

    The threshold is calibrated on the normals of a published `val` beside a `test`; where there is none, on `share` of
    the training groups, held out by `hold_out`. Defective training samples (KolektorSDD2 has them) stand apart. Left
    out are training samples of which the group is also in the test set, or in the published `val`. Good images alone
    (`good_alone`) are all for training. A share of 0 holds none out.

    Raises:
      UserError: no normal training samples, or too few groups of them.
    """
    dataset, test = good_alone(dataset), side_to_test(dataset)
    published = _without(normals(dataset.split("val")), test) if len(dataset.split("test")) else dataset.split("test")
    train = _without(_without(normals(dataset.split("train")), test), published)
    if not len(train):
        raise UserError(
            f"{dataset.name}: needs normal samples with split 'train', of groups that are not in split 'test' or 'val';"
            f" found {counted(dataset)}. Name their class ({SHOWN}) and split in an index.csv, or give a folder"
            " train/good"
        )
    if not len(published) and share:
        train = hold_out(train, share, seed)
        train, published = train.split("train"), train.split("val")
    marred = _without(_without(defects(dataset.split("train")), test), published)
    return Parts(train, published, test, marred if len(marred) else None)


def good_alone(dataset: Dataset) -> Dataset:
    """A set in which nothing says otherwise, as normal samples of split `train`; any other set as it is.

    These are sets of normal samples without a split, and sets without any class, mask or split: plain folders.

    Examples:
      >>> from pathlib import Path
      >>> alone = good_alone(Dataset("images", (), (Sample("a", Path("a.png")), Sample("b", Path("b.png")))))
      >>> [(sample.normal, sample.split) for sample in alone.samples]
      [(True, 'train'), (True, 'train')]
    """
    samples = dataset.samples
    unknown = not dataset.classes and all(s.label < 0 and s.mask is None and not s.normal for s in samples)
    if any(s.split for s in samples) or not (unknown or all(is_normal(s, dataset) for s in samples)):
        return dataset
    return dataclasses.replace(
        dataset, samples=tuple(dataclasses.replace(s, normal=True, split="train") for s in samples)
    )


def side_to_test(dataset: Dataset) -> Dataset:
    """The samples to test on by the split column: `test`, or `val` where there is no `test` (possibly none)."""
    test = dataset.split("test")
    return test if len(test) else dataset.split("val")


def counted(dataset: Dataset) -> str:
    """The samples by split and by what is known of them, for messages.

    Examples:
      >>> from pathlib import Path
      >>> samples = Sample("a", Path("a.png"), label=0, split="test"), Sample("b", Path("b.png"))
      >>> counted(Dataset("d", ("good",), samples))
      "1 normal of split 'test', 1 of no class without a split"
    """
    kinds = Counter(
        ("normal" if is_normal(s, dataset) else "defective" if is_defective(s, dataset) else "of no class", s.split)
        for s in dataset.samples
    )
    said = (
        f"{n} {kind} " + (f"of split {split!r}" if split else "without a split") for (kind, split), n in kinds.items()
    )
    return ", ".join(said) or "no samples"


def propose_split(dataset: Dataset, share: float, seed: int = 0, mixed: bool = False) -> Dataset:
    """Gives the samples of a set that comes without a split the splits `train` and `test`, whole groups each.

    Groups with a defect are for testing, and `share` of the others train; with `mixed` (where every group has a defect)
    the share is one of all groups, and their defective samples are in split `train` too. Normal samples alone all
    train. Where there are otherwise too few groups to choose from, nothing trains.
    """
    if all(is_normal(s, dataset) and not s.split for s in dataset.samples):
        return good_alone(dataset)
    defective = {group_of(s) for s in dataset.samples if is_defective(s, dataset)}
    normal = {group_of(s) for s in dataset.samples if is_normal(s, dataset)}
    candidates = normal | defective if mixed else normal - defective
    train = choose_groups(candidates, share, seed) if len(candidates) > 1 else frozenset()
    samples = (
        dataclasses.replace(s, split="train" if group_of(s) in train else "test") if not s.split else s
        for s in dataset.samples
    )
    return dataclasses.replace(dataset, samples=tuple(samples))


def _without(dataset: Dataset, other: Dataset) -> Dataset:
    """The samples whose group has none in `other`."""
    groups = {group_of(s) for s in other.samples}
    return dataclasses.replace(dataset, samples=tuple(s for s in dataset.samples if group_of(s) not in groups))


def choose(dataset: Dataset, count: int, seed: int = 0) -> Dataset:
    """`count` samples drawn by the seed, in index order; a larger count with the same seed holds the smaller one's.

    Of several products, so many of each.

    Raises:
      UserError: the data set has fewer, or the count is below 1.
    """
    chosen: set[str] = set()
    for product, own in by_product(dataset).items():
        if not 1 <= count <= len(own):
            name = named(dataset, product)
            raise UserError(f"{name}: cannot choose {count} of {len(own)} samples; give 1 to {len(own)}")
        chosen |= {s.id for s in sorted(own.samples, key=lambda s: rank(seed, s.id))[:count]}
    return dataclasses.replace(dataset, samples=tuple(s for s in dataset.samples if s.id in chosen))
