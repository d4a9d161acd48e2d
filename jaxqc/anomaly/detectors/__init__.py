"""The detectors by name. Packages register further ones by the entry points `jaxqc.detectors`."""

from jaxqc.anomaly.detectors.asymmetric import Ast
from jaxqc.anomaly.detectors.combined import Combined
from jaxqc.anomaly.detectors.distillation import MEMBERS as DISTILLATIONS
from jaxqc.anomaly.detectors.distillation import Cdo, Dinomaly, EfficientAd, InpFormer, Rd4ad, Salehi, Stfpm, Uninformed
from jaxqc.anomaly.detectors.flow import MEMBERS as FLOWS
from jaxqc.anomaly.detectors.gaussian import Gaussian
from jaxqc.anomaly.detectors.patchcore import PatchCore
from jaxqc.anomaly.detectors.spade import Spade

DETECTORS: dict[str, type] = {
    "gaussian": Gaussian,
    "patchcore": PatchCore,
    "spade": Spade,
    **DISTILLATIONS,
    "ast": Ast,
    **FLOWS,
    "combined": Combined,
}

__all__ = [
    "DETECTORS",
    "Ast",
    "Cdo",
    "Combined",
    "Dinomaly",
    "EfficientAd",
    "Gaussian",
    "InpFormer",
    "PatchCore",
    "Rd4ad",
    "Salehi",
    "Spade",
    "Stfpm",
    "Uninformed",
]
