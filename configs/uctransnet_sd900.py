"""UCTransNet (AAAI 2022) on SD-saliency-900 with its own loss and rate: Adam 1e-3, batch 4, 200 epochs at 224. For a
GPU; not run by us, so that no figure is claimed.

    jaxqc train --config uctransnet_sd900 --data DIR

Half of Dice, half of balanced cross entropy. Ours differs in this: the rate falls once as a cosine to 1e-4, where the
published one starts anew every 10 epochs, and stops after 50 without a better Dice; masks stay as they are drawn, where
the published code widens them; pixels are normalised.
"""

from jaxqc.config import AugmentConfig, ModelConfig, OptimConfig, Phase, TrainConfig


def get_config() -> TrainConfig:
    """The recipe."""
    return TrainConfig(
        model=ModelConfig("uctransnet"),
        augment=AugmentConfig(flip_horizontal=True, flip_vertical=True),
        optim=OptimConfig("adam", lr=1e-3, weight_decay=0.0, warmup_epochs=0, schedule="cosine", floor=1e-4),
        phases=(Phase(epochs=200, size=224, batch=4),),
        eval_size=224,
        eval_every_epochs=10,
        checkpoint_every_epochs=10,
    )
