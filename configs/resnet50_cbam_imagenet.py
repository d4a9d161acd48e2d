"""ResNet-50 with CBAM on ImageNet-1k: the backbone of the frozen-feature Gaussian. For GPUs; never run to the end by
us, so no figure is claimed.

    jaxqc train --config resnet50_cbam_imagenet --data DIR --out runs/resnet50_cbam

The authors of CBAM train 100 epochs with SGD, batch 256, rate 0.1 cut at 30, 60 and 90 epochs (arXiv 1807.06521,
section 5.1); ours falls along a cosine after five epochs of warm-up, and crops keep 0.28 to 1 of each side of the image
squeezed to 256 x 256. The run leaves backbone.npz; scripts/train_backbone.py starts from other weights (--weights).
"""

from jaxqc.config import AugmentConfig, DataConfig, ModelConfig, OptimConfig, Phase, TrainConfig


def get_config() -> TrainConfig:
    """The recipe."""
    return TrainConfig(
        method="classifier",
        model=ModelConfig("resnet50_cbam", dtype="bfloat16"),
        data=DataConfig(mode="stream", size=256, workers=8),
        augment=AugmentConfig(flip_horizontal=True, crop_min=0.28, brightness=0.2, contrast=0.2),
        optim=OptimConfig("sgd", lr=0.1, momentum=0.9, weight_decay=1e-4, warmup_epochs=5, schedule="cosine", clip=0.0),
        phases=(Phase(epochs=100, size=224, batch=256),),
        eval_size=224,
        eval_batch=256,
        eval_every_epochs=1,
        checkpoint_every_epochs=1,
        best_metric="top1",
    )
