"""The public API: `train` a network, `fit` a detector, `load` and `evaluate` either. Arguments are paths or values."""

from collections.abc import Callable, Sequence
from functools import partial
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxqc.config import TrainConfig, load_config
from jaxqc.errors import UserError, suggest
from jaxqc.fields import check_unused
from jaxqc.kinds import METHODS, check_options, kind_of, only_taken
from jaxqc.kinds import load as load

if TYPE_CHECKING:
    import jaxqc.anomaly.evaluate
    import jaxqc.anomaly.fit
    import jaxqc.anomaly.model
    import jaxqc.anomaly.products
    import jaxqc.anomaly.recipe
    import jaxqc.data.dataset
    import jaxqc.data.open
    import jaxqc.data.readers
    import jaxqc.inspection.results
    import jaxqc.inspection.rules
    import jaxqc.semi.evaluate
    import jaxqc.training.loop


def train(
    config: TrainConfig | str | Path,
    data: "str | Path | jaxqc.data.dataset.Dataset | jaxqc.data.dataset.ArrayDataset",
    out: str | Path,
    *,
    val: "jaxqc.data.dataset.Dataset | jaxqc.data.dataset.ArrayDataset | None" = None,
    weights: str | Path | None = None,
    resume: bool = True,
    progress: bool = True,
    note: Callable[[str], None] | None = None,
) -> "jaxqc.training.loop.RunResult":
    """Trains by a recipe and leaves a run folder in `out`: checkpoints, logs, split lists, config and golden record.

    Args:
      config: a `TrainConfig` (or a `SemiTrainConfig`, for few labels), or a recipe's name or path. Its `method` is a
        key of `METHODS`; a classifier leaves its backbone in `out/backbone.npz`.
      data: a data set or its path, which the recipe's protocol splits; with `val` given, the training half itself. Few
        labels and classifiers take a path.
      out: the run's folder. With `resume`, a run in it goes on where it ended.
      val: of a saliency network, the validation half. weights: of a classifier, a file or short name to start from.
      note: takes lines worth showing (samples skipped); None prints nothing.

    Raises:
      UserError: whatever is wrong with recipe, data or folder. SystemExit: 143 after SIGTERM, the state being saved.

    Examples:
      >>> train(TrainConfig(), "steel", "runs/steel")
      Traceback (most recent call last):
      jaxqc.errors.UserError: steel: no such folder; give the data set's folder
    """
    config = config if isinstance(config, TrainConfig) else load_config(config)
    check_unused(config, "train")
    own = {name: value for name, value in {"val": val, "weights": weights}.items() if value is not None}
    if config.method not in METHODS:
        raise UserError(f"method: {config.method!r}{suggest(config.method, METHODS)}")
    check_options(own, config.method, METHODS)
    from jaxqc.training.checkpoint import steps_in
    from jaxqc.training.folder_sums import check_folder
    from jaxqc.training.record import alone_in

    with alone_in(out, note):
        if steps_in(Path(out) / "checkpoints"):
            check_folder(Path(out))
        return METHODS[config.method](config, data, out, resume=resume, progress=progress, note=note, **own)


def fit(
    config: "jaxqc.anomaly.recipe.FitConfig | str | Path | None",
    data: "str | Path | jaxqc.data.dataset.Dataset",
    out: str | Path | None = None,
    *,
    progress: bool = True,
    note: Callable[[str], None] | None = None,
    flags: Sequence[str] = (),
    minutes: float = 4.0,
) -> "jaxqc.anomaly.fit.Fitted":
    """Fits a detector to the normal images of split `train` and calibrates its thresholds on held-out normals.

    Args:
      config: a `FitConfig`, or the name or path of a recipe; None chooses one by trial (`jaxqc.anomaly.choose`).
      data: a data set or its path. Good images alone will do, also as a plain folder of them; masks are not needed.
      out: the fit's folder, new or empty, or that of a fit whose training goes on; None keeps the model in memory.
      note: takes lines worth showing (weights, thresholds); None prints nothing.
      flags, minutes: of the choice: recipe flags that narrow it, and the time after which nothing more is tried.

    Raises:
      UserError: whatever is wrong with recipe, weights, data or folder.

    Examples:
      >>> from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig
      >>> from jaxqc.data.synthetic.boards import write_mvtec
      >>> backbone = BackboneConfig("resnet18", weights="synthetic-resnet18", layers=(1,))
      >>> boards = write_mvtec("boards", normals=4, defects=2, size=32)
      >>> config = FitConfig(backbone=backbone, data=FitDataConfig(size=32), pasted=0)
      >>> fitted = fit(config, boards, "fit", progress=False)
      >>> import numpy as np
      >>> fitted.folder.name, fitted.model.predict(np.zeros((32, 32, 3), np.uint8)).shape
      ('fit', (32, 32))
    """
    from jaxqc.anomaly.from_data import fit_data

    return fit_data(config, data, out, flags, minutes, progress, note or (lambda text: None))


