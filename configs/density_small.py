"""A Gaussian of the mean features of an image on magnetic tiles at 128 pixels, ResNet-18 layers 1 to 3: image AUROC @density@.

    jaxqc weights resnet18
    jaxqc fit --config density_small --data DIR --out runs/density
    jaxqc evaluate --checkpoint runs/density --data DIR

It says whether a tile is defective, and not where. Any file with the first three layers serves: --backbone.weights FILE.
"""

from jaxqc.anomaly.detectors import Density
from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig


def get_config() -> FitConfig:
    """The recipe."""
    return FitConfig(
        detector=Density(),
        backbone=BackboneConfig("resnet18", layers=(1, 2, 3)),
        data=FitDataConfig(size=128),
    )
