"""CorrNet (TGRS 2022) on SD-saliency-900 with its own loss and rate: Adam 1e-4, batch 8, 34 epochs at 256. For a GPU;
not run by us, so that no figure is claimed.

    jaxqc train --config corrnet_sd900 --data DIR

Four maps' BCE + (1 − IoU). `--model.weights vgg16` starts the first seven convolutions from ImageNet's, as published.
Ours differs in this: the gradient's norm is bounded, not each of its elements at 0.5; images are normalised by the
training set's statistics; flips are drawn, where the published images were turned beforehand.
"""

from jaxqc.config import AugmentConfig, ModelConfig, OptimConfig, Phase, TrainConfig


def get_config() -> TrainConfig:
    """The recipe."""
    return TrainConfig(
        model=ModelConfig("corrnet"),
        augment=AugmentConfig(flip_horizontal=True, flip_vertical=True),
        optim=OptimConfig(
            "adam", lr=1e-4, weight_decay=0.0, warmup_epochs=0, schedule="step", milestones=(30 / 34,), clip=0.5
        ),
        phases=(Phase(epochs=34, size=256, batch=8),),
        eval_size=256,
        eval_every_epochs=2,
        checkpoint_every_epochs=2,
    )
