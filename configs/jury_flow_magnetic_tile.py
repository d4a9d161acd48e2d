"""A whitened FastFlow of EfficientNet-Lite0's layers on magnetic tiles, and the density of its mean features beside it
in the image's score, normal images only.

    pip install 'jaxqc[backbones]'
    jaxqc fit --config jury_flow_magnetic_tile --data DIR --out runs/tiles
    jaxqc evaluate --checkpoint runs/tiles --data DIR

The flow is that of `fastflow_magnetic_tile`; docs/results/learned_detectors.md says what the density brings.
"""

from dataclasses import replace

from jaxqc.anomaly.detectors import Combined, Density
from jaxqc.anomaly.detectors.combined import Member
from jaxqc.anomaly.detectors.flow import FastFlow
from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig


def get_config() -> FitConfig:
    """The recipe."""
    own = FastFlow().training
    optim = replace(own.optim, schedule="cosine", warmup_epochs=1.0)
    training = replace(own, epochs=12.0, batch=16, optim=optim)
    flow = FastFlow(blocks=(6,), norm=False, whiten=True, combine="square", training=training)
    members = (Member(flow, (1, 2)), Member(Density(), (3, 4, 5)))
    return FitConfig(
        backbone=BackboneConfig("efficientnet_lite0", layers=(1, 2, 3), scales=(1.0, 0.5)),
        data=FitDataConfig(size=256),
        # The score is the mean of the twentieth of the pixels that is highest.
        detector=Combined(members, sigma=8.0, top=3277),
        batch=16,
    )
