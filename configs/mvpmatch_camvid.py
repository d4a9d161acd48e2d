"""MvpMatch on CamVid (11 classes) at a CPU's cost: images 160 pixels wide, a ResNet-18 to layer 3, crops of 64.

    jaxqc weights resnet18
    jaxqc data split camvid --labeled 1/16 --out splits/16
    jaxqc train --config configs/mvpmatch_camvid.py --data camvid --views.splits splits/16

Moving average and blur are scaled to a short run and small crops; a rate of 2e-4 learns slower than this one. Rare
classes weigh more (`balance`): else unlabelled images teach the common ones at their cost. With a GPU:
configs/mvpmatch_marketing.py, which takes any set. Results: docs/results/few_labels.md.
"""

from jaxqc.config import DataConfig, ModelConfig, OptimConfig, Phase, PhotometricConfig
from jaxqc.semi.recipe import SemiDataConfig, SemiTrainConfig, preset


def get_config() -> SemiTrainConfig:
    """The recipe."""
    return SemiTrainConfig(
        model=ModelConfig("resnet18"),
        weights="resnet18",
        layers=3,
        data=DataConfig(mode="resident"),
        optim=OptimConfig("adamw", lr=5e-5, weight_decay=0.01, warmup_epochs=0.5, schedule="poly", clip=10.0),
        head_rate=20.0,
        lr_batch=0,
        phases=(Phase(epochs=40, size=64, batch=4),),
        semi=preset("mvpmatch", ema=0.99, balance=0.5, photometric=PhotometricConfig(blur_max=0.3)),
        views=SemiDataConfig(scale_min=0.2, scale_max=0.5),
        fast=160,
        eval_size=160,
        eval_batch=4,
        eval_every_epochs=4,
        checkpoint_every_epochs=4,
    )
