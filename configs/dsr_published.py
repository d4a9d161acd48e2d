"""DSR as published, but for its pictures: codes of good images and generated textures, where the authors take ImageNet.
No figure is claimed: it was not measured.

    jaxqc fit --config dsr_published --data NORMALS --out runs/dsr
    jaxqc evaluate --checkpoint runs/dsr --data NORMALS

Three trainings of images of 256 pixels, of 100, 100 and 50 epochs. `--detector.pictures FOLDER` takes photographs for
codes and textures. For a GPU; dsr_small is for CPUs.
"""

from jaxqc.anomaly.detectors import Dsr
from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig


def get_config() -> FitConfig:
    """The recipe."""
    return FitConfig(detector=Dsr(), backbone=BackboneConfig("pixels", layers=(1,)), data=FitDataConfig(size=256))
