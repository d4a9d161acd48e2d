"""AnomalyDINO: one good image and its seven turned copies, compared by DINOv2's tokens, as the paper has it.

    jaxqc fit --config anomaly_dino --data DIR --backbone.weights dinov2_vits14_pretrain.pth --out runs/dino
    jaxqc fit --config anomaly_dino --data DIR --backbone.weights FILE --data.samples 16 --out runs/dino16

The other good images are not fitted; a fifth of their groups calibrates the threshold. Objects before a plain
background may gain by `--detector.masking 10`, and more images by `--detector.coreset 0.1`. Not measured here, since no
file of DINOv2 was at hand.
"""

from jaxqc.anomaly.detectors import AnomalyDino
from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig


def get_config() -> FitConfig:
    """The recipe."""
    return FitConfig(
        detector=AnomalyDino(turns=8),
        backbone=BackboneConfig("dinov2_vits14", layers=(12,)),
        data=FitDataConfig(size=448, samples=1),
    )
