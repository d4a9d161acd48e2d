"""The folder of an export: which files it has, how it lands whole or not at all, and how it is read and checked.

model.stablehlo   the graph, as `jax.export.Exported.serialize` gives it: a function of (weights, image); or
model.onnx        the same with the weights inside (beside it in model.onnx.data where they are large)
weights.npz       float32 arrays by their path in the pytree, as `params/encoder/kernel` (StableHLO only)
golden.npz        `image` uint8 [n h w 3] and the outputs for it by name, to check against
meta.json         what goes in and comes out, classes, thresholds, versions; `export_format` is this layout's version
SHA256SUMS        of all of them, for `sha256sum -c`

Nothing here needs JAX.
"""

import io
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxqc.data.problems import printable
from jaxqc.data.whole_folder import whole_folder
from jaxqc.errors import UserError
from jaxqc.training.checksums import SUMS, DamagedError, check_sums, write_sums
from jaxqc.types import ArrayLike

FORMAT = 1
"""Version of the folder's layout. A change that an older reader would get wrong raises it."""
STABLEHLO, ONNX, META, GOLDEN, WEIGHTS = "model.stablehlo", "model.onnx", "meta.json", "golden.npz", "weights.npz"
GRAPHS = {"stablehlo": STABLEHLO, "onnx": ONNX}
VERSION = "export_format"
NEEDED = ("kind", "graph", "classes", "input", "outputs", "thresholds")
"""Keys of every meta.json."""


@dataclass(frozen=True)
class Contents:
    """A sound export: its graph's file, the record, weights by path (none of an ONNX file) and the golden arrays."""

    graph: Path
    meta: dict[str, Any]
    weights: dict[str, np.ndarray]
    golden: dict[str, np.ndarray]


def is_export(path: str | Path) -> bool:
    """True where a folder is an export, or what is left of one (and not a run's folder).

    Examples:
      >>> is_export("nothing")
      False
    """
    folder = Path(path)
    if any((folder / name).is_file() for name in GRAPHS.values()):
        return True
    try:
        return VERSION in json.loads((folder / META).read_text("utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def landing(out: Path) -> AbstractContextManager[Path]:
    """A new folder that becomes `out`, with its sums, when the block ends well (`whole_folder`)."""
    return whole_folder(out, finish=write_sums)


def save_arrays(file: Path, arrays: Mapping[str, ArrayLike]) -> None:
    """An uncompressed .npz of plain arrays; names may hold slashes."""
    with file.open("wb") as f:
        np.savez(f, **arrays)  # type: ignore[reportArgumentType]


def save_json(file: Path, values: Mapping[str, Any]) -> None:
    """Plain values, readable."""
    file.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read(path: str | Path) -> Contents:
    """Everything in the folder, once its files are found to be those that were written.

    Raises:
      UserError: no export, of a newer format, or damaged; with the file and the way out.
    """
    folder, name = Path(path), printable(path)
    if not is_export(folder):
        raise UserError(f"{name}: no export there; make one with jaxqc export --checkpoint RUN --out {name}")
    meta = read_meta(folder)
    try:
        if not (folder / SUMS).is_file():
            raise DamagedError(f"{SUMS} is missing")
        graph = folder / GRAPHS[meta["graph"]]
        read_here = (graph.name, META, GOLDEN, *[WEIGHTS] * (meta["graph"] == "stablehlo"))
        check_sums(folder, read_here)
        weights = arrays_of(folder / WEIGHTS) if meta["graph"] == "stablehlo" else {}
        golden = arrays_of(folder / GOLDEN)
        if not graph.is_file():
            raise DamagedError(f"{graph.name} is missing")
    except (DamagedError, OSError, ValueError, KeyError) as e:
        raise UserError(f"{name}: damaged ({_line(e)}); copy the whole folder again, or export again") from e
    return Contents(graph, meta, weights, golden)


def read_meta(folder: Path) -> dict[str, Any]:
    """The record alone, its version and its keys checked; the files are not.

    Raises:
      UserError: it is missing, damaged or of a newer format.
    """
    file, name = folder / META, printable(folder / META)
    try:
        meta = json.loads(file.read_text("utf-8"))
        version = meta[VERSION]
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise UserError(f"{name}: damaged ({_line(e)}); copy the whole folder again, or export again") from e
    if not isinstance(version, int) or version > FORMAT:
        raise UserError(f"{name}: {VERSION} {version!r}; this jaxqc reads up to {FORMAT}: upgrade it, or export again")
    missing = [key for key in NEEDED if key not in meta]
    if missing or meta["graph"] not in GRAPHS:
        raise UserError(f"{name}: lacks {', '.join(missing) or 'a known graph'}; export again")
    return meta


def arrays_of(file: Path) -> dict[str, np.ndarray]:
    """The arrays of a .npz by name. Raises DamagedError."""
    try:
        with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except Exception as e:  # a damaged archive raises BadZipFile, ValueError, EOFError, zlib.error ...
        raise DamagedError(f"{file.name}: {_line(e)}") from e


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
