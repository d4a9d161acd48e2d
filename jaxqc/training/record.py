"""The record of a run: config.json and meta.json (data, versions, commit), and the digests in them."""

import contextlib
import datetime
import hashlib
import itertools
import json
import platform
import subprocess
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

import jaxqc
from jaxqc.atomic import write_text
from jaxqc.data.dataset import ArrayDataset, Dataset
from jaxqc.data.tables.write import write_table
from jaxqc.errors import UserError
from jaxqc.fields import to_dict
from jaxqc.lock import WRITING, locked
from jaxqc.training.folder_sums import kept_file
from jaxqc.version import __version__

if TYPE_CHECKING:
    import jaxqc.data.pipeline

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def data_digest(dataset: "ArrayDataset | Dataset | jaxqc.data.pipeline.BatchSource") -> str:
    """SHA-256 of the training data: ids and pixels of arrays, ids and classes of an index (whose pixels are unread)."""
    if not isinstance(dataset, Dataset):
        return dataset.digest()
    ids = [f"{s.id}\0{s.label}" for s in dataset.samples]
    return hashlib.sha256("\n".join([*dataset.classes, *ids]).encode("utf-8", "surrogateescape")).hexdigest()


def weights_digest(tree: Any) -> str:
    """SHA-256 of a pytree's arrays: their paths, dtypes, shapes and values, whatever device or file they come from."""
    found = hashlib.sha256()
    for path, leaf in sorted((jax.tree_util.keystr(p), leaf) for p, leaf in jax.tree_util.tree_leaves_with_path(tree)):
        array = np.ascontiguousarray(leaf)
        found.update(f"{path}\0{array.dtype.str}\0{array.shape}\0".encode())
        found.update(array.tobytes())
    return found.hexdigest()


def environment() -> dict[str, Any]:
    """Versions, device kind and, where jaxqc runs from a git checkout, the commit."""
    versions = {name: metadata.version(name) for name in PACKAGES}
    versions |= {"jaxqc": __version__, "python": platform.python_version()}
    device = jax.devices()[0]
    return {"versions": versions, "device": f"{device.platform}: {device.device_kind}", "git_commit": _commit()}


def _commit() -> str | None:
    here = Path(jaxqc.__file__).resolve().parents[1]
    if not (here / ".git").exists():
        return None
    command = ["git", "-C", str(here), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


@contextlib.contextmanager
def alone_in(folder: str | Path, note: Callable[[str], None] | None = None) -> Iterator[None]:
    """Holds the folder of a run for all of its processes (`jaxqc.lock.locked`, by the first of them)."""
    with locked(folder, note) if jax.process_index() == 0 else contextlib.nullcontext():
        yield


def write_record(folder: Path, config: Any, meta: dict[str, Any] | None, classes: Any, digest: str) -> None:
    """Writes config.json and meta.json; what the caller's `meta` says goes before what is found out here."""
    full = {"classes": list(classes), "data_digest": digest, "date": _today(), **environment(), "seed": config.seed}
    full |= meta or {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, values in (("config.json", to_dict(config)), ("meta.json", full)):
            with kept_file(folder, name) as part:
                part.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8", newline="\n")
    except OSError as e:
        raise UserError(f"{folder}: cannot write there ({e.strerror or e}); choose another --out") from e


def _today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def evaluation_folder(out: str | Path | None, run: str | Path | None, *names: str, data: str = "") -> Path | None:
    """Folder of an evaluation: `out`, for "" `evaluation-NAMES` in the folder of the run, for None nowhere.

    data: the path or name of what is measured. A folder with an evaluation of other data is kept: for "" the name is
    counted up (`evaluation-test-2`).

    Raises:
      UserError: "" without a run's folder, or a folder `out` that holds the evaluation of other data.
    """
    if out is None:
        return None
    if out:
        if other := _of_other_data(Path(out), data):
            raise UserError(f"{out}: holds the evaluation of {other}; choose another --out, or remove it")
        return Path(out)
    if run is None:
        raise UserError("out: '' is a folder in that of the run, which is not known here; give run= or a folder")
    name = "-".join(("evaluation", *names))
    places = (Path(run) / (name if n == 1 else f"{name}-{n}") for n in itertools.count(1))
    return next(place for place in places if not _of_other_data(place, data))


def evaluation_place(
    out: str | Path | None, run: str | Path | None, *names: str, data: str = ""
) -> Callable[[], contextlib.AbstractContextManager[Path | None]]:
    """A context manager that holds the folder of an evaluation, chosen as by `evaluation_folder`.

    It is entered here already: what could not be written is refused before anything is measured.

    Raises:
      UserError: as `evaluation_folder`; or the folder is in use, or cannot be written.
    """
    choose = partial(evaluation_folder, out, run, *names, data=data)

    @contextlib.contextmanager
    def held(note: Callable[[str], None] | None = None) -> Iterator[Path | None]:
        while (folder := choose()) is not None:
            with locked(folder, note, WRITING):
                if choose() == folder:  # else an evaluation of other data was written there meanwhile
                    yield folder
                    return
        yield None

    with held(lambda line: None):  # the line comes when it is written
        return held


def _of_other_data(folder: Path, data: str) -> str:
    """The data that the evaluation in a folder is of, where they are other than `data`; else "".

    An older evaluation names its data set without the path.
    """
    try:
        stored = json.loads((folder / "evaluation.json").read_text("utf-8"))
        path, name = (str(stored.get(key) or "") for key in ("data", "dataset"))
    except (OSError, ValueError, AttributeError):
        return ""
    same = Path(path).resolve() == Path(data).resolve() if path else name in ("", Path(data).resolve().name)
    return "" if same or not data else path or name


def write_measures(out: Path, report: dict[str, Any], rows: Sequence[dict[str, Any]]) -> None:
    """`evaluation.json` and, a row an image, `per_image.csv` of an evaluation; OSError where they cannot be written."""
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "evaluation.json", json.dumps(report, indent=2) + "\n")
    write_table(out / "per_image.csv", list(rows[0]), rows)
