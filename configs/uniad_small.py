"""UniAD with a small transformer on generated boards: features of the shipped backbone, rebuilt from those that are not
near. No figure is claimed: it was not measured.

    jaxqc data synthetic boards --kind wood --count 300 --size 128
    jaxqc fit --config uniad_small --data boards --out runs/uniad
    jaxqc evaluate --checkpoint runs/uniad --data boards

Published are 4 + 4 layers of 256 channels, EfficientNet-B4 at 224 pixels and 1,000 epochs of several products.
"""

from dataclasses import replace

from jaxqc.anomaly.detectors import UniAd
from jaxqc.anomaly.detectors.token_settings import TokensConfig
from jaxqc.anomaly.recipe import BackboneConfig, DecisionConfig, FitConfig, FitDataConfig


def get_config() -> FitConfig:
    """The recipe."""
    own = UniAd().training
    training = replace(own, epochs=40.0, batch=16, optim=replace(own.optim, lr=1e-3), evaluate_every_epochs=20.0)
    return FitConfig(
        detector=UniAd(tokens=TokensConfig(dim=64, heads=4, layers=2, hidden=128), training=training),
        backbone=BackboneConfig("resnet18", weights="synthetic-resnet18", layers=(1, 2)),
        data=FitDataConfig(size=128),
        decision=DecisionConfig(false_alarm=0.05, opening=1, smallest=9),
    )
