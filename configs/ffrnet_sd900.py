"""FFRNet (TNNLS 2022), our reading, on SD-saliency-900: Adam 1e-4, batch 8, 200 epochs at 224. For a GPU; not run by
us, so that no figure is claimed.

    jaxqc train --config ffrnet_sd900 --data DIR

No code or layer figures are public; its parts are built from the abstract. `--model.weights resnet34` starts the
encoder from ImageNet's weights.
"""

from jaxqc.config import AugmentConfig, ModelConfig, OptimConfig, Phase, TrainConfig


def get_config() -> TrainConfig:
    """The recipe."""
    return TrainConfig(
        model=ModelConfig("ffrnet"),
        augment=AugmentConfig(flip_horizontal=True, flip_vertical=True),
        optim=OptimConfig("adam", lr=1e-4, weight_decay=0.0, warmup_epochs=0, schedule="poly"),
        phases=(Phase(epochs=200, size=224, batch=8),),
        eval_size=224,
        eval_every_epochs=10,
        checkpoint_every_epochs=10,
    )
