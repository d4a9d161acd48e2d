"""A dictionary of 500 words of ResNet-18's layer 3 on magnetic tiles at 128 pixels, no training: image AUROC @dictionary@.

    jaxqc weights resnet18
    jaxqc fit --config dictionary_small --data DIR --out runs/dictionary
    jaxqc evaluate --checkpoint runs/dictionary --data DIR

Napoletano and others (Sensors 2018) have ten words. Any file with the first three layers serves: --backbone.weights FILE.
"""

from jaxqc.anomaly.detectors import NearestWords
from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig


def get_config() -> FitConfig:
    """The recipe."""
    return FitConfig(
        detector=NearestWords(),
        backbone=BackboneConfig("resnet18", layers=(3,)),
        data=FitDataConfig(size=128),
    )
