"""AST as published: a flow of EfficientNet-B5's features at 768 pixels, then a residual network that imitates it, 72
epochs each. No figure is claimed: it was not measured.

    jaxqc weights efficientnet_b5
    jaxqc fit --config ast_efficientnet_b5 --data NORMALS --out runs/ast

Both trainings go on where they were ended. `--detector.flow.training.epochs` is the teacher's length, and
`--detector.training.epochs` the student's.
"""

from jaxqc.anomaly.detectors import Ast
from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig


def get_config() -> FitConfig:
    """The recipe."""
    return FitConfig(
        detector=Ast(),
        backbone=BackboneConfig("efficientnet_b5", layers=(4,)),
        data=FitDataConfig(size=768),
        batch=8,
    )
