"""From labelled images to a backbone file: the run by the one loop, then the best checkpoint in our own format."""

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from jaxqc.config import TrainConfig
from jaxqc.data.classes import open_classes
from jaxqc.data.dataset import with_rendering
from jaxqc.data.load import load_arrays
from jaxqc.data.rendering import rendering_of
from jaxqc.data.splits import apply_protocol, choose_protocol, write_splits
from jaxqc.errors import UserError
from jaxqc.models.arrays import flatten
from jaxqc.models.pretrained import LoadReport
from jaxqc.models.resnet import LAYERS, backbone_spec
from jaxqc.pretraining.method import Classifier
from jaxqc.training.checkpoint import load_variables, steps_in
from jaxqc.training.folder_sums import kept_file
from jaxqc.training.loop import RunResult, run
from jaxqc.types import Variables
from jaxqc.weights.load import Weights, load_weights, save_weights

FILE = "backbone.npz"
"""In the run's folder: what `jaxqc.weights.load.load_weights` takes."""


def train(
    config: TrainConfig,
    data: str | Path,
    out: str | Path,
    *,
    weights: str | Path | None = None,
    resume: bool = True,
    progress: bool = True,
    note: Callable[[str], None] | None = None,
) -> RunResult:
    """`train_backbone` as one of `jaxqc.kinds.METHODS`. note: takes lines worth showing; None prints nothing."""
    if not isinstance(data, str | Path):
        raise UserError("train: a classifier takes a folder of classes or a TFDS set; give its path")
    result, trained = train_backbone(config, data, out, weights, resume, progress, note)
    if note is not None and jax.process_index() == 0:
        note(f"{Path(out) / FILE}: {trained.model}, {trained.source}")
    return result


def train_backbone(
    config: TrainConfig,
    data: str | Path,
    out: str | Path,
    weights: str | Path | None = None,
    resume: bool = True,
    progress: bool = True,
    note: Callable[[str], None] | None = None,
) -> tuple[RunResult, Weights]:
    """Trains `config.model.name` (one of `BACKBONES`) as a classifier and writes `OUT/backbone.npz`.

    Args:
      data: folders of classes or a TFDS set (`jaxqc.data.classes`), split as `config.data.protocol` says.
      weights: a file or short name to start from. A plain one in a CBAM network leaves its gates at exact identity, to
        be opened by training; from scratch they start as published. Its head is taken where the classes are as many.
      note: takes lines on what of the folder is not used; None prints nothing.

    Raises:
      UserError: whatever is wrong with recipe, data, weights or folder.
    """
    out = Path(out)
    if config.method != "classifier":
        raise UserError(f"method: {config.method!r}; a backbone's recipe has method='classifier'")
    backbone_spec(config.model.name)
    if config.model.width != 1:
        raise UserError(f"model.width={config.model.width}: a backbone has the width of its name; leave it at 1")
    options = config.data
    dataset = open_classes(data, options.image_key, options.label_key)
    if note is not None:
        for line in dataset.warnings:
            note(line)
    dataset = with_rendering(dataset, rendering_of(options))
    options = dataclasses.replace(options, protocol=choose_protocol(dataset, options.protocol))
    config = dataclasses.replace(config, data=options)
    train, val = apply_protocol(dataset, options.protocol, config.seed)
    if jax.process_index() == 0 and not steps_in(out / "checkpoints"):
        write_splits(out / "splits", train, val)
    if options.mode == "resident":
        train, val = (load_arrays(part, options.size, options.skip_bad) for part in (train, val))

    start = _start(config.model.name, weights, len(dataset.classes))
    variables = start.variables if start else None
    method = Classifier(config.model.name, dataset.classes, config.model.dtype, config.augment, variables)
    origin = f"from {start.source} ({start.sha256[:8]})" if start else "from scratch"
    meta: dict[str, Any] = {"dataset": dataset.name, "train": len(train), "val": len(val), "start": origin}
    result = run(method, config, train, val, out, resume=resume, progress=progress, meta=meta)

    best, _, _ = load_variables(out, "best")
    count = len(flatten(best))
    report = LoadReport(config.model.name, LAYERS, count, classes=len(dataset.classes))
    source = f"trained on {dataset.name} ({len(train)} images) {origin}"
    trained = Weights(config.model.name, LAYERS, best, report, source, digest(best))
    if jax.process_index() == 0:
        with kept_file(out, FILE) as part:
            whole = part.with_suffix(".npz")  # its name says its format
            save_weights(whole, trained)
            whole.replace(part)
    return result, trained


def digest(variables: Variables) -> str:
    """SHA-256 over names and values."""
    h = hashlib.sha256()
    for path, value in sorted(flatten(variables).items()):
        h.update("/".join(path).encode())
        h.update(value.tobytes())
    return h.hexdigest()


def _start(model: str, weights: str | Path | None, classes: int) -> Weights | None:
    if weights is None:
        return None
    found = load_weights(weights, model, LAYERS)
    whole = load_weights(weights, model, LAYERS, head=True) if "fc.weight" in found.report.beyond else found
    return whole if whole.report.classes == classes else found
