"""A checkpoint's proof: recompute its golden output here and say how far off this machine is."""

from dataclasses import replace
from pathlib import Path

from jaxqc.export.folder import is_export
from jaxqc.kinds import kind_of
from jaxqc.training.folder_sums import check_all
from jaxqc.verdict import Verdict


def verify(path: str | Path, tolerance: float | None = None) -> Verdict:
    """Runs the golden images of the run folder `path` through its best checkpoint and compares the maps; of an export
    all its outputs. Before that every file of the folder is compared with its sum.

    tolerance: largest difference that passes; None takes `jaxqc.verdict.TOLERANCE` of the run's compute dtype.

    Raises:
      UserError: no run there, a damaged file, no golden record, or one of another checkpoint.
    """
    folder = Path(path)
    files = check_all(folder) if folder.is_dir() and not is_export(folder) else ()
    return replace(kind_of(path).verify(path, tolerance), files=files)
