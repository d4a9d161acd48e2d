"""Statistics of training images that a network starts from: brightness, its spread, and the share of defects."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxqc.data.dataset import ArrayDataset, Dataset
from jaxqc.data.load import in_threads, load_sample
from jaxqc.data.problems import printable
from jaxqc.errors import UserError
from jaxqc.training.checkpoint import steps_in

STATISTICS_SAMPLES = 2000
"""Most images from which a streamed data set's mean and deviation are taken, evenly over its index."""


def pixel_statistics(
    train: Dataset | ArrayDataset, run: Path | None, scale: str = "unit"
) -> tuple[float, float, float]:
    """Mean and deviation of the pixels in [0, 1], and the mean share of defect pixels; a resumed run keeps its own.

    scale: `image_max`: of each image's pixels divided by its own largest one; `unit`: by 255.
    """
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
        mean, deviation = _moments(np.array([h for h, _ in found]), scale)
        foreground = float(np.mean([f for _, f in found]))
    elif scale == "unit":
        (mean, deviation), foreground = train.moments(), train.foreground()
    else:
        shares = [np.bincount(image.reshape(-1), minlength=256) / image.size for image in train.images]
        (mean, deviation), foreground = _moments(np.array(shares), scale), train.foreground()
    # A blank data set or one without defects must not end in a division by zero or in an infinite bias.
    return mean, max(deviation, 1 / 255), min(max(foreground, 1e-4), 1 - 1e-4)


def _moments(histograms: Float[np.ndarray, "n 256"], scale: str) -> tuple[float, float]:
    """Mean and deviation over images by their shares of each grey level."""
    levels = np.arange(256)
    if scale == "unit":
        histogram, values = histograms.mean(0), levels / 255
        mean = float(histogram @ values)
        return mean, float(np.sqrt(histogram @ (values - mean) ** 2))
    values = levels / np.maximum((levels * (histograms > 0)).max(1, keepdims=True), 1)
    mean = float((histograms * values).sum(1).mean())
    return mean, float(np.sqrt((histograms * (values - mean) ** 2).sum(1).mean()))
