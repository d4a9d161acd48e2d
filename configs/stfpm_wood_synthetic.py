"""STFPM on generated boards: a student learns the shipped backbone's features of normal wood.

jaxqc data synthetic boards --kind wood --count 300 --size 128
jaxqc fit --config configs/stfpm_wood_synthetic.py --data boards --out runs/stfpm
jaxqc evaluate --checkpoint runs/stfpm --data boards
"""

from dataclasses import replace

from jaxqc.anomaly.detectors import Stfpm
from jaxqc.anomaly.detectors.stfpm import AUTHORS
from jaxqc.anomaly.recipe import BackboneConfig, DecisionConfig, FitConfig, FitDataConfig


def get_config() -> FitConfig:
    """The recipe."""
    return FitConfig(
        detector=Stfpm(training=replace(AUTHORS, epochs=40.0, batch=16)),
        backbone=BackboneConfig("resnet18", weights="synthetic-resnet18", layers=(1, 2)),
        data=FitDataConfig(layout="mvtec", size=128),
        decision=DecisionConfig(false_alarm=0.05, opening=1, smallest=9),
    )
