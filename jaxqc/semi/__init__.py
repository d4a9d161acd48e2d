"""Segmentation from few labels: MvpMatch, and its family as values of one configuration; imported on first use.

>>> from jaxqc import semi
>>> semi.preset("mvpmatch").tiers.bounds
(0.85, 0.9, 0.95)
"""

from typing import TYPE_CHECKING

from jaxqc.lazy import lazy_names

if TYPE_CHECKING:
    from jaxqc.semi.data import make_splits, read_splits, write_splits
    from jaxqc.semi.model import Segmentation, load_segmentation
    from jaxqc.semi.recipe import (
        PRESETS,
        ContrastConfig,
        CutMixConfig,
        GateConfig,
        HistoryConfig,
        LanguageConfig,
        MemoryConfig,
        NoiseConfig,
        RampConfig,
        SelectConfig,
        SemiConfig,
        SemiDataConfig,
        SemiTrainConfig,
        TiersConfig,
        preset,
    )

RECIPE = (
    "PRESETS",
    "ContrastConfig",
    "CutMixConfig",
    "GateConfig",
    "HistoryConfig",
    "LanguageConfig",
    "MemoryConfig",
    "NoiseConfig",
    "RampConfig",
    "SelectConfig",
    "SemiConfig",
    "SemiDataConfig",
    "SemiTrainConfig",
    "TiersConfig",
)
__all__ = [
    "PRESETS",
    "ContrastConfig",
    "CutMixConfig",
    "GateConfig",
    "HistoryConfig",
    "LanguageConfig",
    "MemoryConfig",
    "NoiseConfig",
    "RampConfig",
    "Segmentation",
    "SelectConfig",
    "SemiConfig",
    "SemiDataConfig",
    "SemiTrainConfig",
    "TiersConfig",
    "load_segmentation",
    "make_splits",
    "preset",
    "read_splits",
    "write_splits",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        **dict.fromkeys((*RECIPE, "preset"), "recipe"),
        **dict.fromkeys(("make_splits", "read_splits", "write_splits"), "data"),
        **dict.fromkeys(("Segmentation", "load_segmentation"), "model"),
    },
)
