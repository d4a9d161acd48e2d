"""TSCARNet on SD-saliency-900 over some hours on two CPU cores: the hour's recipe with ten times its epochs at 224.

    jaxqc train --config configs/tscarnet_sd900_cpu_long.py --data DIR --out runs/long

Reached S .874, weighted F .768 on the 81 validation images, most of it after 50 of its 110 epochs
(docs/results/many_labels.md).
The same command goes on with a run that was ended.
"""

from dataclasses import replace
from pathlib import Path

from jaxqc.config import Phase, TrainConfig, load_config


def get_config() -> TrainConfig:
    """The recipe."""
    return replace(
        load_config(Path(__file__).with_name("tscarnet_sd900_cpu.py")),
        phases=(
            Phase(epochs=40, size=96, batch=8),
            Phase(epochs=10, size=160, batch=8),
            Phase(epochs=60, size=224, batch=8),
        ),
    )
