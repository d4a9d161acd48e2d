"""SuperSimpleNet on generated boards, two heads over the shipped backbone's second layer: image AUROC 0.789 on unseen
boards (a Gaussian per position, gaussian_wood_synthetic: 0.907), trained in eight minutes, which is too short for it.

    jaxqc data synthetic boards --kind wood --count 300 --size 128
    jaxqc fit --config supersimplenet_wood_synthetic --data boards --out runs/supersimplenet
    jaxqc evaluate --checkpoint runs/supersimplenet --data boards

The authors take layers 2 and 3 of a wide ResNet-50 and 300 epochs of 32 images; the rest is theirs.
"""

from dataclasses import replace

from jaxqc.anomaly.detectors import SuperSimpleNet
from jaxqc.anomaly.recipe import BackboneConfig, DecisionConfig, FitConfig, FitDataConfig


def get_config() -> FitConfig:
    """The recipe."""
    return FitConfig(
        detector=SuperSimpleNet(training=replace(SuperSimpleNet().training, epochs=20.0, batch=16)),
        backbone=BackboneConfig("resnet18", weights="synthetic-resnet18", layers=(2,)),
        data=FitDataConfig(size=128),
        decision=DecisionConfig(false_alarm=0.05, opening=1, smallest=9),
    )
