"""A U-Net over ImageNet's EfficientNet-Lite0 on SD-saliency-900, for two CPU cores: S 0.882, weighted F 0.825, E 0.929
and MAE 0.025 on the 81 validation images, after 44 minutes of two cores that other programs wanted, too.

    jaxqc train --config unet_sd900_cpu --data DIR

The encoder's weights come with the extra `backbones`. Small images first: an epoch at 128 pixels costs a fifth of one
at 320, which is larger than the files' 200 and finds thin scratches better. docs/results/many_labels.md has the figures
and a run of nine minutes.
"""

from jaxqc.config import AugmentConfig, ModelConfig, OptimConfig, Phase, TrainConfig


def get_config() -> TrainConfig:
    """The recipe."""
    return TrainConfig(
        model=ModelConfig("unet", weights="efficientnet_lite0"),
        augment=AugmentConfig(flip_horizontal=True, flip_vertical=True, crop_min=0.7, brightness=0.1, contrast=0.2),
        optim=OptimConfig("adamw", lr=1e-3, weight_decay=1e-4, warmup_epochs=1, schedule="cosine", clip=10.0),
        phases=(
            Phase(epochs=10, size=128, batch=8),
            Phase(epochs=8, size=224, batch=8),
            Phase(epochs=12, size=320, batch=8),
        ),
        eval_size=320,
        eval_every_epochs=2,
        checkpoint_every_epochs=1,
    )
