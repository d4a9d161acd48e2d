"""PP-LiteSeg-T on two CPU cores: the steps of `tscarnet_sd900_cpu`, images of 96 pixels first. Not run to the end by
us, so that no figure is claimed.

    jaxqc train --config pp_liteseg_sd900_cpu --data DIR

Dense 3x3 convolutions are quick on a CPU: it has four times TSCARNet's multiply-adds.
"""

from dataclasses import replace

from jaxqc.config import ModelConfig, TrainConfig, load_config


def get_config() -> TrainConfig:
    """The recipe."""
    return replace(load_config("tscarnet_sd900_cpu"), model=ModelConfig("pp_liteseg_t"))
