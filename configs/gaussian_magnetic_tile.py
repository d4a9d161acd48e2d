"""A Gaussian per position on magnetic tiles, ResNet-18 layers 1 to 3, normal images only. Reached a mean image AUROC
over the five kinds of defect of 0.901 ± 0.004 (five seeds, 535 images fitted).

    jaxqc weights resnet18
    jaxqc fit --config gaussian_magnetic_tile --data DIR --out runs/tiles
    jaxqc evaluate --checkpoint runs/tiles --data DIR

Any file with the first three layers serves: --backbone.weights FILE. Channels, eps and top were chosen by defects
pasted on held-out normal images (docs/results/normals_only.md). The thresholds rest on all
normal images, each held out in turn with its tile (docs/guide/threshold.md).
"""

from jaxqc.anomaly.detectors import Gaussian
from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig


def get_config() -> FitConfig:
    """The recipe."""
    return FitConfig(
        backbone=BackboneConfig("resnet18", layers=(1, 2, 3)),
        data=FitDataConfig(size=224, held_out=0.1),
        # The image's score is the mean of the 5 % highest pixels: defects here range from a speck to half the tile.
        detector=Gaussian(channels=200, eps=0.001, top=2508),
    )
