"""MvpMatch on SD-saliency-900 as four classes (background and three kinds of defect), with a ResNet-18 on a CPU.

    jaxqc weights resnet18
    jaxqc data split SD900 --labeled 1/16 --out splits/16
    jaxqc train --config configs/mvpmatch_sd900.py --data SD900 --views.splits splits/16

With a GPU: --model.name dinov2_vits14 --weights dinov2_vits14 --optim.lr 5e-6 --head-rate 40, crops of 518.
Results: docs/results.md.
"""

from jaxqc.config import DataConfig, ModelConfig, OptimConfig, Phase
from jaxqc.semi.recipe import SemiDataConfig, SemiTrainConfig, preset


def get_config() -> SemiTrainConfig:
    """The recipe."""
    return SemiTrainConfig(
        model=ModelConfig("resnet18"),
        weights="resnet18",
        data=DataConfig(mode="resident"),
        optim=OptimConfig("adamw", lr=2e-4, weight_decay=0.01, warmup_epochs=0.5, schedule="poly", clip=10.0),
        head_rate=5.0,
        lr_batch=0,
        phases=(Phase(epochs=10, size=128, batch=8),),
        semi=preset("mvpmatch"),
        views=SemiDataConfig(scale_min=0.5, scale_max=1.5),
        eval_size=0,
        eval_batch=8,
        eval_every_epochs=2,
        checkpoint_every_epochs=4,
    )
