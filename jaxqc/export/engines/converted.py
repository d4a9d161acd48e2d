"""Graphs of loaded models converted once, kept, and compared with XLA before an engine takes its place."""

import atexit
import hashlib
import json
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Num

from jaxqc.data.batching import pad_to
from jaxqc.errors import UserError
from jaxqc.export import onnx
from jaxqc.export.engines import ENGINES, Run
from jaxqc.export.folder import FORMAT, GOLDEN, META, ONNX, arrays_of, landing, save_arrays, save_json
from jaxqc.export.golden import golden_images
from jaxqc.export.parity import compare
from jaxqc.graph import Graph
from jaxqc.training.checksums import SUMS, DamagedError, check_sums
from jaxqc.training.record import weights_digest
from jaxqc.version import __version__


def opened(name: str, graph: Graph) -> Run:
    """The graph in the engine of this name, which gives what XLA gives.

    The conversion takes seconds to a minute and is kept below `folder_of_all`, by the digest of weights and settings.

    Raises:
      UserError: it cannot be converted, the engine does not take it, or its outputs are others than XLA's.
    """
    folder = converted(graph)
    run, golden = ENGINES[name](folder / ONNX), arrays_of(folder / GOLDEN)
    images, expected = golden["image"], {name: value for name, value in golden.items() if name != "image"}
    found = run(pad_to(images, json.loads((folder / META).read_text("utf-8"))["batch"]))
    compare(name, {k: v[: len(images)] for k, v in found.items()}, expected, graph.about["dtype"])
    return run


def converted(graph: Graph) -> Path:
    """The folder of a graph's conversion; made where it is absent or damaged."""
    folder = folder_of_all() / digest(graph)
    if (folder / SUMS).is_file():
        try:
            check_sums(folder, (ONNX, GOLDEN, META))
            return folder
        except (DamagedError, OSError, ValueError):
            pass
    shutil.rmtree(folder, ignore_errors=True)
    images = _images(graph)
    expected = {name: np.asarray(value) for name, value in jax.jit(graph.run)(graph.weights, images).items()}
    with landing(folder) as part:
        outputs, batch = _converted(graph, part / ONNX)
        save_arrays(part / GOLDEN, {"image": images, **expected})
        about = {"kind": graph.kind, "batch": batch, "outputs": outputs, "jaxqc": __version__}
        save_json(part / META, about | graph.about)
    return folder


def _converted(graph: Graph, file: Path) -> tuple[dict[str, Any], int]:
    """Outputs, and the number of images that the file takes: any (0), unless only a known one can be converted."""
    try:
        return onnx.convert(graph, 0, file), 0
    except UserError:
        if not graph.batch:
            raise
    return onnx.convert(graph, graph.batch, file), graph.batch


def _images(graph: Graph) -> Num[np.ndarray, "n h w 3"]:
    return golden_images(graph)[: graph.batch or None]


def digest(graph: Graph) -> str:
    """The digest of all that a conversion depends on. The program itself is part of it: a plug-in's code changes."""
    sizes = graph.height, graph.width, graph.batch
    program = hashlib.sha256(jax.jit(graph.run).lower(graph.weights, _images(graph)).as_text().encode()).hexdigest()
    facts = [weights_digest(graph.weights), program, graph.kind, *sizes, str(graph.dtype), graph.about]
    text = json.dumps([*facts, FORMAT, __version__, jax.__version__], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def folder_of_all() -> Path:
    """`$XDG_CACHE_HOME/jaxqc/engines`, by default under ~/.cache; below `JAXQC_CACHE` where that is a folder.

    Where it is `off`, or nothing can be written there, a folder that goes with the program.
    """
    given, home = os.environ.get("JAXQC_CACHE", ""), os.environ.get("XDG_CACHE_HOME")
    if given.lower() in ("off", "0", "no", "false"):
        return _for_now()
    try:
        above = Path(given) if given else (Path(home) if home else Path.home() / ".cache") / "jaxqc"
        (above / "engines").mkdir(parents=True, exist_ok=True)
        if not os.access(above / "engines", os.W_OK):
            return _for_now()
    except (OSError, RuntimeError):  # RuntimeError: a user without a home
        return _for_now()
    return above / "engines"


@cache
def _for_now() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="jaxqc-engines-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
