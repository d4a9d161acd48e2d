"""UCTransNet at a quarter of its width on two CPU cores: the steps of `tscarnet_sd900_cpu`, images of 96 pixels
first. Not run to the end by us, so that no figure is claimed.

    jaxqc train --config uctransnet_sd900_cpu --data DIR

At full width it has 66 million parameters, 38.6 billion multiply-adds an image of 224 pixels, and is for a GPU.
"""

from dataclasses import replace

from jaxqc.config import ModelConfig, TrainConfig, load_config


def get_config() -> TrainConfig:
    """The recipe."""
    return replace(load_config("tscarnet_sd900_cpu"), model=ModelConfig("uctransnet", width=0.25))
