"""The members of the semi-supervised family by name."""

import dataclasses
from typing import Any

from jaxqc import plugins
from jaxqc.config import PhotometricConfig
from jaxqc.semi.member import SemiConfig
from jaxqc.semi.settings import (
    ContrastConfig,
    CutMixConfig,
    HistoryConfig,
    LanguageConfig,
    MemoryConfig,
    NoiseConfig,
    RampConfig,
    SelectConfig,
    TiersConfig,
)

TIERS = TiersConfig((0.85, 0.90, 0.95), (0.1, 0.2, 0.7))
"""MvpMatch's: τ_h = 0.95, τ_b = 0.05, so τ_m = τ_h − τ_b and τ_l = τ_h − 2 τ_b."""
HISTORY = HistoryConfig(length=8)
PS_MT = SemiConfig(
    teachers=2,
    views=1,
    perturbation="none",
    tiers=TiersConfig((0.6,), (1.0,)),
    select=SelectConfig(weight="confidence", divisor="kept"),
    unsup=RampConfig(weight=1.5, warm_epochs=5.0, ramp_epochs=12.0, halve=False),
    labelled_photometric=True,
    cutmix=CutMixConfig(1.0, 0.2, 0.8, 1.0),
)
"""PS-MT (arXiv 2111.12903) with its weight for VOC; 0.06 to 3 for other sets."""

U2PL = SemiConfig(
    views=1,
    perturbation="none",
    tiers=TiersConfig((0.0,), (1.0,)),
    select=SelectConfig(by="entropy", divisor="share"),
    unsup=RampConfig(warm_epochs=1.0, halve=False),
    contrast=ContrastConfig(weight=0.1),
    photometric=PhotometricConfig(jitter=0.0, grey=0.0, blur=0.0),
    cutmix=CutMixConfig(0.5, 0.5, 0.5, 0.5),
    ema=0.99,
)
"""U2PL (arXiv 2203.03884) as its paper says it. Its views are mixed by a box of half the area, and else unchanged."""

PRESETS: dict[str, SemiConfig] = {
    "supervised": SemiConfig(labels="none", views=0, perturbation="none"),
    # What averaging brings without unlabelled images: the others are measured by their average.
    "supervised_ema": SemiConfig(views=0, perturbation="none"),
    "fixmatch": SemiConfig(views=1, perturbation="none"),
    "unimatch_v2": SemiConfig(),
    "tiers_only": SemiConfig(tiers=TIERS),
    "history_only": SemiConfig(history=HISTORY),
    "mvpmatch": SemiConfig(tiers=TIERS, history=HISTORY),
    "unimatch_v1": SemiConfig(labels="self", perturbation="weak"),
    # ps_mt without its noise, which the authors' code computes too finely for it to move anything.
    "ps_mt_released": PS_MT,
    "ps_mt": dataclasses.replace(PS_MT, noise=NoiseConfig(eps=2.0)),
    "u2pl": U2PL,
    # Its figures are of images labelled by the student alone (arXiv 2403.01818); an image in use attends to itself.
    "allspark": SemiConfig(
        labels="self",
        views=0,
        perturbation="none",
        learn_weak=True,
        memory=MemoryConfig(heads=2),
        tiers=TiersConfig((0.0,), (1.0,)),
        labelled_photometric=True,
    ),
    # arXiv 2311.16241. Its guide is for sets whose classes CLIP has words for; name its file where yours is one.
    "semivl": SemiConfig(labels="self", perturbation="weak", language=LanguageConfig(decoder=True)),
    # PixCon's bank of clean pixels (arXiv 2607.03068) upon UniMatch V2.
    "pixcon": SemiConfig(contrast=ContrastConfig(weight=0.1, positives="clean", length=256)),
    # PrevMatch lets mu rise with the epochs and keeps its threshold lower; here mu is constant.
    "prevmatch": SemiConfig(
        labels="self", perturbation="weak", history=dataclasses.replace(HISTORY, threshold=0.9, mu=1.0)
    ),
    "cps": SemiConfig(
        students=2,
        labels="other",
        views=1,
        perturbation="none",
        tiers=TiersConfig((0.0,), (1.0,)),
        photometric=PhotometricConfig(jitter=0.0, grey=0.0, blur=0.0),
        cutmix=CutMixConfig(probability=1.0),
    ),
}
"""By name. The paper's Table 2: `unimatch_v2`, `tiers_only`, `history_only`, `mvpmatch`."""


def preset(name: str, **changes: Any) -> SemiConfig:
    """The member of the family of this name, with some fields replaced; checked.

    name: a key of `PRESETS`, or what an installed package registers in the group `jaxqc.methods`
    (docs/develop/add_a_method.md). A run folder holds the member's fields, so that using it needs no such package.

    Raises:
      UserError: an unknown name (with a suggestion), a package that is missing or broken, or fields that do not go
        together.

    Examples:
      >>> preset("mvpmatch").history.length, preset("fixmatch").history.length
      (8, 0)
    """
    config = dataclasses.replace(plugins.resolve("methods", name, PRESETS, field="method", want=SemiConfig), **changes)
    config.check(name)
    return config
