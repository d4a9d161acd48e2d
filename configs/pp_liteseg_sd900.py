"""PP-LiteSeg-B (arXiv 2204.02681) on SD-saliency-900: SGD 0.01, batch 16, 200 epochs of crops at 224. For a GPU; not
run by us, so that no figure is claimed.

    jaxqc train --config pp_liteseg_sd900 --data DIR

Three heads' cross entropy of the hardest pixels. `--model.name pp_liteseg_t` is the smaller size. Ours differs in this:
it starts from drawn weights, as no published file of ImageNet's is read; the hardest pixels are counted in each image.
"""

from jaxqc.config import AugmentConfig, ModelConfig, OptimConfig, Phase, TrainConfig


def get_config() -> TrainConfig:
    """The recipe."""
    return TrainConfig(
        model=ModelConfig("pp_liteseg_b"),
        augment=AugmentConfig(flip_horizontal=True, crop_min=0.5, brightness=0.1, contrast=0.5),
        optim=OptimConfig(
            "sgd", lr=0.01, nesterov=False, weight_decay=5e-4, decay="all", warmup_epochs=5, schedule="poly"
        ),
        phases=(Phase(epochs=200, size=224, batch=16),),
        eval_size=224,
        eval_every_epochs=10,
        checkpoint_every_epochs=10,
    )
