"""A whitened FastFlow and Gaussians of EfficientNet-Lite0's layers at two sizes of magnetic tiles, and the densities of
mean features at both beside them in the image's score, normal images only. Reached a mean image AUROC over the five
kinds of defect of 0.952 ± 0.003 (three seeds) on split `val`, and of 0.905 ± 0.010 in five folds of all tiles.

    pip install 'jaxqc[backbones]'
    jaxqc fit --config jury_flow_magnetic_tile --data DIR --out runs/tiles
    jaxqc evaluate --checkpoint runs/tiles --data DIR

The flow is that of `fastflow_magnetic_tile`; docs/results/learned_detectors.md says what the others bring.
"""

from dataclasses import replace

from jaxqc.anomaly.detectors import Combined, Density, Gaussian
from jaxqc.anomaly.detectors.combined import Member
from jaxqc.anomaly.detectors.flow import FastFlow
from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig


def get_config() -> FitConfig:
    """The recipe."""
    own = FastFlow().training
    optim = replace(own.optim, schedule="cosine", warmup_epochs=1.0)
    training = replace(own, epochs=12.0, batch=16, optim=optim)
    flow = FastFlow(blocks=(6,), norm=False, whiten=True, combine="square", training=training)
    # Layers 1 to 3 of the whole size are at places 0 to 2, those of the half behind them.
    maps = (Member(flow, (1, 2)), Member(Gaussian(channels=0, sigma=0.0, around=1), (3, 4, 5)))
    votes = (Member(Density(), (3, 4, 5)), Member(Density(), (0, 1, 2)))
    return FitConfig(
        backbone=BackboneConfig("efficientnet_lite0", layers=(1, 2, 3), scales=(1.0, 0.5)),
        data=FitDataConfig(size=256),
        # The map's own score is the mean of the twentieth of the pixels that is highest.
        detector=Combined((*maps, *votes), sigma=8.0, top=3277),
        batch=16,
    )
