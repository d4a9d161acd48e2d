"""Words for measures: every one that is computed has some, and no others have."""

import numpy as np

from jaxqc.metrics import anomaly, saliency, segmentation
from jaxqc.metrics.words import WORDS


def test_every_measure_has_words():
    keys = {*saliency.KEYS, *saliency.FALSE_ALARMS, *segmentation.measures(np.eye(2, dtype=int), ("a", "b"))}
    keys |= anomaly.compute(anomaly.empty([0.5], images=0), image_threshold=0.5, pixel_threshold=0.5).keys()
    keys = {key for key in keys if "/" not in key and not key.endswith(("_bound", "_threshold"))}
    assert keys == WORDS.keys()
    assert len({words for key, words in WORDS.items() if key != "iou"}) == len(WORDS) - 1
