"""Remains of an ended fit in its folder: cleared for the next one, or refused."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import jax

from jaxqc import error_rates
from jaxqc.anomaly.detectors.base import is_trained
from jaxqc.anomaly.detectors.stage import place_of, stages_of
from jaxqc.anomaly.recipe import FitConfig
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


def trainings_of(config: FitConfig) -> tuple[str, ...]:
    """Names of the folders of a fit's trainings: of the detector or its members, each with its stages.

    Examples:
      >>> from jaxqc.anomaly.detectors import DETECTORS, Combined, Gaussian
      >>> from jaxqc.anomaly.detectors.combined import Member
      >>> trainings_of(FitConfig(DETECTORS["fastflow"]()))
      ('training',)
      >>> trainings_of(FitConfig(Combined((Member(Gaussian()), Member(DETECTORS["fastflow"]())))))
      ('training_member_1',)
    """
    own = [(TRAINING, config.ready)] if is_trained(config.ready) else []
    own += [(place_of(each.name, Path(TRAINING)).name, each.ready) for each in config.learners]
    stages = [place_of(stage.name, Path(name)).name for name, detector in own for stage in stages_of(detector)]
    return tuple([name for name, _ in own] + stages)


def begin(folder: Path, trainings: Sequence[str], note: Callable[[str], None]) -> None:
    """Clears what a fit left that was ended; the trainings of these names stay, which the new one resumes.

    Raises:
      UserError: the folder holds a finished fit, a training that is not resumed, or anything else.
    """
    finished = steps_in(folder / "state")
    names = (*UNFINISHED, LOCK, *trainings)
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
