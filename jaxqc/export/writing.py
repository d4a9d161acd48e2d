"""Writes an export: the graph, its weights, its record, and the proof that it gives what the checkpoint gives."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from jaxqc.data.resizing import sides
from jaxqc.errors import UserError, suggest
from jaxqc.export import onnx, stablehlo
from jaxqc.export.folder import (
    FORMAT,
    GOLDEN,
    GRAPHS,
    META,
    VERSION,
    WEIGHTS,
    landing,
    save_arrays,
    save_json,
)
from jaxqc.export.golden import golden_images
from jaxqc.export.graph import graph_of
from jaxqc.export.parity import SHARE, TOLERANCE, differences, outside
from jaxqc.graph import Graph
from jaxqc.kinds import load
from jaxqc.outputs import MEANINGS
from jaxqc.training.golden import read_golden
from jaxqc.training.record import environment, weights_digest

Format = Literal["stablehlo", "onnx"]


def write(
    checkpoint: str | Path | Any,
    out: str | Path,
    format: Format = "stablehlo",
    *,
    height: int = 0,
    width: int = 0,
    batch: int = 0,
    platforms: Sequence[str] = ("cpu", "cuda"),
    which: str = "best",
) -> dict[str, Any]:
    """Exports a checkpoint's model into the new folder `out` and returns what its meta.json says.

    The graph is run on golden images (those of the checkpoint, where it has them) and must agree with the model; else
    nothing is written.

    Args:
      checkpoint: a run's or a fit's folder, or a loaded model.
      height, width: of the images in pixels; 0 leaves open what can be (`graph.graph_of`).
      batch: images at once; 0 leaves it open.
      platforms: of `cpu`, `cuda`, `rocm`, `tpu`, for StableHLO. which: `best` or `last`, of a training run.

    Raises:
      UserError: a bad argument, a model that cannot be exported so, outputs that differ too much, or a folder that
        cannot be written.

    Examples:
      >>> write("nothing", "exported")
      Traceback (most recent call last):
      jaxqc.errors.UserError: nothing: no such run folder; give the --out folder of a training run
    """
    if format not in GRAPHS:
        raise UserError(f"--format: {format!r}{suggest(format, GRAPHS)}")
    if batch < 0:
        raise UserError(f"--batch: {batch} must be 1 or more, or symbolic")
    folder = Path(checkpoint) if isinstance(checkpoint, str | Path) else None
    model = checkpoint if folder is None else load(folder, which)
    own = getattr(model, "size", None)
    if format == "onnx" and not height and isinstance(own, int | tuple):
        height, width = sides(own)
    graph = graph_of(model, height, width)
    golden = read_golden(folder)["image"] if folder is not None and (folder / GOLDEN).is_file() else None
    images = golden_images(graph, golden)[: batch or None]
    expected = {name: np.asarray(value) for name, value in jax.jit(graph.run)(graph.weights, images).items()}
    meta = _about(model, graph, format)
    with landing(Path(out)) as part:
        file = part / GRAPHS[format]
        if format == "stablehlo":
            exported = stablehlo.lowered(graph, batch, platforms)
            stablehlo.save(exported, file)
            save_arrays(part / WEIGHTS, {name: np.asarray(value) for name, value in graph.weights.items()})
            outputs, found = stablehlo.outputs_of(exported), stablehlo.run(exported, graph, images, batch)
            meta["platforms"] = list(exported.platforms)
        else:
            outputs = onnx.convert(graph, batch, file)
            found = onnx.run_onnx(file, images, batch)
        sizes = [batch or "b", graph.height or "h", graph.width or "w", 3]
        meta["input"] = {"name": "image", "dtype": "uint8", "shape": sizes}
        meta["outputs"] = {name: {**value, "meaning": MEANINGS[name]} for name, value in outputs.items()}
        meta["parity"] = None if found is None else _agreement(found, expected, graph.about["dtype"], format)
        save_arrays(part / GOLDEN, {"image": images, **expected})
        save_json(part / META, meta)
    return meta


def _agreement(
    found: dict[str, np.ndarray], expected: dict[str, np.ndarray], dtype: str, format: str
) -> dict[str, Any]:
    """The differences and what they may be. Raises UserError where one is larger."""
    try:
        apart = differences(found, expected)
    except ValueError as e:
        raise UserError(f"--format {format}: the exported graph gives {e}; nothing was written") from e
    tolerance = TOLERANCE[dtype]
    if far := outside(apart, expected, tolerance):
        raise UserError(f"--format {format}: differs from the checkpoint ({'; '.join(far)}); nothing was written")
    return {"tolerance": tolerance, "share": SHARE, "differences": apart}


def _about(model: Any, graph: Graph, format: str) -> dict[str, Any]:
    """The record but for input, outputs and parity."""
    known = ("step", "data_digest", "git_commit", "dataset", "metrics")
    source = {key: model.meta[key] for key in known if model.meta.get(key) is not None}
    weights = {
        "digest": weights_digest(graph.weights),
        "count": sum(value.size for value in graph.weights.values()),
        "bytes": sum(value.nbytes for value in graph.weights.values()),
    }
    return {
        VERSION: FORMAT,
        "kind": graph.kind,
        "graph": format,
        **graph.about,
        "classes": list(model.classes),
        "range": list(model.config.data.range),
        "channels": list(model.config.data.channels),
        "weights": weights,
        "checkpoint": source,
        **environment(),
    }
