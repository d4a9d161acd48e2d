"""Gaussians of EfficientNet-Lite0's layers at two sizes of magnetic tiles, normal images only. Reached a mean image
AUROC over the five kinds of defect of 0.925 on split `val`, and of 0.907 ± 0.020 in five folds of all good images.

    pip install 'jaxqc[backbones]'
    jaxqc fit --config combined_magnetic_tile --data DIR --out runs/tiles
    jaxqc evaluate --checkpoint runs/tiles --data DIR

Sizes, members and top were chosen by defects pasted on held-out normal images (docs/results/normals_only.md).
"""

from jaxqc.anomaly.detectors import Combined, Gaussian
from jaxqc.anomaly.detectors.combined import Member
from jaxqc.anomaly.recipe import BackboneConfig, DecisionConfig, FitConfig, FitDataConfig


def get_config() -> FitConfig:
    """The recipe."""
    # Every cell counts its neighbours, since tiles do not lie still; those at the edges still differ from the others.
    seen = Gaussian(channels=0, sigma=0.0, around=1)
    return FitConfig(
        backbone=BackboneConfig("efficientnet_lite0", layers=(1, 2, 3), scales=(1.0, 0.5)),
        data=FitDataConfig(size=320),
        # Layers 2 and 3 of the whole size find what is small and what lies at the edge, all of the half the rest.
        detector=Combined((Member(seen, (1, 2)), Member(seen, (3, 4, 5))), how="mean", sigma=8.0, top=2048),
        decision=DecisionConfig(folds=5),
        batch=8,
    )
