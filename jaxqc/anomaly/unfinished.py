"""Remains of an ended fit in its folder: cleared for the next one, or refused."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import jax

from jaxqc import error_rates
from jaxqc.anomaly.detectors.stage import Stage, place_of
from jaxqc.atomic import REMAINS
from jaxqc.data.problems import printable
from jaxqc.errors import UserError
from jaxqc.lock import LOCK
from jaxqc.training.checkpoint import steps_in
from jaxqc.training.checksums import SUMS
from jaxqc.training.folder_sums import PICTURE

TRAINING = "training"
"""In a fit's folder: the run of a detector that is trained."""
UNFINISHED = ("config.json", "meta.json", "golden.npz", PICTURE, error_rates.FILE, SUMS, "state")
"""Names of what a fit may leave behind when it is ended, beside its training; the next one writes them anew."""


def begin(folder: Path, resumes: bool, note: Callable[[str], None], stages: Sequence[Stage] = ()) -> None:
    """Clears what a fit left that was ended; its training stays, with its stages, where the new one `resumes` it.

    Raises:
      UserError: the folder holds a finished fit, a training that is not resumed, or anything else.
    """
    finished = steps_in(folder / "state")
    places = [folder / TRAINING, *[place_of(stage, folder / TRAINING) for stage in stages]] if resumes else []
    names = (*UNFINISHED, LOCK, *[place.name for place in places])
    left = sorted(path.name for path in folder.glob("*") if not REMAINS.fullmatch(path.name))
    foreign = [name for name in left if name not in names]
    if not foreign and not _is_fits(folder):
        foreign = [name for name in left if name in ("config.json", "meta.json")]
    if finished or foreign:
        holds = "it holds a finished fit" if finished else f"it holds {printable(foreign[0])}"
        raise UserError(f"{folder}: not empty ({holds}); choose another --out, or remove it")
    old = [folder / name for name in reversed(UNFINISHED) if name in left]  # last what other processes know it by
    if old and jax.process_index() == 0:
        note(f"{folder}: an earlier fit was ended before its end; it is made anew")
        for path in old:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _is_fits(folder: Path) -> bool:
    """True where config.json, if there is one, is a fit's."""
    try:
        stored = json.loads((folder / "config.json").read_text("utf-8"))
    except FileNotFoundError:
        return not (folder / "meta.json").exists()
    except (OSError, ValueError):
        return False
    return isinstance(stored, dict) and {"backbone", "detector", "decision"} <= stored.keys()
