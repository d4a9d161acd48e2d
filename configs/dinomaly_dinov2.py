"""Dinomaly as published: a decoder of DINOv2-B's tokens of blocks 3 to 10, at 392 pixels, 5,000 steps of 16 on 230
images. No figure is claimed: it was not measured.

    jaxqc weights dinov2_vitb14_reg
    jaxqc fit --config dinomaly_dinov2 --data NORMALS --out runs/dinomaly

Whole images are resized to 392 pixels, where the authors cut them out of 448. `--detector.recentre` makes it
Dinomaly2; `--backbone.name dinov2_vits14_reg` is the small one. For a GPU.
"""

from jaxqc.anomaly.detectors import Dinomaly
from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig


def get_config() -> FitConfig:
    """The recipe."""
    return FitConfig(
        detector=Dinomaly(),
        backbone=BackboneConfig("dinov2_vitb14_reg", layers=tuple(range(3, 11)), tokens=True),
        data=FitDataConfig(size=392),
        batch=8,
    )
