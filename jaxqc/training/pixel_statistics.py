"""Statistics of training images that a network starts from: brightness, its spread, and the share of defects."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from jaxqc.data.dataset import ArrayDataset, Dataset
from jaxqc.data.load import in_threads, load_sample
from jaxqc.data.problems import printable
from jaxqc.errors import UserError
from jaxqc.training.checkpoint import steps_in

STATISTICS_SAMPLES = 2000
"""Most images from which a streamed data set's mean and deviation are taken, evenly over its index."""


def pixel_statistics(train: Dataset | ArrayDataset, run: Path | None) -> tuple[float, float, float]:
    """Mean and deviation of the pixels in [0, 1], and the mean share of defect pixels; a resumed run keeps its own."""
    if run is not None and steps_in(run / "checkpoints") and isinstance(train, Dataset):
        try:
            kept = json.loads((run / "meta.json").read_text("utf-8"))
            return float(kept["mean"]), float(kept["std"]), float(kept["foreground"])
        except (OSError, ValueError, KeyError, TypeError) as e:
            raise UserError(f"{printable(run / 'meta.json')}: damaged ({e!r}); choose another --out") from e
    if isinstance(train, Dataset):
        chosen = np.unique(np.linspace(0, len(train) - 1, min(len(train), STATISTICS_SAMPLES)).astype(int))

        def look(sample: Any) -> tuple[np.ndarray, float]:
            image, mask = load_sample(sample)
            return np.bincount(image.reshape(-1), minlength=256) / image.size, float(mask.mean())

        found = list(in_threads(look, [train.samples[i] for i in chosen]))
        histogram, values = np.mean([h for h, _ in found], axis=0), np.arange(256) / 255
        mean = float(histogram @ values)
        deviation = float(np.sqrt(histogram @ (values - mean) ** 2))
        foreground = float(np.mean([f for _, f in found]))
    else:
        (mean, deviation), foreground = train.moments(), train.foreground()
    # A blank data set or one without defects must not end in a division by zero or in an infinite bias.
    return mean, max(deviation, 1 / 255), min(max(foreground, 1e-4), 1 - 1e-4)
