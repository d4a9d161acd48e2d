"""MvpMatch as published: DINOv2-B + DPT at 518 pixels, batch 16 + 16, 60 epochs, on any folder with a manifest. For a
GPU; no figure is claimed, since the paper's 40 classes of product images are private.

    jaxqc weights dinov2_vitb14
    jaxqc data split DIR --labeled 1/16 --out splits/16 --manifest manifest.json
    jaxqc train --config mvpmatch_marketing --data DIR --views.splits splits/16

The manifest names your classes. The batch is 4 micro-batches, so that one GPU can hold it; on four devices
--optim.accumulate 1 gives the reference's. The ablation of its Table 2 is `preset("unimatch_v2")`,
`preset("tiers_only")` and `preset("history_only")` in place of `preset("mvpmatch")`.
"""

import dataclasses

from jaxqc.config import ModelConfig, Phase
from jaxqc.semi.recipe import REFERENCE_OPTIM, SemiTrainConfig, preset


def get_config() -> SemiTrainConfig:
    """The recipe."""
    return SemiTrainConfig(
        model=ModelConfig("dinov2_vitb14", dtype="bfloat16"),
        weights="dinov2_vitb14",
        optim=dataclasses.replace(REFERENCE_OPTIM, accumulate=4),
        phases=(Phase(epochs=60, size=518, batch=16),),
        semi=preset("mvpmatch"),
        eval_size=518,
    )
