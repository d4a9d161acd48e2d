"""RD4AD as published: reverse distillation of Wide-ResNet-50's layers 1 to 3 at 256 pixels, 200 epochs of batches of
16. No figure is claimed: it was not measured.

    jaxqc weights wide_resnet50_2
    jaxqc fit --config rd4ad_wide_resnet50 --data NORMALS --out runs/rd4ad

A step costs 16 GMAC an image beside the teacher's 12, which are computed once: for a GPU. `--backbone.name resnet18`
is the authors' smaller one.
"""

from jaxqc.anomaly.detectors import Rd4ad
from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig


def get_config() -> FitConfig:
    """The recipe."""
    return FitConfig(
        detector=Rd4ad(),
        backbone=BackboneConfig("wide_resnet50_2", layers=(1, 2, 3)),
        data=FitDataConfig(size=256),
    )
