"""The kinds of trained model: how each is recognised, loaded and used; and the methods that train them. A new kind is
one entry of `KINDS`, a new method one of `METHODS`.

Nothing of a kind is imported before one of its functions is called.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any, NoReturn

from jaxqc.error_rates import kept
from jaxqc.errors import UserError
from jaxqc.lazy import Late


@dataclass(frozen=True)
class Kind:
    """A kind of trained model, as functions. A loaded one names its kind by its attribute `kind`, and has `classes`,
    `batch`, `meta`, `outputs` and `predict(images, *, size=None, outputs=None)`. `load` gives it `rates`, its folder's
    misses and false alarms, and `measured`, the metrics of its newest evaluation.

    name: its key in `KINDS`.
    holds: (folder) → whether the folder is of this kind; reads no weights.
    load: (folder, which, fold, batch) → the model.
    predict: (model, images, out, *, size, progress, ...) → `FolderResult`: the files of a folder of images.
    evaluate: (model, data, out, *, run, split, size, worst, progress, ...) → an evaluation, with `print` and `closing`;
      where it takes `note`, lines on the data go to that, and where it takes `count` (`jaxqc.training.counting.Count`),
      it counts misses and false alarms by that.
    verify: (folder, tolerance) → `jaxqc.verdict.Verdict`.
    scorer: (model, threshold, devices) → `jaxqc.scorer.Scorer`, for inspections.
    graph: (model, height, width) → `jaxqc.graph.Graph`, for exports.
    engine: (model, name of the engine, its opener: (graph) → run, None = XLA's) → the model run by it; None = a kind
      that XLA alone runs.
    limits: (model, images) → of each image the largest factor on the model's thresholds at which it is called; None = a
      kind without thresholds.
    """

    name: str
    holds: Callable[[Path], bool]
    load: Callable[[str | Path, str, bool, int], Any]
    predict: Callable[..., Any]
    evaluate: Callable[..., Any]
    verify: Callable[[str | Path, float | None], Any]
    scorer: Callable[..., Any]
    graph: Callable[..., Any]
    engine: Callable[..., Any] | None = None
    limits: Callable[..., Any] | None = None


def _says(file: Path, key: str, value: str) -> bool:
    """True where a JSON file is sound and has this value."""
    try:
        return json.loads(file.read_text("utf-8"))[key] == value
    except (OSError, ValueError, KeyError, TypeError):
        return False


METHODS: Mapping[str, Callable[..., Any]] = {
    "saliency": Late("jaxqc.saliency.train", "train"),
    "classifier": Late("jaxqc.pretraining.train", "train"),
    "semi": Late("jaxqc.semi.train", "train_semi"),
}
"""By the recipe's `method`: (config, data, out, *, resume, progress, note, ...) → the finished run."""
UNFINISHED_FIT = "training of a detector"
"""`kind` in meta.json of a fit that has yet to train its detector to the end."""


def _single(module: str, name: str) -> Callable[[str | Path, str, bool, int], Any]:
    """The loader of a kind whose folder holds one checkpoint: (path, batch) of `module`."""

    def load(path: str | Path, which: str, fold: bool, batch: int) -> Any:
        if which != "best":
            raise UserError(f"--which: {which!r} goes with training runs, and {path} has one checkpoint; leave it out")
        return Late(module, name)(path, batch)

    return load


def _refuse(model: Any, *_: Any, **__: Any) -> NoReturn:
    raise UserError(f"{model.folder}: an export already; give the run's or the fit's folder")


KINDS: Mapping[str, Kind] = {
    "export": Kind(
        "export",
        holds=Late("jaxqc.export.folder", "is_export"),
        load=_single("jaxqc.export.exported", "load"),
        predict=Late("jaxqc.export.predict", "predict_folder"),
        evaluate=_refuse,
        verify=Late("jaxqc.export.verify", "verify"),
        scorer=Late("jaxqc.export.scorer", "make_scorer"),
        graph=_refuse,
        engine=Late("jaxqc.export.exported", "engine"),
    ),
    "segmentation": Kind(
        "segmentation",
        holds=lambda folder: _says(folder / "config.json", "method", "semi"),
        load=lambda path, which, fold, batch: Late("jaxqc.semi.model", "load_segmentation")(path, which, batch),
        predict=Late("jaxqc.semi.predict", "predict_folder"),
        evaluate=Late("jaxqc.semi.report", "evaluate"),
        verify=Late("jaxqc.semi.verify", "verify"),
        scorer=Late("jaxqc.semi.scorer", "make_scorer"),
        graph=Late("jaxqc.semi.graph", "graph"),
    ),
    "anomaly": Kind(
        "anomaly",
        holds=lambda folder: (folder / "state").is_dir() or _says(folder / "meta.json", "kind", UNFINISHED_FIT),
        load=_single("jaxqc.anomaly.folder", "load"),
        predict=Late("jaxqc.pictures.maps", "predict_folder"),
        evaluate=Late("jaxqc.anomaly.report", "evaluate"),
        verify=Late("jaxqc.anomaly.verify", "verify"),
        scorer=Late("jaxqc.anomaly.scorer", "make_scorer"),
        graph=Late("jaxqc.anomaly.graph", "graph"),
        engine=Late("jaxqc.anomaly.engine", "engine"),
        limits=Late("jaxqc.anomaly.limits", "limits"),
    ),
    "saliency": Kind(
        "saliency",
        holds=lambda folder: True,
        load=Late("jaxqc.saliency.model", "load"),
        predict=Late("jaxqc.saliency.predict", "predict_folder"),
        evaluate=Late("jaxqc.saliency.report", "evaluate"),
        verify=Late("jaxqc.saliency.verify", "verify"),
        scorer=Late("jaxqc.saliency.scorer", "make_scorer"),
        graph=Late("jaxqc.saliency.graph", "graph"),
        engine=Late("jaxqc.saliency.engine", "engine"),
        limits=Late("jaxqc.saliency.limits", "limits"),
    ),
}
"""By name, in the order in which a folder is tried. The last takes any that no other holds; its `load` names what is
missing there."""


def kind_of(thing: Any) -> Kind:
    """The kind of a folder (a path) or of a loaded model.

    Raises:
      UserError: an object that is no trained model.
    """
    if isinstance(thing, str | Path):
        return next(kind for kind in KINDS.values() if kind.holds(Path(thing)))
    name = str(getattr(thing, "kind", None))
    if name not in KINDS:
        raise UserError(f"checkpoint: {type(thing).__name__} is no trained model; give a folder, or what load returns")
    return KINDS[name]


def load(path: str | Path, which: str = "best", fold: bool = True, batch: int = 16, engine: str | None = None) -> Any:
    """The model of a training run, of a fit or of an export, by what its folder holds. An export is opened without any
    network's code.

    Args:
      which, fold: of a training run: `best` or `last` of its checkpoints, and whether batch norm is multiplied into the
        kernels. batch: most images on the device at once.
      engine: `xla`, or a key of `jaxqc.export.engines.ENGINES` that runs the model in its place; a run's or a fit's is
        converted for that once. None: `xla`, of an ONNX export the first engine that is installed.

    Raises:
      UserError: no such folder, or what it holds is absent, damaged or of another version. An engine that is not
        installed, does not take this model, or gives other outputs than XLA.

    Examples:
      >>> from jaxqc import fit
      >>> from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig
      >>> from jaxqc.data.synthetic.boards import write_mvtec
      >>> backbone = BackboneConfig("resnet18", weights="synthetic-resnet18", layers=(1,))
      >>> boards = write_mvtec("boards", normals=4, defects=2, size=32)
      >>> config = FitConfig(backbone=backbone, data=FitDataConfig(size=32), pasted=0)
      >>> fitted = fit(config, boards, "fit", progress=False)
      >>> load("fit").outputs
      ('map', 'score', 'mask', 'defective')
    """
    model = kind_of(path).load(path, which, fold, batch)
    if engine is not None:
        model = Late("jaxqc.export.engines.use", "with_engine")(model, engine)
    model.rates, model.measured = tuple(kept(path)), Late("jaxqc.training.counting", "measured_card")(path)
    return model


def only_taken(kind: Kind, verb: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options given for a kind's function `verb`, which has to take them all; UserError as of `check_options`."""
    check_options(given, kind.name, {other.name: getattr(other, verb) for other in KINDS.values()})
    return given


def check_options(
    given: Iterable[str], name: str, functions: Mapping[str, Callable[..., Any]], spelt: Mapping[str, str] | None = None
) -> None:
    """Raises UserError for an option that `functions[name]` does not take, naming those that do.

    spelt: an option's name in the message, where it is another: the flag that was typed.
    """
    takes = lambda other, option: option in signature(functions[other]).parameters
    for option in given:
        if not takes(name, option):
            others = " or ".join(other for other in functions if takes(other, option))
            shown = (spelt or {}).get(option, option)
            raise UserError(f"{shown}: goes with {others}, and this is {name}; leave it out")
