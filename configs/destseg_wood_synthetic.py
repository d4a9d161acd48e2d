"""DeSTSeg on generated boards: a student of the shipped backbone's second layer that takes defects away, and its head.

    jaxqc data synthetic boards --kind wood --count 300 --size 128
    jaxqc fit --config destseg_wood_synthetic --data boards --out runs/destseg
    jaxqc evaluate --checkpoint runs/destseg --data boards

The authors use layers 1 to 3 and 5,000 steps of 32 images; the head works on the finest grid, which makes layer 1 dear.
"""

from dataclasses import replace

from jaxqc.anomaly.detectors import DeStSeg
from jaxqc.anomaly.recipe import BackboneConfig, DecisionConfig, FitConfig, FitDataConfig


def get_config() -> FitConfig:
    """The recipe."""
    return FitConfig(
        detector=DeStSeg(training=replace(DeStSeg().training, epochs=20.0, batch=16)),
        backbone=BackboneConfig("resnet18", weights="synthetic-resnet18", layers=(2,)),
        data=FitDataConfig(size=128),
        decision=DecisionConfig(false_alarm=0.05, opening=1, smallest=9),
    )
