"""All that the family's loss is given beside parameters, state and batch."""

from dataclasses import dataclass

from jaxtyping import Float

from jaxqc.semi.network import EncoderDecoder
from jaxqc.semi.recipe import SemiConfig
from jaxqc.types import ArrayLike


@dataclass(frozen=True)
class Setting:
    """A member, its network, and what holds throughout a training.

    axis: of the mapped devices. class_weights: factor on the cross entropy of each label and pseudo-label, such as
    `jaxqc.semi.losses.balanced_weights`; None = 1. epoch_steps, total_steps: optimiser steps of an epoch, and of all.
    """

    config: SemiConfig
    network: EncoderDecoder
    axis: str | None = None
    class_weights: Float[ArrayLike, " k"] | None = None
    epoch_steps: int = 1
    total_steps: int = 1
