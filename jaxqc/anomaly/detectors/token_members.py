"""The published systems that rebuild tokens, as values of `ReconstructionConfig`."""

from dataclasses import dataclass, replace
from typing import Literal

from jaxqc.anomaly.detectors.base import TrainingConfig
from jaxqc.anomaly.detectors.reconstruction import Encoder, ReconstructionConfig, Shown
from jaxqc.anomaly.detectors.trainings import ADAM

UNIAD_TRAINING = TrainingConfig(
    1000.0,
    64,
    replace(ADAM, name="adamw", lr=1e-4, weight_decay=1e-4, decay="all", clip=0.1, schedule="step", milestones=(0.8,)),
    evaluate_every_epochs=50.0,
    checkpoint_every_epochs=50.0,
)
"""The authors' training, of eight images on each of eight GPUs."""


@dataclass(frozen=True)
class UniAd(ReconstructionConfig):
    """UniAD (arXiv 2206.03687): a transformer that rebuilds features, and no cell sees those about it.

    One model serves several products. Features are computed once where they have room (`training.cache`). The authors
    take four layers of EfficientNet-B4 at 224 pixels, on the grid of stride 16, by the nearest of their cells; here a
    cell is a mean. A side has at least `tokens.hide` + 1 cells. `window`: theirs is 16.
    """

    encoder: Encoder = "tokens"
    grid: Literal["finest", "coarsest"] = "coarsest"
    map: Shown = "norm"
    window: int = 17
    training: TrainingConfig = UNIAD_TRAINING


MEMBERS: dict[str, type[ReconstructionConfig]] = {"uniad": UniAd}
"""By the names of `jaxqc.anomaly.detectors.DETECTORS`."""
