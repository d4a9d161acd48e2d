"""The published systems that rebuild an image or its features, as values of `ReconstructionConfig`."""

from dataclasses import dataclass, replace
from typing import Literal

from jaxqc.anomaly.detectors.base import TrainingConfig
from jaxqc.anomaly.detectors.reconstruction import Encoder, LossWeights, ReconstructionConfig, Seen, Shown
from jaxqc.anomaly.detectors.reconstruction_codes import CODES
from jaxqc.anomaly.detectors.reconstruction_players import ADVERSARIES
from jaxqc.anomaly.detectors.trainings import ADAM

CONV_TRAINING = TrainingConfig(200.0, 128, replace(ADAM, lr=2e-4, weight_decay=1e-5, decay="all"))
"""The authors' training."""
DRAEM_TRAINING = TrainingConfig(
    700.0, 8, replace(ADAM, lr=1e-4, schedule="step", milestones=(0.8, 0.9), factor=0.2), evaluate_every_epochs=50.0
)
"""The authors' training."""
RIAD_TRAINING = TrainingConfig(300.0, 4, replace(ADAM, lr=1e-4, schedule="step", milestones=(5 / 6,)))
"""The authors' training."""
DFR_TRAINING = TrainingConfig(150.0, 4, replace(ADAM, lr=1e-4))
"""The authors' training; they take all cells of an image."""
DRAEM_LOSS = LossWeights(l2=1.0, ssim=1.0, focal=1.0)
"""The authors' weights."""
RIAD_LOSS = LossWeights(l2=1.0, ssim=0.01, msgms=0.01)
"""The authors' weights."""
BERGMANN = (32, 32, 32, 64, 64, 128, 64, 32)
"""Channels of the steps of the autoencoder of arXiv 1807.02011."""


@dataclass(frozen=True)
class StainAe(ReconstructionConfig):
    """An autoencoder with skips that takes stains away (arXiv 2008.12977). A side is a multiple of 64 pixels."""

    skips: Literal["none", "add", "concat"] = "add"
    corrupt: Seen = "stain"


@dataclass(frozen=True)
class ConvAe(ReconstructionConfig):
    """An autoencoder through a vector (arXiv 1807.02011): by squared error, or `--detector.loss.ssim 1` and so on.

    The authors cut squares of 128 pixels from images of 256 (`--data.crop`). A side is a multiple of 16 pixels.
    """

    widths: tuple[int, ...] = BERGMANN
    kernels: tuple[int, ...] = (4, 4, 3, 4, 3, 4, 3, 3)
    strides: tuple[int, ...] = (2, 2, 1, 2, 1, 2, 1, 1)
    up: Literal["transposed", "nearest"] = "transposed"
    norm: bool = False
    latent: int = 100
    training: TrainingConfig = CONV_TRAINING


@dataclass(frozen=True)
class Draem(ReconstructionConfig):
    """DRAEM (arXiv 2108.07610): one network takes painted textures away, a second finds where they were.

    The textures are generated, where the authors take photographs (`--detector.pictures`), and images are not turned.
    A side is a multiple of 32 pixels. `--detector.width 0.125` is for CPUs.
    """

    encoder: Encoder = "deep"
    corrupt: Seen = "recoloured"
    share: float = 0.5
    head: Literal["none", "unet"] = "unet"
    loss: LossWeights = DRAEM_LOSS
    map: Shown = "head"
    relative: bool = False
    window: int = 21
    training: TrainingConfig = DRAEM_TRAINING


@dataclass(frozen=True)
class Dfr(ReconstructionConfig):
    """DFR (arXiv 2012.07122): the layers of a backbone, side by side on the finest grid, rebuilt cell by cell.

    A step sees 1,024 cells, which come from features that are computed once where they have room
    (`training.cache`). The authors take the first twelve layers of VGG19.
    """

    encoder: Encoder = "pointwise"
    cells: int = 256
    sigma: float = 4.0
    top: float = 0.05
    training: TrainingConfig = DFR_TRAINING


@dataclass(frozen=True)
class Riad(ReconstructionConfig):
    """RIAD (Pattern Recognition 2021): each third of an image, in squares, filled in from the other two.

    A side is a multiple of 16 pixels. Scoring takes twelve passes, by the same squares for every image.
    """

    encoder: Encoder = "unet"
    corrupt: Seen = "grid"
    loss: LossWeights = RIAD_LOSS
    map: Shown = "msgms"
    window: int = 21
    training: TrainingConfig = RIAD_TRAINING


MEMBERS: dict[str, type[ReconstructionConfig]] = {
    "reconstruction": ReconstructionConfig,
    "stain_ae": StainAe,
    "conv_ae": ConvAe,
    "draem": Draem,
    "dfr": Dfr,
    "riad": Riad,
    **CODES,
    **ADVERSARIES,
}
"""By the names of `jaxqc.anomaly.detectors.DETECTORS`."""
