"""FCDD as published, but for the trained convolutions, which start at random: VGG11 with batch norm, frozen up to its
third pooling, images of 224 pixels, 200 epochs. No figure is claimed: it was not measured.

    jaxqc weights vgg11_bn
    jaxqc fit --config fcdd_published --data NORMALS --out runs/fcdd
    jaxqc evaluate --checkpoint runs/fcdd --data NORMALS

fcdd_small is for CPUs.
"""

from jaxqc.anomaly.detectors import Fcdd
from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig


def get_config() -> FitConfig:
    """The recipe."""
    return FitConfig(detector=Fcdd(), backbone=BackboneConfig("vgg11_bn", layers=(2,)), data=FitDataConfig(size=224))
