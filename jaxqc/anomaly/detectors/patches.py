"""Transformers of an image's patches that rebuild it: the settings of the family, and its published members."""

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from jaxqc.anomaly.detectors.base import ASTRAY, BackboneConfig, TrainingConfig, check_top
from jaxqc.anomaly.detectors.reconstruction import LossWeights
from jaxqc.anomaly.detectors.trainings import ADAM
from jaxqc.errors import UserError
from jaxqc.fields import check_positive

if TYPE_CHECKING:
    from jaxqc.anomaly.patches.detector import Patched

Network = Literal["windows", "vit", "capsule"]
INTRA_TRAINING = TrainingConfig(500.0, 256, replace(ADAM, lr=1e-4))
"""The authors' rate and batch, of a window of each image; they stop where the loss no longer falls."""
ANOVIT_TRAINING = TrainingConfig(200.0, 8, replace(ADAM, lr=2e-4))
"""Ours."""
VT_ADL_TRAINING = TrainingConfig(400.0, 8, replace(ADAM, lr=1e-4, weight_decay=1e-4, decay="all"))
"""The authors' training."""
RIAD_LIKE = LossWeights(l2=1.0, ssim=0.01, msgms=0.01)
"""InTra's weights."""
SQUARES = LossWeights(l2=1.0)
"""AnoViT's."""
VT_ADL_LOSS = LossWeights(l2=5.0, ssim=0.5)
"""The authors' weights, beside `nll`."""


class PatchNetwork(NamedTuple):
    """The trained network: its parameters, batch norm folded."""

    params: Any


class CentredNetwork(NamedTuple):
    """The same with the mean map [h w] of good images."""

    params: Any
    mean: Any


@dataclass(frozen=True)
class PatchesConfig:
    """A transformer over patches that rebuilds good images. It sees the image itself:
    `--backbone.name pixels --backbone.layers 1`.
    """

    network: Network = "windows"
    """`windows`: each patch from those about it, of InTra. `vit`: a ViT and transposed convolutions, of AnoViT.
    `capsule`: a ViT, a capsule and a mixture of Gaussians, of VT-ADL; for images of 512 pixels."""
    side: int = 16
    """Side of a patch in pixels."""
    dim: int = 512
    """Channels of a token, a multiple of `heads`."""
    heads: int = 8
    """Heads of attention."""
    layers: int = 13
    """Layers."""
    hidden: int = 2048
    """Units between a layer's two linear ones."""
    dropout: float = 0.1
    """Share of these that a step zeroes."""
    near: int = 7
    """Side, in patches, of the window from which a patch is rebuilt."""
    loss: LossWeights = RIAD_LIKE
    nll: float = 0.0
    """Weight of the negative log-likelihood of a token by the mixture, over its dimensions; of a `capsule` alone."""
    components: int = 10
    """Gaussians of the mixture."""
    noise: float = 0.2
    """Deviation of what training adds to a `capsule`'s tokens."""
    map: Literal["l1", "l2", "ssim", "msgms"] = "msgms"
    """The difference that makes the map; the mixture's negative log-likelihood is added, where there is one."""
    centred: bool = True
    """The map is the squared difference from the mean map of the fitted images."""
    sigma: float = 0.0
    """Standard deviation of the map's smoothing, in pixels; 0 = none."""
    top: float = 1.0
    """Highest pixels whose mean is the image's score; below 1 a share of all pixels."""
    training: TrainingConfig = INTRA_TRAINING

    states = (PatchNetwork, CentredNetwork)
    advice = ASTRAY

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        self.training.check(f"{where}.training")
        check_top(self.top, where)
        names = ("side", "dim", "heads", "layers", "hidden", "near", "components")
        check_positive({name: getattr(self, name) for name in names}, where)
        if self.dim % self.heads:
            raise UserError(f"{where}: dim={self.dim} is not a multiple of heads={self.heads}")
        if not 0 <= self.dropout < 1:
            raise UserError(f"{where}: dropout={self.dropout!r} is a share; give at least 0 and less than 1")
        if self.network == "vit" and self.side & (self.side - 1):
            raise UserError(f"{where}: side={self.side}: the way back doubles sides; give a power of 2, such as 16")
        if self.network == "windows" and self.dim % (2 * self.heads):
            raise UserError(f"{where}: dim={self.dim}: queries have half of it; give a multiple of {2 * self.heads}")
        if self.network == "windows" and self.near < 2:
            raise UserError(f"{where}: near={self.near}: a patch that is hidden is all of its window; give 2 or more")
        if self.network == "capsule" and (self.side != 64 or self.dim % 64):
            raise UserError(f"{where}: side={self.side}, dim={self.dim}: a capsule takes patches of 64 pixels and a"
                            " multiple of 64 channels")  # fmt: skip
        if (self.nll > 0) != (self.network == "capsule"):
            raise UserError(f"{where}: nll={self.nll!r} goes with network=capsule alone, which needs it")
        loss = self.loss
        if not max(loss.l1, loss.l2, loss.ssim, loss.msgms) > 0:
            raise UserError(f"{where}: loss: nothing compares the images; set loss.l2, loss.ssim or loss.msgms")
        others = [f.name for f in fields(loss) if f.name not in ("l1", "l2", "ssim", "msgms") and getattr(loss, f.name)]
        if others:
            value = getattr(loss, others[0])
            raise UserError(f"{where}: loss.{others[0]}={value!r}: nothing here has such a term; set it to 0")

    def on(self, backbone: BackboneConfig) -> "Patched":
        """This detector for a backbone."""
        from jaxqc.anomaly.patches.detector import Patched

        return Patched(self, backbone)


@dataclass(frozen=True)
class InTra(PatchesConfig):
    """InTra (arXiv 2104.13897): each patch of 16 pixels rebuilt from a window of 7 x 7 in which it is hidden.

    A side is a multiple of 16 pixels and has 7 patches at least. A step sees a window of each image. Scoring rebuilds
    each patch: (s / 16)² windows an image.
    """


@dataclass(frozen=True)
class AnoVit(PatchesConfig):
    """AnoViT (arXiv 2203.10808): a ViT-B/16 whose tokens' map four transposed convolutions make the image of.

    The authors start from weights of ImageNet, at 384 pixels; here it starts at random.
    """

    network: Network = "vit"
    dim: int = 768
    heads: int = 12
    layers: int = 12
    hidden: int = 3072
    dropout: float = 0.0
    loss: LossWeights = SQUARES
    map: Literal["l1", "l2", "ssim", "msgms"] = "l2"
    centred: bool = False
    training: TrainingConfig = ANOVIT_TRAINING


@dataclass(frozen=True)
class VtAdl(PatchesConfig):
    """VT-ADL (arXiv 2104.10036): a ViT of patches of 64 pixels, a capsule that the image is made of, and a mixture.

    For images of 512 pixels. The authors' mixture loss is a weighted sum of logarithms; here it is a log-likelihood.
    """

    network: Network = "capsule"
    side: int = 64
    layers: int = 6
    hidden: int = 1024
    dropout: float = 0.0
    loss: LossWeights = VT_ADL_LOSS
    nll: float = 1.0
    map: Literal["l1", "l2", "ssim", "msgms"] = "l2"
    centred: bool = False
    training: TrainingConfig = VT_ADL_TRAINING


MEMBERS: dict[str, type[PatchesConfig]] = {"intra": InTra, "anovit": AnoVit, "vt_adl": VtAdl}
"""By the names of `jaxqc.anomaly.detectors.DETECTORS`."""
