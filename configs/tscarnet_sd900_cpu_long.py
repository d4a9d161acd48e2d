"""TSCARNet on SD-saliency-900 in 4.1 hours on two CPU cores: S 0.874, weighted F 0.768 on the 81 validation images. The
recipe `tscarnet_sd900_cpu` with ten times its epochs at 224.

    jaxqc train --config tscarnet_sd900_cpu_long --data DIR --out runs/long

Most of it is reached after 50 of its 110 epochs (docs/results/many_labels.md). The same command goes on with
a run that was ended.
"""

from dataclasses import replace

from jaxqc.config import Phase, TrainConfig, load_config


def get_config() -> TrainConfig:
    """The recipe."""
    return replace(
        load_config("tscarnet_sd900_cpu"),
        phases=(
            Phase(epochs=40, size=96, batch=8),
            Phase(epochs=10, size=160, batch=8),
            Phase(epochs=60, size=224, batch=8),
        ),
    )
