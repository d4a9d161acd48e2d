"""CorrNet at half its width on two CPU cores: the steps of `tscarnet_sd900_cpu`, images of 96 pixels first. Not run
to the end by us, so that no figure is claimed.

    jaxqc train --config corrnet_sd900_cpu --data DIR

At full width a step costs 16 times that of PP-LiteSeg; `--model.width 1` has it.
"""

from dataclasses import replace

from jaxqc.config import ModelConfig, TrainConfig, load_config


def get_config() -> TrainConfig:
    """The recipe."""
    return replace(load_config("tscarnet_sd900_cpu"), model=ModelConfig("corrnet", width=0.5))
