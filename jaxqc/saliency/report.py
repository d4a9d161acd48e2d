"""A saliency network measured on a side of a protocol's split, and what is written of it."""

import dataclasses
from pathlib import Path

from jaxqc.config import TrainConfig
from jaxqc.data.dataset import Dataset, with_span
from jaxqc.data.open import Keys, keys_of, open_data
from jaxqc.data.readers import Reader
from jaxqc.data.splits import apply_protocol, choose_protocol, read_splits
from jaxqc.errors import UserError, suggest
from jaxqc.fields import range_of
from jaxqc.saliency.evaluate import Evaluation, evaluate_dataset, write_evaluation
from jaxqc.saliency.model import Model
from jaxqc.training.record import evaluation_folder


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
    layout: str | Reader = "auto",
    keys: Keys | None = None,
) -> Evaluation:
    """Measures a network, and writes the result below `out` where it is given.

    Args:
      data: a data set or its path. `layout` as in `DataConfig`; `keys`: a TFDS set's features, None = the run's own.
      out: a folder; "" = `evaluation-PROTOCOL-SPLIT` in `run`, the run's folder.
      protocol: None takes the run's own (and its kept split lists, where the data are the same).
      split: `test` or `train` of the protocol, or `all` samples, whatever their split.
      size: side of the network's input; None takes the run's. worst: number of worst cases to draw.

    Raises:
      UserError: no such data, an unknown split, or not one sample that can be measured.
    """
    own = model.config.data
    folder = evaluation_folder(out, run, "none" if split == "all" else protocol or own.protocol, split)
    where = str(data) if isinstance(data, str | Path) else None
    if isinstance(data, str | Path):
        layout = own.layout if layout == "auto" and own.layout != "records" else layout
        data = open_data(data, layout, skip_bad=True, keys=keys or keys_of(own))
    data = with_span(data, range_of(own.range, "data.range"))
    if split == "all":
        part, protocol = data, "none"
    elif split in ("train", "test"):
        protocol = choose_protocol(data, protocol or own.protocol)
        halves = _split(data, protocol, model.config, None if run is None else Path(run))
        part = halves[split == "test"]
        split += " (overlaps train)" if protocol == "field" and split == "test" else ""
    else:
        raise UserError(f"split: {split!r}{suggest(split, ('test', 'train', 'all'))}")
    result = evaluate_dataset(model, part, protocol, split, size, progress)
    result = dataclasses.replace(result, about={"data": where, **result.about}, folder=folder)
    if folder is not None:
        write_evaluation(result, model, part, folder, worst)
    return result


def _split(data: Dataset, protocol: str, config: TrainConfig, run: Path | None) -> tuple[Dataset, Dataset]:
    """The run's kept lists where `data` is what it was trained on, else the protocol anew."""
    lists = run / "splits" if run is not None else None
    if lists is not None and protocol == config.data.protocol and (lists / "test.txt").is_file():
        kept = {i for part in ("train", "test") for i in (lists / f"{part}.txt").read_text("utf-8").splitlines()}
        if kept <= {sample.id for sample in data.samples}:
            return read_splits(lists, data)
    return apply_protocol(data, protocol, config.seed)
