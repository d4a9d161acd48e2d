"""MINet on SD-saliency-900 in 46 minutes on two CPU cores: S 0.826, weighted F 0.708 on the 81 validation images. The
baseline beside `tscarnet_sd900_cpu`, the same but for the model.

    jaxqc train --config minet_sd900_cpu --data DIR

Where the figures are from: docs/results/many_labels.md.
"""

from dataclasses import replace

from jaxqc.config import ModelConfig, TrainConfig, load_config


def get_config() -> TrainConfig:
    """The recipe."""
    return replace(load_config("tscarnet_sd900_cpu"), model=ModelConfig("minet"))
