"""The published systems with a critic, as values of `ReconstructionConfig`. Sides are powers of two.

They are for comparison: on textures none of them is published near the detectors that learn from features.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from jaxqc.anomaly.detectors.base import BackboneConfig, TrainingConfig
from jaxqc.anomaly.detectors.reconstruction import Encoder, LossWeights, ReconstructionConfig, Seen, Shown
from jaxqc.anomaly.detectors.reconstruction_parts import AdversaryConfig, DescentConfig, check_alone
from jaxqc.anomaly.detectors.trainings import ADAM

if TYPE_CHECKING:
    from jaxqc.anomaly.reconstruction.encoding import Encoded

Image = Literal["map", "latent", "critic", "mixed", "density"]
DCGAN_ADAM = replace(ADAM, lr=2e-4, beta1=0.5)
"""DCGAN's optimiser."""
GANOMALY_TRAINING = TrainingConfig(15.0, 64, DCGAN_ADAM)
"""The authors' training, of both of theirs."""
ANOGAN_TRAINING = TrainingConfig(20.0, 64, DCGAN_ADAM)
"""The authors' length and DCGAN's optimiser."""
EGBAD_TRAINING = TrainingConfig(100.0, 64, replace(ADAM, lr=1e-5, beta1=0.5))
"""The authors' rate; the length is ours."""
ALOCC_TRAINING = TrainingConfig(40.0, 64, replace(ADAM, lr=2e-3, beta1=0.0, beta2=0.9))
"""The authors' rate by the squares' mean alone, as RMSProp has it; the length is ours."""
GANOMALY_LOSS = LossWeights(l1=100.0, feature=1.0, relatent=1.0)
SKIP_LOSS = LossWeights(l1=100.0, adversarial=1.0, feature=1.0)
"""The authors' weights; 50 is theirs of images in [-1, 1], whose differences are twice as large."""
ALOCC_LOSS = LossWeights(l2=0.2, adversarial=1.0)
"""The authors' weights."""
F_LOSS = LossWeights(l2=4.0, feature=1.0)
"""The authors' weights of the encoder's training, of images in [-1, 1]."""
WGAN_ADAM = replace(ADAM, lr=1e-4, beta1=0.0, beta2=0.9)
WGAN_TRAINING = TrainingConfig(500.0, 64, WGAN_ADAM)
"""The authors' rate and batch; the length is ours."""
FINDING_TRAINING = TrainingConfig(500.0, 64, replace(ADAM, lr=5e-5))
"""The authors' rate and batch, by Adam in place of RMSProp; the length is ours."""
MADE_LOSS = LossWeights(adversarial=1.0)
"""Nothing but to pass for real."""
GAN, PAIR = AdversaryConfig("gan"), AdversaryConfig("pair", average=0.999)
SKIP, OCR = (AdversaryConfig("gan", vector=True, matched=True, pasted=pasted) for pasted in (False, True))
WASSERSTEIN = AdversaryConfig("wgan_gp", penalty=10.0, every=5, share=0.6)
"""At 64 pixels a share of 0.6 weighs the means of pixels and of the critic's features alike."""
SEARCH = DescentConfig(500, 0.02)
"""The published steps; the rate is ours."""


@dataclass(frozen=True)
class Ganomaly(ReconstructionConfig):
    """GANomaly (arXiv 1805.06725): images through a vector; a second encoder's vector of the rebuilt image is compared.

    The authors draw the critic anew where its loss is below 1e-5; here the log says so (`critic_won`).
    """

    encoder: Encoder = "dcgan"
    latent: int = 100
    loss: LossWeights = GANOMALY_LOSS
    image: Image = "latent"
    adversary: AdversaryConfig = GAN
    training: TrainingConfig = GANOMALY_TRAINING


