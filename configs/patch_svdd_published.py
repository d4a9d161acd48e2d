"""Patch SVDD as published: images of 256 pixels, 30,000 draws of each. No figure is claimed: it was not measured.

    jaxqc fit --config patch_svdd_published --data NORMALS --out runs/patches
    jaxqc evaluate --checkpoint runs/patches --data NORMALS

patch_svdd_small is for CPUs.
"""

from jaxqc.anomaly.detectors import PatchSvdd
from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig


def get_config() -> FitConfig:
    """The recipe."""
    return FitConfig(detector=PatchSvdd(), backbone=BackboneConfig("pixels", layers=(1,)), data=FitDataConfig(size=256))
