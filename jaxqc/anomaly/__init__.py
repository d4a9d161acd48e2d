"""Normals only: detectors that learn from defect-free images; names are imported on first use.

>>> from jaxqc import anomaly
>>> {"gaussian", "stfpm", "fastflow"} <= set(anomaly.DETECTORS)
True
>>> anomaly.FitConfig(anomaly.PatchCore(coreset=0.01)).name
'patchcore'
"""

from typing import TYPE_CHECKING

from jaxqc.lazy import lazy_names

if TYPE_CHECKING:
    from jaxqc.anomaly.detectors import (
        DETECTORS,
        Alocc,
        AnoGan,
        AnomalyDino,
        Ast,
        Cdo,
        Combined,
        ConvAe,
        DeStSeg,
        Dfr,
        Dinomaly,
        Draem,
        EfficientAd,
        Egbad,
        FAnoGan,
        Ganomaly,
        Gaussian,
        InpFormer,
        MemAe,
        OcrGan,
        PatchCore,
        Rd4ad,
        RdPlusPlus,
        ReconstructionConfig,
        Riad,
        Salehi,
        SkipGanomaly,
        Spade,
        StainAe,
        Stfpm,
        SuperSimpleNet,
        Uninformed,
        Vae,
        VaeAttention,
        VaeGmm,
        VaeProjection,
    )
    from jaxqc.anomaly.detectors.flow import Cflow, CsFlow, DifferNet, FastFlow, MsFlow
    from jaxqc.anomaly.detectors.retrieval import Cpr, Pni
    from jaxqc.anomaly.model import AnomalyModel
    from jaxqc.anomaly.recipe import BackboneConfig, DecisionConfig, FitConfig, FitDataConfig
    from jaxqc.anomaly.thresholds import Thresholds, by_f1, by_quantile

__all__ = [
    "DETECTORS",
    "Alocc",
    "AnoGan",
    "AnomalyDino",
    "AnomalyModel",
    "Ast",
    "BackboneConfig",
    "Cdo",
    "Cflow",
    "Combined",
    "ConvAe",
    "Cpr",
    "CsFlow",
    "DeStSeg",
    "DecisionConfig",
    "Dfr",
    "DifferNet",
    "Dinomaly",
    "Draem",
    "EfficientAd",
    "Egbad",
    "FAnoGan",
    "FastFlow",
    "FitConfig",
    "FitDataConfig",
    "Ganomaly",
    "Gaussian",
    "InpFormer",
    "MemAe",
    "MsFlow",
    "OcrGan",
    "PatchCore",
    "Pni",
    "Rd4ad",
    "RdPlusPlus",
    "ReconstructionConfig",
    "Riad",
    "Salehi",
    "SkipGanomaly",
    "Spade",
    "StainAe",
    "Stfpm",
    "SuperSimpleNet",
    "Thresholds",
    "Uninformed",
    "Vae",
    "VaeAttention",
    "VaeGmm",
    "VaeProjection",
    "by_f1",
    "by_quantile",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        **dict.fromkeys(__all__, "detectors"),  # but for those below
        **dict.fromkeys(("Cflow", "CsFlow", "DifferNet", "FastFlow", "MsFlow"), "detectors.flow"),
        **dict.fromkeys(("Cpr", "Pni"), "detectors.retrieval"),
        "AnomalyModel": "model",
        **dict.fromkeys(("BackboneConfig", "DecisionConfig", "FitConfig", "FitDataConfig"), "recipe"),
        **dict.fromkeys(("Thresholds", "by_f1", "by_quantile"), "thresholds"),
    },
)
