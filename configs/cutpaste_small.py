"""CutPaste on generated boards at 128 pixels: the backbone that comes along, trained on for minutes. After 6
epochs, four minutes of a core: image AUROC 0.700 on unseen boards (untrained: 0.579); 20 were not measured.

    jaxqc data synthetic boards --kind wood --count 300 --size 128
    jaxqc fit --config cutpaste_small --data boards --out runs/cutpaste
    jaxqc evaluate --checkpoint runs/cutpaste --data boards

The authors train 65,536 steps at 256 pixels (cutpaste_published).
"""

from dataclasses import replace

from jaxqc.anomaly.detectors import CutPaste
from jaxqc.anomaly.recipe import BackboneConfig, DecisionConfig, FitConfig, FitDataConfig


def get_config() -> FitConfig:
    """The recipe."""
    detector = CutPaste()
    training = replace(detector.training, epochs=20.0, batch=16, evaluate_every_epochs=10.0)
    return FitConfig(
        detector=replace(detector, training=training),
        backbone=BackboneConfig("resnet18", weights="synthetic-resnet18", layers=(2,)),
        data=FitDataConfig(size=128),
        decision=DecisionConfig(false_alarm=0.05, opening=1, smallest=9),
    )
