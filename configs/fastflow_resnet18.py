"""FastFlow as published on ResNet-18: eight couplings for each of layers 1 to 3 at 256 pixels, 500 epochs of batches
of 32. No figure is claimed: it was not measured.

    jaxqc weights resnet18
    jaxqc fit --config fastflow_resnet18 --data NORMALS --out runs/fastflow

On `--backbone.name wide_resnet50_2` the authors' subnets are narrower: `--detector.hidden 0.16 --detector.kernels 3`.
For a GPU.
"""

from jaxqc.anomaly.detectors.flow import FastFlow
from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig


def get_config() -> FitConfig:
    """The recipe."""
    return FitConfig(
        detector=FastFlow(),
        backbone=BackboneConfig("resnet18", layers=(1, 2, 3)),
        data=FitDataConfig(size=256),
    )
