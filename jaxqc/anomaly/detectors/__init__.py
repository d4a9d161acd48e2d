"""The detectors by name. Packages register further ones by the entry points `jaxqc.detectors`."""

from jaxqc.anomaly.detectors.asymmetric import Ast
from jaxqc.anomaly.detectors.combined import Combined
from jaxqc.anomaly.detectors.discriminator import MEMBERS as DISCRIMINATORS
from jaxqc.anomaly.detectors.discriminator import SuperSimpleNet
from jaxqc.anomaly.detectors.distillation import MEMBERS as DISTILLATIONS
from jaxqc.anomaly.detectors.distillation import (
    Cdo,
    DeStSeg,
    Dinomaly,
    EfficientAd,
    InpFormer,
    Rd4ad,
    RdPlusPlus,
    Salehi,
    Stfpm,
    Uninformed,
)
from jaxqc.anomaly.detectors.dsr import Dsr
from jaxqc.anomaly.detectors.flow import MEMBERS as FLOWS
from jaxqc.anomaly.detectors.gaussian import Gaussian
from jaxqc.anomaly.detectors.one_class import MEMBERS as ONE_CLASS
from jaxqc.anomaly.detectors.one_class import CutPaste, DeepSvdd, Fcdd, Geom, Goad, PatchSvdd
from jaxqc.anomaly.detectors.patchcore import AnomalyDino, PatchCore
from jaxqc.anomaly.detectors.patches import MEMBERS as PATCHES
from jaxqc.anomaly.detectors.patches import AnoVit, InTra, PatchesConfig, VtAdl
from jaxqc.anomaly.detectors.reconstruction import ReconstructionConfig
from jaxqc.anomaly.detectors.reconstruction_codes import MemAe, Vae, VaeAttention, VaeGmm, VaeProjection
from jaxqc.anomaly.detectors.reconstruction_members import MEMBERS as RECONSTRUCTIONS
from jaxqc.anomaly.detectors.reconstruction_members import ConvAe, Dfr, Draem, Riad, StainAe
from jaxqc.anomaly.detectors.reconstruction_players import Alocc, AnoGan, Egbad, FAnoGan, Ganomaly, OcrGan, SkipGanomaly
from jaxqc.anomaly.detectors.retrieval import MEMBERS as RETRIEVALS
from jaxqc.anomaly.detectors.several import MEMBERS as SEVERAL
from jaxqc.anomaly.detectors.several import Acdn, Mscdae, MsFcae, SeveralConfig
from jaxqc.anomaly.detectors.spade import Spade
from jaxqc.anomaly.detectors.statistical import MEMBERS as STATISTICS
from jaxqc.anomaly.detectors.statistical import Density, NearestWords, OneClassSvm
from jaxqc.anomaly.detectors.token_members import MEMBERS as TOKENS
from jaxqc.anomaly.detectors.token_members import UniAd

DETECTORS: dict[str, type] = {
    "gaussian": Gaussian,
    "patchcore": PatchCore,
    "anomaly_dino": AnomalyDino,
    "spade": Spade,
    **STATISTICS,
    **DISTILLATIONS,
    "ast": Ast,
    **FLOWS,
    **DISCRIMINATORS,
    **RECONSTRUCTIONS,
    **TOKENS,
    "dsr": Dsr,
    **PATCHES,
    **SEVERAL,
    **ONE_CLASS,
    **RETRIEVALS,
    "combined": Combined,
}

__all__ = [
    "DETECTORS",
    "Acdn",
    "Alocc",
    "AnoGan",
    "AnoVit",
    "AnomalyDino",
    "Ast",
    "Cdo",
    "Combined",
    "ConvAe",
    "CutPaste",
    "DeStSeg",
    "DeepSvdd",
    "Density",
    "Dfr",
    "Dinomaly",
    "Draem",
    "Dsr",
    "EfficientAd",
    "Egbad",
    "FAnoGan",
    "Fcdd",
    "Ganomaly",
    "Gaussian",
    "Geom",
    "Goad",
    "InTra",
    "InpFormer",
    "MemAe",
    "MsFcae",
    "Mscdae",
    "NearestWords",
    "OcrGan",
    "OneClassSvm",
    "PatchCore",
    "PatchSvdd",
    "PatchesConfig",
    "Rd4ad",
    "RdPlusPlus",
    "ReconstructionConfig",
    "Riad",
    "Salehi",
    "SeveralConfig",
    "SkipGanomaly",
    "Spade",
    "StainAe",
    "Stfpm",
    "SuperSimpleNet",
    "UniAd",
    "Uninformed",
    "Vae",
    "VaeAttention",
    "VaeGmm",
    "VaeProjection",
    "VtAdl",
]
