"""A fit's golden maps recomputed. A detector has one graph, whose batch norm is folded."""

from pathlib import Path

import numpy as np

from jaxqc.anomaly.folder import load
from jaxqc.anomaly.model import scaled
from jaxqc.anomaly.thresholds import Thresholds
from jaxqc.training.golden import read_golden
from jaxqc.verdict import Verdict, verdict_of


def verify(path: str | Path, tolerance: float | None = None) -> Verdict:
    """Compares the detector's maps, over twice the pixel threshold, with the golden ones.

    tolerance: largest difference that passes; None takes that of the compute dtype.

    Raises:
      UserError: no fit there, or no golden record.
    """
    golden = read_golden(Path(path))
    model = load(path)
    model.thresholds = Thresholds(**model.meta["thresholds"])  # those of the golden maps, wherever they are now
    found, expected = scaled(model, golden["image"]), golden["map"].astype(np.float32)
    return verdict_of(path, found, expected, model.config.backbone.dtype, model.meta, tolerance, maker="detector")
