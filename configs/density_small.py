"""The density of ResNet-18's mean features on magnetic tiles, a Gaussian, 128 pixels, no training:
image AUROC 0.915 ± 0.010 (three seeds, 0.707 with random weights).

    jaxqc weights resnet18
    jaxqc fit --config density_small --data DIR --out runs/density
    jaxqc evaluate --checkpoint runs/density --data DIR

It says whether a tile is defective, and not where.
Any file with the first three layers serves: --backbone.weights FILE.
"""

from jaxqc.anomaly.detectors import Density
from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig


def get_config() -> FitConfig:
    """The recipe."""
    return FitConfig(
        detector=Density(), backbone=BackboneConfig("resnet18", layers=(1, 2, 3)), data=FitDataConfig(size=128)
    )
