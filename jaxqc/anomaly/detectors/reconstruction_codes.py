"""The published systems whose code is of a memory or is drawn, as values of `ReconstructionConfig`."""

from dataclasses import dataclass, replace
from typing import Literal

from jaxqc.anomaly.detectors.base import TrainingConfig
from jaxqc.anomaly.detectors.reconstruction import LossWeights, ReconstructionConfig, Shown
from jaxqc.anomaly.detectors.reconstruction_parts import MemoryConfig
from jaxqc.anomaly.detectors.trainings import ADAM

MEMAE_TRAINING = TrainingConfig(200.0, 14, replace(ADAM, lr=1e-4))
"""The authors' rate and batch."""
VAE_TRAINING = TrainingConfig(200.0, 16, replace(ADAM, lr=1e-3))
"""Ours: no published one is the measure of its kind."""
VAE_LOSS = LossWeights(l2=1.0, kl=1.0)
"""The bound on the likelihood, of pixels with variance one half."""
MEMAE_LOSS = LossWeights(l2=1.0, entropy=2e-4)
"""The authors' weights."""
MEMAE_MEMORY = MemoryConfig(2000)
"""The authors' memory."""


@dataclass(frozen=True)
class Vae(ReconstructionConfig):
    """A variational autoencoder through 128 numbers. A side is a multiple of 32 pixels."""

    widths: tuple[int, ...] = (32, 64, 128, 256, 512)
    kernels: tuple[int, ...] = (4, 4, 4, 4, 4)
    strides: tuple[int, ...] = (2, 2, 2, 2, 2)
    up: Literal["transposed", "nearest"] = "transposed"
    latent: int = 128
    variational: bool = True
    loss: LossWeights = VAE_LOSS
    training: TrainingConfig = VAE_TRAINING


@dataclass(frozen=True)
class VaeProjection(Vae):
    """A variational autoencoder whose map is the way to an image that it rebuilds well (arXiv 2002.03734).

    The way has 100 steps, a pass forward and back each (`--detector.descent.steps`), for every image.
    """

    map: Shown = "projection"


@dataclass(frozen=True)
class VaeAttention(Vae):
    """A variational autoencoder whose map is of the encoder, by how much its channels move the code (CVPR 2020)."""

    map: Shown = "attention"


@dataclass(frozen=True)
class VaeGmm(Vae):
    """A variational autoencoder whose image score is the density of code and error, by Gaussians fitted after it.

    Fewer numbers than `vae` has, since a Gaussian needs several images for each.
    """

    latent: int = 16
    image: Literal["map", "latent", "critic", "mixed", "density"] = "density"


@dataclass(frozen=True)
class MemAe(ReconstructionConfig):
    """MemAE (arXiv 1904.02639): an autoencoder through a memory of good codes. A side is a multiple of 16 pixels.

    The layers are ours, in two dimensions; code, memory, loss and training are the authors'.
    """

    widths: tuple[int, ...] = (64, 128, 128, 256)
    kernels: tuple[int, ...] = (4, 4, 4, 4)
    strides: tuple[int, ...] = (2, 2, 2, 2)
    up: Literal["transposed", "nearest"] = "transposed"
    memory: MemoryConfig = MEMAE_MEMORY
    loss: LossWeights = MEMAE_LOSS
    training: TrainingConfig = MEMAE_TRAINING


CODES: dict[str, type[ReconstructionConfig]] = {
    "vae": Vae,
    "vae_projection": VaeProjection,
    "vae_attention": VaeAttention,
    "vae_gmm": VaeGmm,
    "memae": MemAe,
}
"""By the names of `jaxqc.anomaly.detectors.DETECTORS`."""
