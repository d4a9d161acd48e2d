"""EfficientAD-S as published: a student of a small network of descriptions and an autoencoder, at 256 pixels, 70,000
steps of one image each. No figure is claimed: it was not measured.

    python scripts/distill_pdn.py --out runs/pdn --name pdn_small --weights FILE --data PICTURES
    jaxqc fit --config efficient_ad --backbone.weights runs/pdn/pdn_small.npz --data NORMALS --out runs/efficient

`--backbone.name pdn_medium` is EfficientAD-M. `--detector.pictures FOLDER` has the pictures of the penalty,
ImageNet's at the authors'. For a GPU: a step costs 38 GMAC, thrice.
"""

from jaxqc.anomaly.detectors import EfficientAd
from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig


def get_config() -> FitConfig:
    """The recipe."""
    return FitConfig(
        detector=EfficientAd(),
        backbone=BackboneConfig("pdn_small", layers=(1,)),
        data=FitDataConfig(size=256),
    )
