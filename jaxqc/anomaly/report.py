"""A fitted detector measured on a side of a data set, and what is written of it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from jaxqc.anomaly.evaluate import AnomalyEvaluation, evaluate_detector, write_evaluation
from jaxqc.anomaly.model import AnomalyModel
from jaxqc.anomaly.parts import cut, divide
from jaxqc.anomaly.products import ProductsEvaluation, counting, evaluate_products, write_products
from jaxqc.data.coverage import Coverage, coverage
from jaxqc.data.dataset import Dataset, with_rendering
from jaxqc.data.depth import remarks
from jaxqc.data.grouped import counted, good_alone, side_to_test, with_products
from jaxqc.data.load import without_absent_masks
from jaxqc.data.open import Keys, keys_of, layout_of, open_data
from jaxqc.data.readers import Reader
from jaxqc.data.rendering import rendering_of
from jaxqc.errors import UserError, suggest
from jaxqc.training.counting import Count, count_misses, kept_in
from jaxqc.training.record import data_digest, evaluation_place


def evaluate(
    model: AnomalyModel,
    data: str | Path | Dataset,
    out: str | Path | None = None,
    *,
    run: str | Path | None = None,
    split: str = "test",
    size: int | None = None,
    worst: int = 10,
    progress: bool = True,
    layout: str | Reader | None = None,
    keys: Keys | None = None,
    count: Count | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> AnomalyEvaluation | ProductsEvaluation:
    """Measures a fitted detector, and writes the result below `out` where it is given; of several products, each.

    Args:
      data: a data set or its path, which needs nothing for training. Images are cut into crops as for the fit.
      layout: as in `DataConfig`; None = that of the fit where the folder has it, else `auto`.
      keys: words on the data (`jaxqc.data.open.Keys`); None = those of the fit.
      out: a folder; "" = `evaluation-SPLIT` in `run`, the fit's folder.
      split: `test` is the data's test split (`val` where there is none, every sample where no sample has a split),
        `train` the normal images that were fitted, `all` every sample.
      size: None, or the one that the detector was fitted at. worst: number of wrong decisions to draw.
      count: counts misses and false alarms, which are kept in `run`. note: takes lines on the data worth showing.

    Raises:
      UserError: no such data, an unknown split, another size, or not one sample that can be measured.
    """
    model.check_size(size)
    options = model.config.data
    where = str(data) if isinstance(data, str | Path) else None
    if isinstance(data, str | Path):
        data = open_data(data, layout_of(data, layout, options.layout), skip_bad=True, keys=keys or keys_of(options))
    data = with_products(without_absent_masks(data), options.products)
    data = with_rendering(data, rendering_of(options))
    for line in remarks(data):
        note(line)
    if split == "train":
        part, left = divide(data, options, model.config.seed, model.config.folds)[0].fit, model.meta.get("left_out", ())
        part = replace(part, samples=tuple(s for s in part.samples if str(s.image) not in left))
        account = Coverage(len(data), {"not fitted": len(data) - len({s.image for s in part.samples})})
    elif split in ("test", "all"):
        whole = data if split == "all" else _tested(data, model)
        part = cut(whole, options.crop)
        account = coverage(data, whole)
        uncut = len({s.image for s in whole.samples} - {s.image for s in part.samples})
        account = account.plus("that cannot be cut into crops (without a mask)", uncut)
    else:
        raise UserError(f"split: {split!r}{suggest(split, ('test', 'train', 'all'))}")
    place = evaluation_place(out, run, split, data=where or data.name)
    fitted, held_out = _used(data, model)

    def measured(own: AnomalyModel, some: Dataset) -> AnomalyEvaluation:
        result = evaluate_detector(own, some, split, progress)
        where_from, by = f"{some.name}, split {split}", counting(count, own)
        misses = count_misses(by, result.images, where_from, trained=fitted, tuned=held_out)
        return replace(result, misses=kept_in(run, misses, some.name, split, result.measured, result.metrics))

    if model.products and any(s.product for s in part.samples):
        several = evaluate_products(model, part, account, split, measured, note)
        with place() as folder:
            several = replace(several, folder=folder, about={"data": where})
            if folder is not None:
                write_products(several, model, part, folder, worst)
        return several
    if model.products:
        note(f"{data.name}: no product is named; measured by the thresholds of all {len(model.products)} together")
    result = measured(model, part)
    account = replace(account, left_out={**account.left_out, **result.coverage.left_out})
    with place() as folder:
        result = replace(result, folder=folder, coverage=account, about={"data": where, **result.about})
        if folder is not None:
            write_evaluation(result, model, part, folder, worst)
    return result


def _tested(data: Dataset, model: AnomalyModel) -> Dataset:
    """The samples to test on; all of them where no sample has a split, unless they are those of the fit.

    Raises:
      UserError: there are none.
    """
    unsplit = not any(sample.split for sample in data.samples)
    part = data if unsplit else side_to_test(data)
    if not len(part) or (unsplit and _fitted(data, model)):
        found = "it holds the images that were fitted" if len(part) else f"it has {counted(data)}"
        raise UserError(
            f"{data.name}: nothing to test on ({found}); give test images in test/KIND or with split 'test', or measure"
            " all with --split all"
        )
    return part


def _fitted(data: Dataset, model: AnomalyModel) -> bool:
    """True where good images alone are those of the fit, by their ids."""
    return good_alone(data) is not data and bool(_used(data, model)[0])


def _used(data: Dataset, model: AnomalyModel) -> tuple[frozenset[Path], frozenset[Path]]:
    """The images that were fitted, by the data's ids, and those that chose the thresholds; none of other data."""
    try:
        parts, labelled = divide(data, model.config.data, model.config.seed, model.config.folds)
    except UserError:  # too few of them to have been fitted
        return frozenset(), frozenset()
    if data_digest(parts.fit) != model.meta.get("data_digest"):
        return frozenset(), frozenset()
    chose = (*parts.calibrate.samples, *(labelled.samples if labelled else ()))
    return frozenset(s.image for s in parts.fit.samples), frozenset(s.image for s in chose)
