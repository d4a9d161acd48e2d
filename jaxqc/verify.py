"""A checkpoint's proof: recompute its golden output here and say how far off this machine is."""

from pathlib import Path

from jaxqc.kinds import kind_of
from jaxqc.verdict import Verdict


def verify(path: str | Path, tolerance: float | None = None) -> Verdict:
    """Runs the golden images of the run folder `path` through its best checkpoint and compares the maps; of an export
    all its outputs.

    tolerance: largest difference that passes; None takes `jaxqc.verdict.TOLERANCE` of the run's compute dtype.

    Raises:
      UserError: no run there, no golden record, or one of another checkpoint.
    """
    return kind_of(path).verify(path, tolerance)
