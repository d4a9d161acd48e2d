"""MINet on SD-saliency-900 after the published recipe (arXiv 2405.16096): Adam 4e-3, batch 32, 200 epochs of crops of
320. For a GPU; not run to the end by us, so no figure is claimed.

    jaxqc train --config minet_sd900 --data DIR

The five maps' BCE + (1 − SSIM). Ours differs in this: where the publication resizes to 368 and cuts 336, a random crop
of at least 0.913 of the side is resized to 320, a multiple of 32 (both sides must halve evenly five times), and it is
tested at 352, not 368; images are normalised by the training set's mean and deviation, not by each image's maximum and
then 0.4669 and 0.2437; the rate warms up for two epochs, falls as a power, and gradients are clipped at 10.
"""

from jaxqc.config import AugmentConfig, ModelConfig, OptimConfig, Phase, TrainConfig


def get_config() -> TrainConfig:
    """The recipe."""
    return TrainConfig(
        model=ModelConfig("minet"),
        augment=AugmentConfig(flip_horizontal=True, crop_min=336 / 368),
        optim=OptimConfig("adam", lr=4e-3, weight_decay=0.0, warmup_epochs=2, schedule="poly", clip=10.0),
        phases=(Phase(epochs=200, size=320, batch=32),),
        eval_size=352,
        eval_every_epochs=10,
        checkpoint_every_epochs=5,
    )
