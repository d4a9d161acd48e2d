"""MINet on SD-saliency-900 on two CPU cores: the baseline beside `tscarnet_sd900_cpu.py`, same sizes and epochs.

    jaxqc train --config configs/minet_sd900_cpu.py --data DIR

Reached S .826, weighted F .708 on the 81 validation images in 46 minutes (docs/results.md).
"""

from jaxqc.config import AugmentConfig, ModelConfig, OptimConfig, Phase, TrainConfig


def get_config() -> TrainConfig:
    """The recipe."""
    return TrainConfig(
        model=ModelConfig("minet"),
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
