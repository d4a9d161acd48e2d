"""Networks that rebuild an image, or its features, as good ones are: their settings, one class a published system."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from jaxqc.anomaly.detectors.base import ASTRAY, BackboneConfig, TrainingConfig, check_top
from jaxqc.anomaly.detectors.trainings import ADAM
from jaxqc.anomaly.learned.corrupt import Corrupt
from jaxqc.errors import UserError
from jaxqc.fields import check_positive

if TYPE_CHECKING:
    from jaxqc.anomaly.reconstruction.detector import Reconstructed

Encoder = Literal["conv", "deep", "unet", "pointwise"]
Seen = Literal[Corrupt, "grid"]
Shown = Literal["l1", "l2", "ssim", "msgms", "head"]


class Networks(NamedTuple):
    """The trained networks: their parameters, batch norm folded."""

    params: Any


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms of the loss; 0 leaves one out. All are means over pixels and channels."""

    l1: float = 0.0
    """Absolute difference of the image and the rebuilt one."""
    l2: float = 0.0
    """Squared difference."""
    ssim: float = 0.0
    """One less the structural similarity (window of 11 pixels, deviation 1.5)."""
    msgms: float = 0.0
    """One less the similarity of gradient magnitudes, over four scales."""
    kl: float = 0.0
    """Distance of a variational code from the standard normal, where the others are sums over pixels and channels."""
    focal: float = 0.0
    """Focal loss of the head's pixels, both classes alike."""


STAIN_TRAINING = TrainingConfig(250.0, 16, replace(ADAM, lr=1e-3, schedule="cosine"))
"""The authors' length and batch; their rate, 1e-2, falls where the loss no longer does."""
CONV_TRAINING = TrainingConfig(200.0, 128, replace(ADAM, lr=2e-4, weight_decay=1e-5, decay="all"))
"""The authors' training."""
DRAEM_TRAINING = TrainingConfig(
    700.0, 8, replace(ADAM, lr=1e-4, schedule="step", milestones=(0.8, 0.9), factor=0.2), evaluate_every_epochs=50.0
)
"""The authors' training."""
RIAD_TRAINING = TrainingConfig(300.0, 4, replace(ADAM, lr=1e-4, schedule="step", milestones=(5 / 6,)))
"""The authors' training."""
VAE_TRAINING = TrainingConfig(200.0, 16, replace(ADAM, lr=1e-3))
"""Ours: no published one is the measure of its kind."""
DFR_TRAINING = TrainingConfig(150.0, 4, replace(ADAM, lr=1e-4))
"""The authors' training; they take all cells of an image."""
BERGMANN = (32, 32, 32, 64, 64, 128, 64, 32)
"""Channels of the steps of the autoencoder of arXiv 1807.02011."""


