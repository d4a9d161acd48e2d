"""CDO as published: a student of HRNet-W32's three finest branches at 256 pixels that learns to fail on patches of
noise, 100 epochs of batches of 16. No figure is claimed: it was not measured.

    jaxqc weights hrnet_w32
    jaxqc fit --config cdo_hrnet --data NORMALS --out runs/cdo

The authors' code takes any ResNet, too: `--backbone.name resnet18`. For a GPU.
"""

from jaxqc.anomaly.detectors import Cdo
from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig


def get_config() -> FitConfig:
    """The recipe."""
    return FitConfig(
        detector=Cdo(),
        backbone=BackboneConfig("hrnet_w32", layers=(1, 2, 3)),
        data=FitDataConfig(size=256),
    )
