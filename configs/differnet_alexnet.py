"""DifferNet as published, but for four turns of an image in place of 64: a flow of AlexNet's mean features at 448,
224 and 112 pixels, 192 epochs. No figure is claimed: it was not measured.

    jaxqc weights alexnet
    jaxqc fit --config differnet_alexnet --data NORMALS --out runs/differnet

The flow has 172 million parameters: for a GPU. `--detector.place pixels` gives the authors' map, a gradient.
"""

from jaxqc.anomaly.detectors.flow import DifferNet
from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig


def get_config() -> FitConfig:
    """The recipe."""
    return FitConfig(
        detector=DifferNet(),
        backbone=BackboneConfig("alexnet", layers=(3,)),
        data=FitDataConfig(size=448),
    )