@dataclass(frozen=True)
class ReconstructionConfig:
    """A network that rebuilds good images: where what it gives differs from what it saw, something is wrong.

    Those of convolutions see the image itself: `--backbone.name pixels --backbone.layers 1`.
    """

    encoder: Encoder = "conv"
    """`conv`: a chain of convolutions (`widths`, `kernels`, `strides`) and the same mirrored. `deep`: five levels of
    two convolutions with pooling between them, and back, of DRAEM. `unet`: five levels of strided convolutions whose
    maps go past the code, of RIAD. `pointwise`: layers of each position alone, on a
    backbone's features. The fields from `widths` to `norm` are those of a chain alone."""
    width: float = 1.0
    """Factor on every channel count."""
    widths: tuple[int, ...] = (16, 32, 64, 128, 256, 512)
    """Channels of each step of a chain."""
    kernels: tuple[int, ...] = (5, 5, 5, 5, 5, 5)
    """Side of each step's kernel."""
    strides: tuple[int, ...] = (2, 2, 2, 2, 2, 2)
    """By which each step divides the sides: 1 or 2."""
    up: Literal["transposed", "nearest"] = "nearest"
    """The way to larger maps: a transposed convolution, or repeated values and a convolution."""
    skips: Literal["none", "add", "concat"] = "none"
    """A step's map goes past the code to the decoder's map of its size; so it needs `corrupt`."""
    norm: bool = True
    """Batch norm behind every convolution but the last."""
    latent: int = 0
    """Numbers of the code; 0 = the last map is the code, of a `pointwise` encoder by `kept`."""
    kept: float = 0.9
    """Share of the features' variance in as many principal components as the code of a `pointwise` encoder has."""
    cells: int = 0
    """Cells of each image that a step draws, for a `pointwise` encoder; 0 = all."""
    variational: bool = False
    """The code is drawn from a Gaussian, whose mean and deviation the encoder gives; a score takes the mean."""
    corrupt: Seen = "none"
    """Synthetic defects in what the network sees, which it is to take away (`jaxqc.anomaly.learned.corrupt`). `grid`:
    each of three sets of square cells is hidden in turn, and filled from the others; the map is the mean over cells
    of 2, 4, 8 and 16 pixels."""
    share: float = 1.0
    """Share of the images that get them."""
    pictures: str = ""
    """A folder of textures, whose pictures are all taken, for `corrupt=texture`; "" = generated ones."""
    head: Literal["none", "unet"] = "none"
    """`unet`: a second network that sees the image and the rebuilt one, and says where they were painted."""
    loss: LossWeights = LossWeights(l2=1.0)
    map: Shown = "l2"
    """The difference that makes the map, by the terms of `loss`, or the `head`'s probability."""
    sigma: float = 0.0
    """Standard deviation of the map's smoothing, in pixels; 0 = none."""
    window: int = 1
    """Side in pixels, an odd number, of squares whose mean counts for the image's score."""
    top: float = 1.0
    """Highest of them whose mean is the image's score; below 1 a share of all pixels."""
    training: TrainingConfig = STAIN_TRAINING

    states = (Networks,)

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        self.training.check(f"{where}.training")
        check_top(self.top, where)
        check_positive({"width": self.width, "share": self.share}, where)
        for name, share in (("share", self.share), ("kept", self.kept)):
            if share > 1:
                raise UserError(f"{where}: {name}={share!r} is a share; give at most 1")
        if self.window % 2 == 0:
            raise UserError(f"{where}: window={self.window} must be odd")
        if self.encoder == "conv":
            from jaxqc.anomaly.reconstruction.networks import chain_spec

            chain_spec(self).check(where)
        if (self.skips != "none" or self.encoder == "unet") and self.corrupt == "none":
            raise UserError(f"{where}: encoder={self.encoder}, skips={self.skips}: the network would copy what it sees;"
                            " set corrupt, such as stain, or take encoder=conv, skips=none")  # fmt: skip
        if self.pictures and self.corrupt != "texture":
            raise UserError(f"{where}: pictures={self.pictures!r}: corrupt={self.corrupt} shows none; leave it out")
        if self.corrupt == "grid" and (self.variational or self.share < 1):
            raise UserError(
                f"{where}: corrupt=grid hides all of every image in turn; set share=1 and variational=false"
            )
        if self.variational and not self.latent:
            raise UserError(f"{where}: variational needs a code of numbers; set latent, such as 128")
        if (self.loss.kl > 0) != self.variational:
            raise UserError(f"{where}: loss.kl={self.loss.kl!r} goes with variational alone, which needs it")
        if (self.cells or self.encoder == "pointwise") and self.corrupt != "none":
            raise UserError(f"{where}: corrupt={self.corrupt}: single cells and features are rebuilt as they are; set"
                            " corrupt=none, or encoder=conv and cells=0")  # fmt: skip
        if self.cells and self.encoder != "pointwise":
            raise UserError(f"{where}: cells={self.cells}: a network of whole images sees all; set cells=0")
        whole = self.head != "none"
        if whole != (self.map == "head") or whole != (self.loss.focal > 0):
            raise UserError(f"{where}: head={self.head}, map={self.map}, loss.focal={self.loss.focal!r}: a head makes"
                            " the map and has a loss; set all three, or none")  # fmt: skip
        if whole and self.corrupt in ("none", "noise", "grid"):
            raise UserError(f"{where}: corrupt={self.corrupt}: a head learns where defects are; set corrupt=texture")
        if not max(self.loss.l1, self.loss.l2, self.loss.ssim, self.loss.msgms) > 0:
            raise UserError(
                f"{where}: loss: nothing compares the images; set loss.l2, loss.ssim, loss.l1 or loss.msgms"
            )

    @property
    def advice(self) -> str:
        """The way out where scores are not finite."""
        return ASTRAY

    def on(self, backbone: BackboneConfig) -> "Reconstructed":
        """This detector for a backbone."""
        from jaxqc.anomaly.reconstruction.detector import Reconstructed

        return Reconstructed(self, backbone)


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
    corrupt: Seen = "texture"
    share: float = 0.5
    head: Literal["none", "unet"] = "unet"
    loss: LossWeights = LossWeights(l2=1.0, ssim=1.0, focal=1.0)
    map: Shown = "head"
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
    loss: LossWeights = LossWeights(l2=1.0, ssim=0.01, msgms=0.01)
    map: Shown = "msgms"
    window: int = 21
    training: TrainingConfig = RIAD_TRAINING


@dataclass(frozen=True)
class Vae(ReconstructionConfig):
    """A variational autoencoder through 128 numbers. A side is a multiple of 32 pixels."""

    widths: tuple[int, ...] = (32, 64, 128, 256, 512)
    kernels: tuple[int, ...] = (4, 4, 4, 4, 4)
    strides: tuple[int, ...] = (2, 2, 2, 2, 2)
    up: Literal["transposed", "nearest"] = "transposed"
    latent: int = 128
    variational: bool = True
    loss: LossWeights = LossWeights(l2=1.0, kl=1.0)
    training: TrainingConfig = VAE_TRAINING


MEMBERS: dict[str, type[ReconstructionConfig]] = {
    "reconstruction": ReconstructionConfig,
    "stain_ae": StainAe,
    "conv_ae": ConvAe,
    "draem": Draem,
    "dfr": Dfr,
    "riad": Riad,
    "vae": Vae,
}
"""By the names of `jaxqc.anomaly.detectors.DETECTORS`."""
