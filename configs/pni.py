"""PNI as its authors set it, with a network of 512 where theirs has 2,048: Wide-ResNet-101 at 480 pixels.

    jaxqc fit --config pni --data DIR --backbone.weights wide_resnet101_2-32ee1156.pth --out runs/pni
    jaxqc fit --config pni --data DIR --detector.hidden 2048 --backbone.weights FILE --out runs/pni

The convolution over 9 x 9 cells needs a GPU: 150 GMAC an image. Not measured here with that backbone.
"""

from jaxqc.anomaly.detectors.retrieval import Pni
from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig


def get_config() -> FitConfig:
    """The recipe."""
    return FitConfig(
        detector=Pni(),
        backbone=BackboneConfig("wide_resnet101_2", layers=(2, 3)),
        data=FitDataConfig(size=480),
    )
