"""Uninformed Students as published, but for a description for 4 x 4 pixels: three teachers, three students of each, 256
pixels, 100 epochs. No figure is claimed: it was not measured.

    jaxqc fit --config uninformed_students --backbone.weights FOLDER --data NORMALS --out runs/uninformed

FOLDER has `pdn_17.npz`, `pdn_33.npz` and `pdn_65.npz`, each made by `scripts/distill_pdn.py`. `--backbone.name pdn_33`
takes one of them alone, at a tenth of the time, which is for a GPU even so.
"""

from jaxqc.anomaly.detectors import Uninformed
from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig


def get_config() -> FitConfig:
    """The recipe."""
    return FitConfig(
        detector=Uninformed(),
        backbone=BackboneConfig("pdn_17+pdn_33+pdn_65", layers=(1,)),
        data=FitDataConfig(size=256),
        batch=4,
    )
