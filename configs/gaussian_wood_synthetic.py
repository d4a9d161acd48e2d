"""A Gaussian per position on generated boards, beside wood_synthetic's PatchCore in scripts/demo_wood.py; seconds.

    jaxqc data synthetic boards --kind wood --count 300 --size 128
    jaxqc fit --config configs/gaussian_wood_synthetic.py --data boards --out runs/gaussian
    jaxqc evaluate --checkpoint runs/gaussian --data boards

The settings were chosen on boards of another seed than the demo's; the image's score is the mean of its 100 highest
pixels.
"""

from jaxqc.anomaly.detectors import Gaussian
from jaxqc.anomaly.recipe import BackboneConfig, DecisionConfig, FitConfig, FitDataConfig


def get_config() -> FitConfig:
    """The recipe."""
    return FitConfig(
        detector=Gaussian(channels=100, eps=0.1, sigma=3.0, top=100),
        backbone=BackboneConfig("resnet18", weights="synthetic-resnet18", layers=(1, 2)),
        data=FitDataConfig(layout="mvtec", size=128),
        decision=DecisionConfig(false_alarm=0.05, opening=1, smallest=9),
    )
