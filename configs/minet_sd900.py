"""MINet on SD-saliency-900 after its authors' code (arXiv 2405.16096): Adam 4e-3 throughout, batch 32, 1,800 epochs of
crops of 320. For a GPU; not run to the end by us. Its authors' own weights have S 0.920 (docs/results/many_labels.md).

    jaxqc train --config minet_sd900 --data DIR

The five maps' BCE + (1 − SSIM), each image divided by its own maximum. Ours differs in this: where the publication
resizes to 368 and cuts 336, a random crop of at least 0.913 of the side is resized to 320, a multiple of 32 (both sides
must halve evenly five times), and it is tested at 352, not 368; mean and deviation are the training set's, not 0.4669
and 0.2437; the rate warms up for two epochs, and gradients are clipped at 10.
"""

from jaxqc.config import AugmentConfig, ModelConfig, OptimConfig, Phase, TrainConfig


def get_config() -> TrainConfig:
    """The recipe."""
    return TrainConfig(
        model=ModelConfig("minet", range="image_max"),
        augment=AugmentConfig(flip_horizontal=True, crop_min=336 / 368),
        optim=OptimConfig("adam", lr=4e-3, weight_decay=0.0, warmup_epochs=2, schedule="constant", clip=10.0),
        phases=(Phase(epochs=1800, size=320, batch=32),),
        eval_size=352,
        eval_every_epochs=10,
        checkpoint_every_epochs=5,
    )
