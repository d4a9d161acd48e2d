"""TSCARNet on SD-saliency-900 over some hours on two CPU cores: the hour's recipe with ten times its epochs at 224.

    jaxqc train --config configs/tscarnet_sd900_cpu_long.py --data DIR --out runs/long

Not run to its end yet: S .869, weighted F .768 on the 81 validation images after 50 of its 110 epochs
(docs/results.md). The same command goes on with a run that was ended.
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
            Phase(epochs=10, size=160, batch=8),
            Phase(epochs=60, size=224, batch=8),
        ),
        eval_every_epochs=10,
        checkpoint_every_epochs=2,
    )
