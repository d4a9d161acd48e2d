"""A saliency network measured on a side of a protocol's split, and what is written of it."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from jaxqc.config import TrainConfig
from jaxqc.data.coverage import coverage
from jaxqc.data.dataset import Dataset, with_rendering
from jaxqc.data.depth import remarks
from jaxqc.data.grouped import counted
from jaxqc.data.open import Keys, keys_of, layout_of, open_data
from jaxqc.data.readers import Reader
from jaxqc.data.rendering import rendering_of
from jaxqc.data.splits import apply_protocol, choose_protocol, read_ids, read_splits
from jaxqc.errors import UserError, suggest
from jaxqc.saliency.evaluate import Evaluation, evaluate_dataset, write_evaluation
from jaxqc.saliency.model import Model
from jaxqc.saliency.predict import far_below
from jaxqc.training.counting import Count, count_misses, kept_in
from jaxqc.training.record import evaluation_place

UNKNOWN = "published weights: the images that trained them are not known, and figures on such images promise too much"


def evaluate(
    model: Model,
    data: str | Path | Dataset,
    out: str | Path | None = None,
    *,
    run: str | Path | None = None,
    split: str = "test",
    size: int | None = None,
    worst: int = 10,
    progress: bool = True,
    protocol: str | None = None,
    layout: str | Reader | None = None,
    keys: Keys | None = None,
    count: Count | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> Evaluation:
    """Measures a network, and writes the result below `out` where it is given.

    Args:
      data: a data set or its path. `layout` as in `DataConfig`; None = the run's where the folder has it, else `auto`.
        `keys`: a TFDS set's features, None = the run's own.
      out: a folder; "" = `evaluation-PROTOCOL-SPLIT` in `run`, the run's folder.
      protocol: None takes the run's own and its kept split lists, where the data are the same; of other data their own
        split, or where they have none every sample.
      split: `test` or `train` of the protocol, or `all` samples, whatever their split.
      size: side of the network's input; None takes the run's. worst: number of worst cases to draw.
      count: counts misses and false alarms, which are kept in `run`. note: takes lines on the data worth showing.

    Raises:
      UserError: no such data, an unknown split, a protocol beside split `all`, or not one sample that can be measured.
    """
    own = model.config.data
    if split not in ("test", "train", "all"):
        raise UserError(f"split: {split!r}{suggest(split, ('test', 'train', 'all'))}")
    where = str(data) if isinstance(data, str | Path) else None
    if isinstance(data, str | Path):
        data = open_data(data, layout_of(data, layout, own.layout), skip_bad=True, keys=keys or keys_of(own))
    data = with_rendering(data, rendering_of(own))
    trained = "published" not in model.meta
    for line in (*remarks(data), *far_below(model.size, size), *(() if trained else (UNKNOWN,))):
        note(line)
    folder = None if run is None else Path(run)
    part, protocol, named = chosen(data, split, protocol, model.config, folder, trained)
    place = evaluation_place(out, run, protocol, split, data=where or data.name)
    result = evaluate_dataset(model, part, protocol, named, size, progress)
    seen, tuned = _used(None if run is None else Path(run), data)
    misses = count_misses(count, result.images, f"{data.name}, split {named}", trained=seen, tuned=tuned)
    misses = kept_in(run, misses, data.name, named, len(result.images), _overall(result))
    result = dataclasses.replace(result, misses=misses)
    about = {"data": where, **result.about}
    with place() as folder:
        result = dataclasses.replace(result, about=about, folder=folder, coverage=coverage(data, part))
        if folder is not None:
            write_evaluation(result, model, part, folder, worst)
    return result


def chosen(
    data: Dataset, split: str, protocol: str | None, config: TrainConfig, run: Path | None, trained: bool = True
) -> tuple[Dataset, str, str]:
    """The samples to measure, and the names of the protocol and the split for the record.

    The data of the run are divided as they were for its training. Other data have trained nothing: their own split
    counts, or where they have none all of them are for testing. So it is of published weights (`trained` False).

    Raises:
      UserError: the data have no such side, or a protocol beside split `all`.
    """
    if split == "all":
        if protocol:
            raise UserError(f"protocol: {protocol!r} chooses a side, and split 'all' takes every sample; leave one out")
        return data, "none", split
    test = split == "test"
    lists = run / "splits" if run is not None and (run / "splits" / "test.txt").is_file() else None
    kept = _kept(lists, data) if lists is not None and protocol in (None, config.data.protocol) else None
    if kept is not None or (protocol is None and lists is None and trained):
        protocol = choose_protocol(data, config.data.protocol)
    if kept is None and protocol is None:
        if not any(sample.split for sample in data.samples):
            if test:
                taught = read_ids(lists / "train.txt") if lists is not None else []
                common = len({*taught} & {sample.id for sample in data.samples})
                return data, "none", "all" + (f" ({common} have the ids of training images)" if common else "")
            raise UserError(
                f"{data.name}: without a split, and not what the run was trained on; give split test or all"
            )
        protocol = "index"
    assert protocol is not None
    protocol = choose_protocol(data, protocol)
    if kept is None and protocol == "index":
        return _by_index(data, split), protocol, split
    part = (kept or apply_protocol(data, protocol, config.seed))[test]
    return part, protocol, split + (" (overlaps train)" if protocol == "field" and test else "")


def _overall(result: Evaluation) -> dict[str, float]:
    """The measures of all images together."""
    return {name: value for name, value in result.metrics.items() if "/" not in name}


def _used(run: Path | None, data: Dataset) -> tuple[frozenset[Path], frozenset[Path]]:
    """The images that the run was trained on, and those that chose its threshold and its best step; none of other
    data."""
    lists = run / "splits" if run is not None else None
    halves = _kept(lists, data) if lists is not None and (lists / "test.txt").is_file() else None
    train, test = ((), ()) if halves is None else (half.samples for half in halves)
    return frozenset(s.image for s in train), frozenset(s.image for s in test)


def _kept(lists: Path, data: Dataset) -> tuple[Dataset, Dataset] | None:
    """The run's kept halves, where `data` is what it was trained on."""
    ids = {i for part in ("train", "test") for i in read_ids(lists / f"{part}.txt")}
    return read_splits(lists, data) if ids <= {sample.id for sample in data.samples} else None


def _by_index(data: Dataset, split: str) -> Dataset:
    """One side by the split column: `train`, or `val` (`test` where there is none).

    Raises:
      UserError: it is empty.
    """
    sides = ("train",) if split == "train" else ("val", "test")
    part = next((part for part in map(data.split, sides) if len(part)), None)
    if part is None:
        raise UserError(
            f"{data.name}: protocol 'index' needs samples with split {' or '.join(map(repr, sides))}; found"
            f" {counted(data)}; protocol 'seed' or split 'all' need none"
        )
    return part
