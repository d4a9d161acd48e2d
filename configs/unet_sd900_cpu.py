"""A U-Net over ImageNet's EfficientNet-Lite0 on SD-saliency-900, for two CPU cores. Not run to the end by us: after 2
of its 14 epochs, S 0.779 and weighted F 0.531 on the 81 validation images.

    jaxqc train --config unet_sd900_cpu --data DIR

The encoder's weights come with the extra `backbones`. Small images first: an epoch at 128 pixels costs a third of one
at 224. Where the figures are from: docs/results/many_labels.md.
"""

from jaxqc.config import AugmentConfig, ModelConfig, OptimConfig, Phase, TrainConfig


def get_config() -> TrainConfig:
    """The recipe."""
    return TrainConfig(
        model=ModelConfig("unet", weights="efficientnet_lite0"),
        augment=AugmentConfig(flip_horizontal=True, flip_vertical=True, crop_min=0.7, brightness=0.1, contrast=0.2),
        optim=OptimConfig("adamw", lr=1e-3, weight_decay=1e-4, warmup_epochs=1, schedule="cosine", clip=10.0),
        phases=(Phase(epochs=10, size=128, batch=8), Phase(epochs=4, size=224, batch=8)),
        eval_every_epochs=2,
        checkpoint_every_epochs=1,
    )
