"""GCRANet (2025) on SD-saliency-900 with its own loss and rate: Adam 5e-4, batch 8, 900 epochs of crops of 224. For a
GPU; not run by us, so that no figure is claimed.

    jaxqc train --config gcranet_sd900 --data DIR

Five maps' BCE + (1 − SSIM) + (1 − IoU). Ours differs in this: a random crop of at least 0.875 of the side is resized to
224, where the published code cuts 224 of 256; the encoder starts from drawn weights, not from SAMNet's; the best step
is chosen on validation images, where the published script chooses it on the test images.
"""

from jaxqc.config import AugmentConfig, ModelConfig, OptimConfig, Phase, TrainConfig


def get_config() -> TrainConfig:
    """The recipe."""
    return TrainConfig(
        model=ModelConfig("gcranet"),
        augment=AugmentConfig(flip_horizontal=True, crop_min=224 / 256),
        optim=OptimConfig("adam", lr=5e-4, weight_decay=0.0, warmup_epochs=0, schedule="constant"),
        phases=(Phase(epochs=900, size=224, batch=8),),
        eval_size=224,
        eval_every_epochs=10,
        checkpoint_every_epochs=10,
    )