def evaluate(
    checkpoint: Any,
    data: "str | Path | jaxqc.data.dataset.Dataset",
    out: str | Path | None = None,
    *,
    which: str = "best",
    run: str | Path | None = None,
    split: str = "test",
    size: int | None = None,
    worst: int = 10,
    progress: bool = True,
    protocol: str | None = None,
    layout: "str | jaxqc.data.readers.Reader | None" = None,
    keys: "jaxqc.data.open.Keys | None" = None,
    splits: str | Path = "",
    window: bool | None = None,
    sizes: tuple[int, ...] = (),
    rules: "jaxqc.inspection.rules.GradeRules | str | Path | None" = None,
    threshold: float | None = None,
    note: Callable[[str], None] | None = None,
) -> Any:
    """Measures a model of any kind on one side of a split, and writes the result below `out` where it is given.

    Args:
      checkpoint: a folder of a training run or a fit, or a loaded model. `which`: `best` or `last` of a run's
        checkpoints. `run`: a loaded model's folder.
      data: a data set or its path; of a segmentation network the folder in which its lists' paths begin.
      out: a folder; "" = one named after the split in the run's folder.
      split: `test`, `train` or `all`; of a segmentation network `test` (or `val`), `select`, `labeled`, `unlabeled` or
        `all`.
      size: of the network's input (`predict`). worst: number of worst cases to draw.
      protocol, layout, keys: of a saliency network (`jaxqc.saliency.report.evaluate`); `layout` of a detector, too:
        None takes the model's own where the folder has it, `auto` goes by the folder alone.
      splits, window, sizes: of a segmentation network (`jaxqc.semi.report.evaluate`).
      rules, threshold: as of `inspect`. Where something is written, misses and false alarms are counted by them, image
        by image as an inspection would, and kept in the run's folder.
      note: takes lines on the data worth showing; None prints nothing.

    Returns:
      `jaxqc.saliency.evaluate.Evaluation`, `jaxqc.anomaly.evaluate.AnomalyEvaluation` (of several products
      `jaxqc.anomaly.products.ProductsEvaluation`) or `jaxqc.semi.evaluate.SegmentationEvaluation`.

    Raises:
      UserError: no such model or data, an unknown split, an option of another kind, or not one sample that can be
        measured.

    Examples:
      >>> from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig
      >>> from jaxqc.data.synthetic.boards import write_mvtec
      >>> backbone = BackboneConfig("resnet18", weights="synthetic-resnet18", layers=(1,))
      >>> boards = write_mvtec("boards", normals=4, defects=2, size=32)
      >>> config = FitConfig(backbone=backbone, data=FitDataConfig(size=32), pasted=0)
      >>> fitted = fit(config, boards, "fit", progress=False)
      >>> evaluation = evaluate("fit", boards, "measured", progress=False)
      >>> "image_auroc" in evaluation.metrics, Path("measured").is_dir()
      (True, True)
    """
    if isinstance(checkpoint, str | Path):
        run, checkpoint = checkpoint, load(checkpoint, which)
    kind = kind_of(checkpoint)
    given = {"protocol": protocol, "layout": layout, "keys": keys, "splits": splits, "window": window, "sizes": sizes}
    own: dict[str, Any] = {**only_taken(kind, "evaluate", {k: v for k, v in given.items() if v not in (None, "", ())})}
    takes = signature(kind.evaluate).parameters
    if note is not None and "note" in takes:
        own["note"] = note
    if out is not None and "count" in takes:
        from jaxqc.inspection.measuring import count_errors
        from jaxqc.inspection.rules import load_rules

        rules = load_rules(rules) if isinstance(rules, str | Path) else rules
        own["count"] = partial(count_errors, checkpoint, rules=rules, threshold=threshold, progress=progress)
    return kind.evaluate(
        checkpoint,
        data,
        out,
        run=run,
        split=split,
        size=size,
        worst=worst,
        progress=progress,
        **own,
    )


