"""A Gaussian per position on generated boards, with the small backbone that comes along: for scripts/demo_wood.py.

    jaxqc data synthetic boards --kind wood --count 300 --size 128
    jaxqc fit --config configs/gaussian_synthetic.py --data boards --out runs/boards
    jaxqc evaluate --checkpoint runs/boards --data boards

The backbone has seen neither boards nor their defects (`synthetic-resnet18`, see configs/resnet18_textures.py).
"""

from jaxqc.anomaly.detectors import Gaussian
from jaxqc.anomaly.recipe import BackboneConfig, DecisionConfig, FitConfig, FitDataConfig


def get_config() -> FitConfig:
    """The recipe."""
    return FitConfig(
        method="gaussian",
        backbone=BackboneConfig("resnet18", weights="synthetic-resnet18", layers=(1, 2)),
        data=FitDataConfig(layout="mvtec", size=128),
        gaussian=Gaussian(channels=100, sigma=2.0),
        decision=DecisionConfig(false_alarm=0.05, opening=1, smallest=9),
    )
