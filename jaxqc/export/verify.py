"""An export's golden outputs recomputed."""

from pathlib import Path

import numpy as np

from jaxqc.export.exported import load
from jaxqc.training.record import environment
from jaxqc.verdict import TOLERANCE, Verdict


def verify(path: str | Path, tolerance: float | None = None) -> Verdict:
    """Compares all outputs of the graph with the golden ones; labels and masks count by the share of pixels that
    differ.

    tolerance: largest difference that passes; None takes that of the compute dtype.

    Raises:
      UserError: no export there, or a damaged one.
    """
    exported = load(path)
    meta, apart = exported.meta, np.array(list(exported.check().values()))
    largest, limit = float(apart.max()), TOLERANCE[meta["dtype"]] if tolerance is None else tolerance
    step = int(meta.get("checkpoint", {}).get("step", 0))
    return Verdict(str(path), step, largest, largest, float(apart.mean()), limit, meta, environment())