def evaluate_detector(
    checkpoint: "str | Path | jaxqc.anomaly.model.AnomalyModel",
    data: "str | Path | jaxqc.data.dataset.Dataset",
    out: str | Path | None = None,
    split: str = "test",
    layout: "str | jaxqc.data.readers.Reader | None" = None,
    worst: int = 10,
    progress: bool = True,
) -> "jaxqc.anomaly.evaluate.AnomalyEvaluation | jaxqc.anomaly.products.ProductsEvaluation":
    """`evaluate` of a detector.

    Examples:
      >>> evaluate_detector("nothing", "boards")
      Traceback (most recent call last):
      jaxqc.errors.UserError: nothing: no such run folder; give the --out folder of a training run
    """
    return evaluate(checkpoint, data, out, split=split, layout=layout, worst=worst, progress=progress)


def evaluate_segmentation(
    checkpoint: Any, data: str | Path, out: str | Path | None = None, **options: Any
) -> "jaxqc.semi.evaluate.SegmentationEvaluation":
    """`evaluate` of a segmentation network.

    Examples:
      >>> evaluate_segmentation("nothing", "roads")
      Traceback (most recent call last):
      jaxqc.errors.UserError: nothing: no such run folder; give the --out folder of a training run
    """
    return evaluate(checkpoint, data, out, **options)


def inspect(
    checkpoint: Any,
    images: str | Path,
    out: str | Path,
    *,
    rules: "jaxqc.inspection.rules.GradeRules | str | Path | None" = None,
    ledger: str | Path | None = None,
    layout: "str | jaxqc.data.readers.Reader" = "",
    piece: str | None = None,
    mm_per_pixel: float | None = None,
    threshold: float | None = None,
    which: str = "best",
    batch: int = 16,
    devices: int = 0,
    worst: int = 12,
    aql: float = 1.0,
    progress: bool = True,
    note: Callable[[str], None] | None = None,
    watch: float | None = None,
    every: int | None = None,
) -> "jaxqc.inspection.results.Inspection":
    """Inspects images with any model: defects, verdicts and severities into a ledger, lots graded, suppliers ranked.

    Args:
      checkpoint: a folder of a training run or a fit, or a loaded model. which, batch: as `load`.
      rules: a config file of `GradeRules`, or such rules; the other arguments as `jaxqc.inspection.inspect.inspect`.

    Raises:
      UserError: whatever is wrong with checkpoint, images, rules, ledger or folder. SystemExit: 143 after SIGTERM.

    Examples:
      >>> from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig
      >>> from jaxqc.data.synthetic.boards import write_mvtec
      >>> backbone = BackboneConfig("resnet18", weights="synthetic-resnet18", layers=(1,))
      >>> boards = write_mvtec("boards", normals=4, defects=2, size=32)
      >>> config = FitConfig(backbone=backbone, data=FitDataConfig(size=32), pasted=0)
      >>> fitted = fit(config, boards, "fit", progress=False)
      >>> found = inspect("fit", "boards/test", "inspected", progress=False)
      >>> found.new, found.report.exists()  # two defective boards, two without a defect
      (4, True)
    """
    from jaxqc.inspection.inspect import inspect as inspect_images
    from jaxqc.inspection.rules import load_rules

    rules = load_rules(rules) if isinstance(rules, str | Path) else rules
    model = load(checkpoint, which, batch=batch) if isinstance(checkpoint, str | Path) else checkpoint
    return inspect_images(
        model,
        images,
        out,
        rules=rules,
        ledger=ledger,
        layout=layout,
        piece=piece,
        mm_per_pixel=mm_per_pixel,
        threshold=threshold,
        devices=devices,
        worst=worst,
        aql=aql,
        progress=progress,
        note=note,
        watch=watch,
        every=every,
    )
