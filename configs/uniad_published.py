"""UniAD as published, but for its finest layer: a transformer that rebuilds features of EfficientNet-B4 at 224 pixels.
One model is of all products. No figure is claimed: it was not measured.

    jaxqc fit --config uniad_published --data NORMALS --out runs/uniad
    jaxqc evaluate --checkpoint runs/uniad --data NORMALS

The authors take a layer of stride 2 as well, and train 1,000 epochs of all 15 products of MVTec AD. For a GPU.
"""

from jaxqc.anomaly.detectors import UniAd
from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig


def get_config() -> FitConfig:
    """The recipe."""
    return FitConfig(
        detector=UniAd(),
        backbone=BackboneConfig("efficientnet_b4", layers=(1, 2, 3)),
        data=FitDataConfig(size=224),
    )
