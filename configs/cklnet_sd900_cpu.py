"""CKLNet on two CPU cores: the steps of `tscarnet_sd900_cpu`, images of 96 pixels first. Not run to the end by us, so
that no figure is claimed.

    jaxqc train --config cklnet_sd900_cpu --data DIR

The rival of TSCARNet's class awareness: a hard choice between three decoders.
"""

from dataclasses import replace

from jaxqc.config import ModelConfig, TrainConfig, load_config


def get_config() -> TrainConfig:
    """The recipe."""
    return replace(load_config("tscarnet_sd900_cpu"), model=ModelConfig("cklnet"))
