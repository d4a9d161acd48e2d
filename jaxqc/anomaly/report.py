"""A fitted detector measured on a side of a data set, and what is written of it."""

from dataclasses import replace
from pathlib import Path

from jaxqc.anomaly.evaluate import AnomalyEvaluation, evaluate_detector, write_evaluation
from jaxqc.anomaly.fit import divide
from jaxqc.anomaly.model import AnomalyModel
from jaxqc.data.crops import crops
from jaxqc.data.dataset import Dataset, with_span
from jaxqc.data.open import open_data
from jaxqc.data.readers import Reader
from jaxqc.errors import UserError, suggest
from jaxqc.fields import range_of
from jaxqc.training.record import evaluation_folder


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
    layout: str | Reader = "auto",
) -> AnomalyEvaluation:
    """Measures a fitted detector, and writes the result below `out` where it is given.

    Args:
      data: a data set or its path; `layout` as in `DataConfig`. Images are cut into crops as for the fit.
      out: a folder; "" = `evaluation-SPLIT` in `run`, the fit's folder.
      split: `test` is the data's test split (`val` where there is none), `train` the normal images that were fitted,
        `all` every sample.
      size: None, or the one that the detector was fitted at. worst: number of wrong decisions to draw.

    Raises:
      UserError: no such data, an unknown split, another size, or not one sample that can be measured.
    """
    model.check_size(size)
    options = model.config.data
    if isinstance(data, str | Path):
        data = open_data(data, options.layout if layout == "auto" else layout, skip_bad=True)
    data = with_span(data, range_of(options.range, "data.range"))
    if split == "all":
        part = crops(data, options.crop) if options.crop else data
    elif split in ("train", "test"):
        parts, _ = divide(data, options, model.config.seed)
        part = parts.test if split == "test" else parts.fit
    else:
        raise UserError(f"split: {split!r}{suggest(split, ('test', 'train', 'all'))}")
    folder = evaluation_folder(out, run, split)
    result = replace(evaluate_detector(model, part, split, progress), folder=folder)
    if folder is not None:
        write_evaluation(result, model, part, folder, worst)
    return result
