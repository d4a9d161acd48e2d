"""CS-Flow as published: four couplings over EfficientNet-B5's features of an image at 768, 384 and 192 pixels, 240
epochs of batches of 16. No figure is claimed: it was not measured.

    jaxqc weights tf_efficientnet_b5
    jaxqc fit --config cs_flow_efficientnet_b5 --data NORMALS --out runs/cs_flow

The flow has 275 million parameters: for a GPU.
"""

from jaxqc.anomaly.detectors.flow import CsFlow
from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig


def get_config() -> FitConfig:
    """The recipe."""
    return FitConfig(
        detector=CsFlow(),
        backbone=BackboneConfig("tf_efficientnet_b5", layers=(4,)),
        data=FitDataConfig(size=768),
        batch=8,
    )
