"""From a data set with masks to a saliency run: split, statistics and method, then the one loop."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from jaxqc.config import TrainConfig
from jaxqc.data.dataset import ArrayDataset, Dataset, with_rendering
from jaxqc.data.depth import remarks
from jaxqc.data.load import load_arrays
from jaxqc.data.open import keys_of, open_data
from jaxqc.data.rendering import rendering_of
from jaxqc.data.screening import usable
from jaxqc.data.splits import apply_protocol, choose_protocol, write_splits
from jaxqc.data.tile_samples import all_tiles, drawn_tiles
from jaxqc.errors import UserError
from jaxqc.saliency.method import make_method
from jaxqc.saliency.networks import described, storable
from jaxqc.training.checkpoint import steps_in
from jaxqc.training.loop import RunResult, run
from jaxqc.training.pixel_statistics import pixel_statistics
from jaxqc.training.record import weights_digest


def train(
    config: TrainConfig,
    data: str | Path | Dataset | ArrayDataset,
    out: str | Path,
    *,
    val: Dataset | ArrayDataset | None = None,
    resume: bool = True,
    progress: bool = True,
    note: Callable[[str], None] | None = None,
) -> RunResult:
    """Trains a saliency network and leaves a run folder in `out`.

    Args:
      data: a data set or its path, which the recipe's protocol splits; with `val` given, the training half itself.
      note: takes lines worth showing (samples skipped); None prints nothing.

    Raises:
      UserError: whatever is wrong with recipe, data or folder. SystemExit: 143 after SIGTERM, the state being saved.
    """
    note, out = note or (lambda text: None), Path(out)
    options = config.data
    if isinstance(data, str | Path):
        data = open_data(data, options.layout, options.skip_bad, keys_of(options))
    if isinstance(data, Dataset):
        data = with_rendering(data, rendering_of(options))
        for line in remarks(data):
            note(line)
    if val is None:
        if isinstance(data, ArrayDataset):
            raise UserError("train: arrays have no protocol to split them; give val= as well")
        options = dataclasses.replace(options, protocol=choose_protocol(data, options.protocol))
        config = dataclasses.replace(config, data=options)
        data, val = apply_protocol(data, options.protocol, config.seed)
        # A folder with checkpoints keeps its lists: `fit` may yet refuse this call, and evaluation trusts them.
        if jax.process_index() == 0 and not steps_in(out / "checkpoints"):
            write_splits(out / "splits", data, val)
    name, skipped = data.name, ()
    if options.tiling is not None:
        data, val, skipped = _in_tiles(data, val, config)
    if options.mode == "resident":
        data, val = (_resident(part, config) for part in (data, val))
        skipped += data.skipped + val.skipped
    elif options.skip_bad or not steps_in(out / "checkpoints"):  # a resumed run has passed this already
        (data, bad), (val, bad_val) = (usable(part, options.size, options.skip_bad) for part in (data, val))
        skipped += bad + bad_val
    for line in skipped:
        note(f"skipped {line}")
    mean, std, foreground = pixel_statistics(data, out if resume else None, config.model.range)
    method = make_method(config, data.classes, mean, std, foreground)
    meta: dict[str, Any] = {"mean": mean, "std": std, "foreground": foreground}
    if method.start is not None:
        meta["start"] = {"weights": config.model.weights, "sha256": weights_digest(method.start)}
    meta["objective"] = described(method.objective)
    meta |= {"dataset": name, "train": len(data), "val": len(val), "skipped": list(skipped)}
    return run(method, storable(config), data, val, out, resume=resume, progress=progress, meta=meta)


def _in_tiles(
    data: Dataset | ArrayDataset, val: Dataset | ArrayDataset, config: TrainConfig
) -> tuple[Dataset, Dataset, tuple[str, ...]]:
    """The drawn tiles to train on, all of those to measure, and a line for each image left out."""
    tiling = config.data.tiling
    if tiling is None or not isinstance(data, Dataset) or not isinstance(val, Dataset):
        raise UserError(f"data.tile={config.data.tile}: arrays are not cut; give the files, or set it to 0")
    bad: list[str] | None = [] if config.data.skip_bad else None
    data = drawn_tiles(data, tiling, config.data.tile_defects, config.seed, bad)
    return data, all_tiles(val, tiling, bad), tuple(bad or ())


def _resident(part: Dataset | ArrayDataset, config: TrainConfig) -> ArrayDataset:
    return part if isinstance(part, ArrayDataset) else load_arrays(part, config.data.size, config.data.skip_bad)
