"""MvpMatch on CamVid (11 classes) with a ResNet-18 that a CPU can train: crops of 128 pixels, batch 8 + 8.

    jaxqc weights resnet18
    jaxqc data split camvid --labeled 1/16 --out splits/16
    jaxqc train --config configs/mvpmatch_camvid.py --data camvid --views.splits splits/16

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
        phases=(Phase(epochs=20, size=128, batch=8),),
        semi=preset("mvpmatch"),
        views=SemiDataConfig(scale_min=0.4, scale_max=1.0),
        eval_size=256,
        eval_batch=4,
        eval_every_epochs=2,
        checkpoint_every_epochs=4,
    )
