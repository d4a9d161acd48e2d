"""TSCARNet on SD-saliency-900, the paper's recipe: SGD, 200 epochs at 224, batch 16. For a GPU; the paper's S is 0.950
(protocol `seed`), not yet run to the end by us.

    jaxqc train --config tscarnet_sd900 --data DIR

The published layout is split by protocol `seed` (270 + 30 a class); an index.csv brings its own split. The learning
rate, weight decay, warm-up and clip are our reading where the paper is silent. Clip 10, not 1: at the start the stem's
gradient has a norm of 28 to 112, and a bound of 1 stops learning. Results: docs/results/many_labels.md.
"""

from jaxqc.config import AugmentConfig, ModelConfig, OptimConfig, Phase, TrainConfig


def get_config() -> TrainConfig:
    """The recipe."""
    return TrainConfig(
        model=ModelConfig("tscarnet"),
        augment=AugmentConfig(flip_horizontal=True),
        optim=OptimConfig("sgd", lr=0.05, momentum=0.9, weight_decay=5e-4, warmup_epochs=5, schedule="poly", clip=10.0),
        phases=(Phase(epochs=200, size=224, batch=16),),
        eval_every_epochs=10,
        checkpoint_every_epochs=5,
    )
