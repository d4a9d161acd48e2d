"""MINet on SD-saliency-900 on two CPU cores: the baseline beside `tscarnet_sd900_cpu.py`, the same but for the model.

    jaxqc train --config configs/minet_sd900_cpu.py --data DIR

Reached S .826, weighted F .708 on the 81 validation images in 46 minutes (docs/results/many_labels.md).
"""

from dataclasses import replace
from pathlib import Path

from jaxqc.config import ModelConfig, TrainConfig, load_config


def get_config() -> TrainConfig:
    """The recipe."""
    return replace(load_config(Path(__file__).with_name("tscarnet_sd900_cpu.py")), model=ModelConfig("minet"))
