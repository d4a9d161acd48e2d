"""Multiresolution distillation as published: VGG16 taught to a network of a fortieth of its weights, 128 pixels, 601
epochs. No figure is claimed: it was not measured.

    jaxqc weights vgg16
    jaxqc fit --config salehi_vgg16 --data NORMALS --out runs/salehi

`--detector.map gradient` takes the authors' map, which costs a pass backwards through both networks.
"""

from jaxqc.anomaly.detectors import Salehi
from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig


def get_config() -> FitConfig:
    """The recipe."""
    return FitConfig(
        detector=Salehi(),
        backbone=BackboneConfig("vgg16", layers=(1, 2, 3, 4)),
        data=FitDataConfig(size=128),
    )
