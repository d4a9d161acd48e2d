"""TSCARNet on SD-saliency-900 in 56 minutes on two CPU cores: S 0.847, weighted F 0.711 on the 81 validation images.
AdamW, small images first, 224 pixels at the end.

    jaxqc train --config tscarnet_sd900_cpu --data DIR

Progressive sizes: an epoch at 96 px costs a fifth of one at 224. Crops stand in for the larger images' detail, and
light photometric jitter for the many epochs over 729 images. Where the figures are from: docs/results/many_labels.md.
"""

from jaxqc.config import AugmentConfig, ModelConfig, OptimConfig, Phase, TrainConfig


def get_config() -> TrainConfig:
    """The recipe."""
    return TrainConfig(
        model=ModelConfig("tscarnet"),
        augment=AugmentConfig(
            flip_horizontal=True, flip_vertical=True, crop_min=0.6, brightness=0.1, contrast=0.2, noise=0.02
        ),
        optim=OptimConfig("adamw", lr=2e-3, weight_decay=1e-4, warmup_epochs=2, schedule="cosine", clip=10.0),
        phases=(
            Phase(epochs=40, size=96, batch=8),
            Phase(epochs=8, size=128, batch=8),
            Phase(epochs=6, size=224, batch=8),
        ),
        eval_every_epochs=10,
        checkpoint_every_epochs=2,
    )
