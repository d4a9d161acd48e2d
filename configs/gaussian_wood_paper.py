"""The paper's detector on wood: ResNet-50 with CBAM, layers 1 to 3, 550 random channels, 50 normal crops of 224. No
figure is claimed: the paper's weights are not published, and with others it was not measured on that set.

    jaxqc weights resnet50
    jaxqc fit --config gaussian_wood_paper --data mvtec/wood --out runs/wood
    jaxqc evaluate --checkpoint runs/wood --data mvtec/wood

With plain ResNet-50 weights the gates of CBAM start as exact identity; scripts/train_backbone.py makes trained ones
(--backbone.weights FILE).
"""

from jaxqc.anomaly.detectors import Gaussian
from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig


def get_config() -> FitConfig:
    """The recipe."""
    return FitConfig(
        backbone=BackboneConfig("resnet50_cbam", layers=(1, 2, 3)),
        data=FitDataConfig(size=224, crop=224, samples=50),
        detector=Gaussian(channels=550, eps=0.01, sigma=4.0),
    )
