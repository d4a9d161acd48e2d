"""A Gaussian per position on magnetic tiles, ResNet-18 layers 1 to 3, normal images only.

    jaxqc weights resnet18
    jaxqc fit --config configs/gaussian_magnetic_tile.py --data DIR --out runs/tiles
    jaxqc evaluate --checkpoint runs/tiles --data DIR

Any file with the first three layers serves: --backbone.weights FILE. Results: docs/results.md.
"""

from jaxqc.anomaly.detectors import Gaussian
from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig


def get_config() -> FitConfig:
    """The recipe."""
    return FitConfig(
        method="gaussian",
        backbone=BackboneConfig("resnet18", layers=(1, 2, 3)),
        data=FitDataConfig(size=224),
        gaussian=Gaussian(channels=100),
    )
