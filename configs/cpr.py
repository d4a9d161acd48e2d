"""CPR as its authors set it: DenseNet-201 to its second block at 320 pixels, ten retrieved images, 32 images a step.

    jaxqc fit --config cpr --data DIR --backbone.weights densenet201-c1103571.pth --out runs/cpr
    jaxqc fit --config cpr --data DIR --backbone.name resnet18 --backbone.weights FILE --out runs/cpr

The authors take 500 steps on textures and 40,000 on objects; 70 epochs of 230 images are 500 steps. Parts
before a background want `--detector.foreground`. Not measured here with that backbone.
"""

from jaxqc.anomaly.detectors.retrieval import Cpr
from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig


def get_config() -> FitConfig:
    """The recipe."""
    return FitConfig(
        detector=Cpr(),
        backbone=BackboneConfig("densenet201", layers=(1, 2)),
        data=FitDataConfig(size=320),
    )
