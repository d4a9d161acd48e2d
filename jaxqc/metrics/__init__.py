"""Measures of maps, labels and scores; names are imported on first use.

The modules `saliency`, `anomaly` and `segmentation` accumulate over batches and devices: `empty`, `update`, `merge`,
`compute`. The functions here measure one map.

>>> import jax
>>> import numpy as np
>>> from jaxqc import metrics
>>> truth = np.pad(np.ones((1, 3, 3), bool), ((0, 0), (2, 3), (2, 3)))
>>> jax.jit(metrics.s_measure)(truth.astype(np.float32), truth).round(3).tolist()
[1.0]
"""

from typing import TYPE_CHECKING

from jaxqc.lazy import lazy_names

if TYPE_CHECKING:
    from jaxqc.metrics import anomaly, saliency, segmentation
    from jaxqc.metrics.aupro import au_pro
    from jaxqc.metrics.emeasure import e_measure
    from jaxqc.metrics.fmeasure import f_measure, iou, weighted_f
    from jaxqc.metrics.structure import s_measure
    from jaxqc.metrics.threshold import adaptive_counts, fixed_counts

__all__ = [
    "adaptive_counts",
    "anomaly",
    "au_pro",
    "e_measure",
    "f_measure",
    "fixed_counts",
    "iou",
    "s_measure",
    "saliency",
    "segmentation",
    "weighted_f",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "au_pro": "aupro",
        "e_measure": "emeasure",
        **dict.fromkeys(("f_measure", "iou", "weighted_f"), "fmeasure"),
        "s_measure": "structure",
        **dict.fromkeys(("adaptive_counts", "fixed_counts"), "threshold"),
    },
    modules=("anomaly", "saliency", "segmentation"),
)
