"""CutPaste as published: ResNet-18 trained on from ImageNet, 65,536 steps of 32 images of 256 pixels where there are
about 250. No figure is claimed: it was not measured.

    jaxqc weights resnet18
    jaxqc fit --config cutpaste_published --data NORMALS --out runs/cutpaste
    jaxqc evaluate --checkpoint runs/cutpaste --data NORMALS

The authors also train one network on patches for the map; here the map is of the same network. cutpaste_small is for
CPUs.
"""

from jaxqc.anomaly.detectors import CutPaste
from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig


def get_config() -> FitConfig:
    """The recipe."""
    return FitConfig(
        detector=CutPaste(), backbone=BackboneConfig("resnet18", layers=(4,)), data=FitDataConfig(size=256)
    )
