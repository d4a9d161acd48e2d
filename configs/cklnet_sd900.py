"""CKLNet (2026) on SD-saliency-900, all of it together: Adam 4e-3, batch 32, 200 epochs of crops of 320. For a GPU;
not run by us, so that no figure is claimed.

    jaxqc train --config cklnet_sd900 --data DIR

Each image's BCE + (1 − SSIM) through the decoder of its own class, and the class's cross entropy. Nothing of its
training is published; optimiser and crops are those of MINet, by the same authors.
"""

from jaxqc.config import AugmentConfig, ModelConfig, OptimConfig, Phase, TrainConfig


def get_config() -> TrainConfig:
    """The recipe."""
    return TrainConfig(
        model=ModelConfig("cklnet"),
        augment=AugmentConfig(flip_horizontal=True, crop_min=336 / 368),
        optim=OptimConfig("adam", lr=4e-3, weight_decay=0.0, warmup_epochs=2, schedule="constant"),
        phases=(Phase(epochs=200, size=320, batch=32),),
        eval_size=320,
        eval_every_epochs=10,
        checkpoint_every_epochs=10,
    )
