"""CFLOW-AD as published: eight couplings of each cell of Wide-ResNet-50's layers 2 to 4 at 256 pixels, 200 epochs of
batches of 32. No figure is claimed: it was not measured.

    jaxqc weights wide_resnet50_2
    jaxqc fit --config cflow_wide_resnet50 --data NORMALS --out runs/cflow

A step takes 32 drawn cells of each image and layer, where the authors take each cell. `--backbone.name resnet18` has
a tenth of the parameters. For a GPU.
"""

from jaxqc.anomaly.detectors.flow import Cflow
from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig


def get_config() -> FitConfig:
    """The recipe."""
    return FitConfig(
        detector=Cflow(),
        backbone=BackboneConfig("wide_resnet50_2", layers=(2, 3, 4)),
        data=FitDataConfig(size=256),
    )