@dataclass(frozen=True)
class SkipGanomaly(ReconstructionConfig):
    """Skip-GANomaly (arXiv 1901.08954): a U-Net down to one pixel, and a critic whose features are compared, too."""

    encoder: Encoder = "vector_unet"
    corrupt: Seen = "noise"
    loss: LossWeights = SKIP_LOSS
    image: Image = "mixed"
    adversary: AdversaryConfig = SKIP
    training: TrainingConfig = GANOMALY_TRAINING


@dataclass(frozen=True)
class OcrGan(SkipGanomaly):
    """OCR-GAN (arXiv 2203.00259): such U-Nets for two frequency bands, and pasted images as further fakes.

    Bands add up to the image, and the attention between the networks is learned. Neither is so in the authors' code.
    """

    encoder: Encoder = "bands"
    corrupt: Seen = "none"
    adversary: AdversaryConfig = OCR


@dataclass(frozen=True)
class Alocc(ReconstructionConfig):
    """ALOCC (arXiv 1802.09088): an autoencoder takes noise away, and a critic of what comes out is the image's score.

    The critic never sees defects, so that its order may change with the length of the training.
    """

    widths: tuple[int, ...] = (32, 64, 128)
    kernels: tuple[int, ...] = (5, 5, 5)
    strides: tuple[int, ...] = (2, 2, 2)
    corrupt: Seen = "noise"
    loss: LossWeights = ALOCC_LOSS
    image: Image = "critic"
    adversary: AdversaryConfig = GAN
    training: TrainingConfig = ALOCC_TRAINING


@dataclass(frozen=True)
class Egbad(ReconstructionConfig):
    """EGBAD (arXiv 1802.06222): a BiGAN, whose critic sees images with their codes; a mean of all parameters scores."""

    encoder: Encoder = "dcgan"
    latent: int = 200
    loss: LossWeights = MADE_LOSS
    map: Shown = "l1"
    image: Image = "mixed"
    adversary: AdversaryConfig = PAIR
    training: TrainingConfig = EGBAD_TRAINING


@dataclass(frozen=True)
class AnoGan(ReconstructionConfig):
    """AnoGAN (arXiv 1703.05921): the code whose made image is most like the one seen, by 500 steps for each image."""

    encoder: Encoder = "search"
    latent: int = 100
    loss: LossWeights = MADE_LOSS
    map: Shown = "l1"
    image: Image = "mixed"
    descent: DescentConfig = SEARCH
    adversary: AdversaryConfig = GAN
    training: TrainingConfig = ANOGAN_TRAINING


@dataclass(frozen=True)
class FAnoGan(ReconstructionConfig):
    """f-AnoGAN (Medical Image Analysis 2019): a Wasserstein GAN, then an encoder that finds the codes of images.

    The critic has five steps to one of the maker; in one count, so that Adam's first steps of the maker are longer. A
    resting maker's gradient is computed all the same.
    """

    encoder: Encoder = "residual"
    latent: int = 128
    loss: LossWeights = F_LOSS
    image: Image = "mixed"
    adversary: AdversaryConfig = WASSERSTEIN
    start: TrainingConfig = WGAN_TRAINING
    """The training of both players, before the encoder's."""
    training: TrainingConfig = FINDING_TRAINING

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        self.start.check(f"{where}.start")
        check_alone(self.start, f"{where}.start")
        super().check(where)

    def on(self, backbone: BackboneConfig) -> "Encoded":
        """This detector for a backbone."""
        from jaxqc.anomaly.reconstruction.encoding import Encoded

        return Encoded(self, backbone)


ADVERSARIES: dict[str, type[ReconstructionConfig]] = {
    "ganomaly": Ganomaly,
    "skip_ganomaly": SkipGanomaly,
    "ocr_gan": OcrGan,
    "alocc": Alocc,
    "egbad": Egbad,
    "anogan": AnoGan,
    "f_anogan": FAnoGan,
}
"""By the names of `jaxqc.anomaly.detectors.DETECTORS`."""
