"""MSFlow as published: two, five and eight couplings of Wide-ResNet-50's layers 1 to 3 at 512 pixels, joined by one
more, 100 epochs of batches of 16. No figure is claimed: it was not measured.

    jaxqc weights wide_resnet50_2
    jaxqc fit --config msflow_wide_resnet50 --data NORMALS --out runs/msflow

For a GPU: 48 GMAC an image of the network and as many of the flow.
"""

from jaxqc.anomaly.detectors.flow import MsFlow
from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig


def get_config() -> FitConfig:
    """The recipe."""
    return FitConfig(
        detector=MsFlow(),
        backbone=BackboneConfig("wide_resnet50_2", layers=(1, 2, 3)),
        data=FitDataConfig(size=512),
        batch=8,
    )
