"""A picture of a detector that rebuilds images: input, rebuilt image, difference and map, for one of each kind."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxqc.anomaly.features import apply_function
from jaxqc.anomaly.model import AnomalyModel
from jaxqc.data.dataset import Dataset
from jaxqc.data.load import load_sample
from jaxqc.data.normals import is_defective, is_normal
from jaxqc.pictures.sheet import HEAT, Sheet, show

COLUMNS = "image", "rebuilt", "difference", "map"


def rebuilds_images(model: AnomalyModel) -> bool:
    """True where what the detector rebuilds can be shown."""
    return hasattr(model.config.ready, "rebuilt") and model.config.backbone.name == "pixels"


def picture(model: AnomalyModel, test: Dataset, path: Path) -> Path:
    """Writes the picture: the first good image of `test` and the first one of each kind of defect.

    A difference is the mean over channels, and brightest at its largest in all rows; so is a map.

    Raises:
      UserError: an image that cannot be read.
    """
    detector: Any = model.config.ready
    firsts = {s.label: s for s in reversed(test.samples) if is_normal(s, test) or is_defective(s, test)}
    samples = sorted(firsts.values(), key=lambda s: (is_defective(s, test), s.id))
    images = np.stack([model.shrunk(load_sample(s, unmasked=True)[0]) for s in samples])
    embed = apply_function(model.config.backbone, detector.embed, getattr(detector, "views", None))
    call = jax.jit(lambda state, variables, x: detector.rebuilt(state, embed(variables, x)))
    rebuilt = np.asarray(call(model.state, model.variables, images)).clip(0, 1)
    apart = np.abs(images / np.float32(255) - rebuilt).mean(-1)
    maps = np.concatenate([np.asarray(model.score(images[i : i + 1])[0]) for i in range(len(images))])
    sheet = Sheet(len(samples), COLUMNS, images.shape[1:3], cell=1.1, foot=0.05)
    for row, sample in enumerate(samples):
        kind = test.classes[sample.label] if sample.label >= 0 else ""
        sheet.caption(row, [kind or "good", sample.id])
        for ax, panel in zip(sheet.axes[row][:2], (images[row], (255 * rebuilt[row]).round()), strict=True):
            show(ax, panel.astype(np.uint8))
        for ax, panel, whole in zip(sheet.axes[row][2:], (apart[row], maps[row]), (apart, maps), strict=True):
            show(ax, panel / max(float(whole.max()), 1e-12), HEAT)
    sheet.save(path)
    return path
