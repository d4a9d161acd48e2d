"""DRAEM as published, but for its textures, which are generated: 700 epochs of images of 256 pixels, for a GPU. No
figure is claimed: it was not measured.

    jaxqc fit --config draem_published --data NORMALS --out runs/draem
    jaxqc evaluate --checkpoint runs/draem --data NORMALS

A step takes 9.5 TFLOP, so that a set of 250 images takes 22,000 such steps. draem_small is for CPUs.
"""

from jaxqc.anomaly.detectors import Draem
from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig


def get_config() -> FitConfig:
    """The recipe."""
    return FitConfig(detector=Draem(), backbone=BackboneConfig("pixels", layers=(1,)), data=FitDataConfig(size=256))
