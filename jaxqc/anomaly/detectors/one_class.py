"""Networks that learn what good images have in common, and score by how far an image is from it: settings, presets."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from jaxqc.anomaly.detectors.base import ASTRAY, BackboneConfig, TrainingConfig
from jaxqc.anomaly.detectors.trainings import ADAM
from jaxqc.anomaly.detectors.transformations import (
    ANSWERS,
    DISTANCES,
    GEOM_TRAINING,
    GOAD_TRAINING,
    CopyCentres,
    Likelihoods,
    Transforming,
)
from jaxqc.anomaly.learned.corrupt import Corrupt
from jaxqc.config import OptimConfig
from jaxqc.errors import UserError
from jaxqc.fields import check_positive

if TYPE_CHECKING:
    from jaxqc.anomaly.one_class.detector import OneClass

Objective = Literal["deviation", "pieces", "position", "centre", "transforms"]


class Deviating(NamedTuple):
    """The trained convolutions behind frozen features, batch norm folded."""

    params: Any


class Embedded(NamedTuple):
    """The trained network, batch norm folded, and the Gaussians of good images' embeddings and of their patches'."""

    params: Any
    mean: Any
    whitener: Any
    patch_mean: Any
    patch_whitener: Any


class PatchBanks(NamedTuple):
    """The trained encoder of patches, and the features of good images' small and large ones that stand for all."""

    params: Any
    small: Any
    large: Any


class Centred(NamedTuple):
    """The trained network, its batch norm's statistics, and the point that good images lie about."""

    params: Any
    statistics: Any
    centre: Any


SGD = OptimConfig("sgd", 1e-3, weight_decay=1e-4, warmup_epochs=0.0, schedule="cosine", floor=5e-5, clip=0.0)
FCDD_TRAINING = TrainingConfig(200.0, 128, replace(SGD, accumulate=8))
"""The authors' length and batch; their rate falls by 1.5 % an epoch to a twentieth, here along a cosine."""
CUTPASTE_TRAINING = TrainingConfig(
    8192.0, 32, replace(SGD, lr=0.03, weight_decay=3e-5, floor=0.0), evaluate_every_epochs=256.0
)
"""The authors' 65,536 steps of 32 images with their two versions, where there are about 250 images."""
PATCH_SVDD_TRAINING = TrainingConfig(
    30_000.0, 64, replace(ADAM, lr=1e-4), evaluate_every_epochs=1000.0, checkpoint_every_epochs=1000.0
)
"""The authors' 300 epochs, each of which draws from every image a hundred times."""
DEEP_SVDD_TRAINING = TrainingConfig(
    150.0, 200, replace(ADAM, lr=1e-4, weight_decay=5e-7, decay="all", schedule="step", milestones=(1 / 3,))
)
"""The authors' training."""
DEEP_SVDD_START = replace(
    DEEP_SVDD_TRAINING, epochs=350.0, optim=replace(DEEP_SVDD_TRAINING.optim, milestones=(250 / 350,))
)
"""The authors' training of the autoencoder before."""


@dataclass(frozen=True)
class Piecing:
    """The settings of objective `pieces`."""

    start: Literal["weights", "drawn"] = "weights"
    """`weights`: the backbone is trained on from its weights, whose batch norm stays within the kernels. `drawn`: from
    random ones, with batch norm."""
    rate: float = 0.1
    """Factor on the learning rate of a backbone that starts from weights."""
    hidden: tuple[int, ...] = (512, 128)
    """Numbers of the head's hidden layers."""
    patch: int = 64
    """Side in pixels of the patches whose distances make the map."""
    step: int = 16
    """Pixels from one of them to the next."""
    shrink: float = 0.1
    """Share by which the embeddings' covariance is mixed with a round one of the same trace."""


@dataclass(frozen=True)
class Placing:
    """The settings of objective `position`."""

    pull: float = 1e-3
    """Weight of the distance of close patches' features. Too large a one makes all features the same."""
    draws: int = 1
    """Pairs of each kind that a step draws of each image."""
    step: int = 4
    """Pixels from one small patch to the next where an image is scored, an even number; large ones always lie 16
    apart."""
    bank: int = 4096
    """Most small patches that stand for those of all good images; a quarter as many large ones."""


@dataclass(frozen=True)
class Centring:
    """The settings of objective `centre`."""

    outside: float = 0.0
    """Share of good images that may lie outside a sphere of least radius (soft boundary); 0 = all count by their
    squared distance from the centre."""
    features: int = 128
    """Numbers that the network makes of an image."""
    autoencoder: bool = True
    """The network starts as the first half of an autoencoder, which is trained before."""
    start: TrainingConfig = DEEP_SVDD_START
    """The same training."""


@dataclass(frozen=True)
class OneClassConfig:
    """A network taught by a task that good images alone can teach; each field says for which `objective` it is."""

    objective: Objective = "deviation"
    """The task. `deviation`: cells of good images near a centre, those of images with synthetic defects away from it.
    `pieces`: an image as it is, one with a pasted piece and one with a pasted scar distinguished. `position`: where a
    patch lies beside another one, and close patches alike. `centre`: all images close to one point. `transforms`:
    flipped, moved and turned copies of an image distinguished."""
    width: float = 1.0
    """Factor on the channel counts of what is drawn at random, but for `pieces`."""
    convs: tuple[int, ...] = (512, 512)
    """With `deviation`: channels of the trained 3 x 3 convolutions behind the backbone's layers."""
    corrupt: Corrupt = "confetti"
    """With `deviation`: the synthetic defects (`jaxqc.anomaly.learned.corrupt`)."""
    share: float = 0.5
    """With `deviation`: share of the images into which defects are painted."""
    pieces: Piecing = Piecing()
    position: Placing = Placing()
    centre: Centring = Centring()
    copies: Transforming = ANSWERS
    sigma: float = 12.0
    """Standard deviation in pixels of the map's smoothing, with `pieces`; with `deviation`, of the Gaussian that each
    cell is spread by. The others have none."""
    training: TrainingConfig = FCDD_TRAINING

    states = (Deviating, Embedded, PatchBanks, Centred, Likelihoods, CopyCentres)

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        from jaxqc.models.patch_encoder import SMALL

        self.training.check(f"{where}.training")
        self.centre.start.check(f"{where}.centre.start")
        check_positive({"width": self.width, "share": self.share}, where)
        if self.objective == "deviation":
            check_positive({"sigma": self.sigma}, where)
            if not self.convs:
                raise UserError(f"{where}: convs={self.convs!r}: give one convolution or more")
        check_positive({"patch": self.pieces.patch, "step": self.pieces.step}, f"{where}.pieces")
        whole = {"draws": self.position.draws, "step": self.position.step, "bank": self.position.bank}
        check_positive(whole, f"{where}.position")
        if self.centre.features < 1 or self.centre.features % 16:
            raise UserError(f"{where}.centre: features={self.centre.features!r} must be a multiple of 16")
        shares = {"share": self.share, "pieces.shrink": self.pieces.shrink, "centre.outside": self.centre.outside}
        for name, share in shares.items():
            if not 0 <= share <= 1:
                raise UserError(f"{where}: {name}={share!r} is a share; give 0 to 1")
        self.copies.check(f"{where}.copies")
        if self.pieces.step > self.pieces.patch:
            raise UserError(f"{where}.pieces: step={self.pieces.step} leaves gaps between patches of"
                            f" {self.pieces.patch} pixels; lower it")  # fmt: skip
        if not self.pieces.hidden:
            raise UserError(f"{where}.pieces: hidden={self.pieces.hidden!r}: give one hidden layer or more")
        if self.position.step % 2 or self.position.step > SMALL:
            raise UserError(f"{where}.position: step={self.position.step!r} must be even, and at most {SMALL}, the side"
                            " of a patch")  # fmt: skip
        if self.objective == "deviation" and self.corrupt in ("none", "noise"):
            raise UserError(f"{where}: corrupt={self.corrupt}: nothing keeps the cells from one answer to all; set"
                            " corrupt=confetti")  # fmt: skip

    @property
    def advice(self) -> str:
        """The way out where scores are not finite."""
        return ASTRAY

    def on(self, backbone: BackboneConfig) -> "OneClass":
        """This detector for a backbone."""
        from jaxqc.anomaly.one_class.detector import OneClass

        return OneClass(self, backbone)


@dataclass(frozen=True)
class Fcdd(OneClassConfig):
    """FCDD (arXiv 2007.01760): convolutions behind frozen layers, taught by confetti; the map is their answer.

    The authors freeze VGG11 with batch norm up to its third pooling, and train its next two convolutions, which start
    from ImageNet too. Here they are drawn at random: `--backbone.name resnet18 --backbone.layers 2`.
    """


@dataclass(frozen=True)
class CutPaste(OneClassConfig):
    """CutPaste (arXiv 2104.04015): a network trained to find pasted pieces, then a Gaussian of its embeddings.

    An image's score is its Mahalanobis distance, and the map is that of its patches. The network is the backbone up to
    its deepest layer, and that layer's mean is the embedding. The authors take the last layer of ResNet-18:
    `--backbone.name resnet18 --backbone.layers 4`.
    """

    objective: Objective = "pieces"
    sigma: float = 4.0
    training: TrainingConfig = CUTPASTE_TRAINING


@dataclass(frozen=True)
class PatchSvdd(OneClassConfig):
    """Patch SVDD (arXiv 2006.16067): patches of 32 and 64 pixels by their nearest good ones, by features that were
    taught where patches lie. On the image itself: `--backbone.name pixels --backbone.layers 1`.
    """

    objective: Objective = "position"
    training: TrainingConfig = PATCH_SVDD_TRAINING


@dataclass(frozen=True)
class DeepSvdd(OneClassConfig):
    """Deep SVDD (ICML 2018): a small network that maps good images close to one point. It gives a score and no place.

    Made for images of 32 pixels: `--data.size 32 --backbone.name pixels --backbone.layers 1`. A side is a multiple of
    8 pixels.
    """

    objective: Objective = "centre"
    training: TrainingConfig = DEEP_SVDD_TRAINING


@dataclass(frozen=True)
class Geom(OneClassConfig):
    """GEOM (arXiv 1805.10917): a network that distinguishes 72 copies of good images. It gives a score and no place.

    Made for images of 32 pixels: `--data.size 32 --backbone.name pixels --backbone.layers 1`.
    """

    objective: Objective = "transforms"
    training: TrainingConfig = GEOM_TRAINING


@dataclass(frozen=True)
class Goad(Geom):
    """GOAD (arXiv 2005.02359): the same, by how far each copy's features are from those that good images have."""

    copies: Transforming = DISTANCES
    training: TrainingConfig = GOAD_TRAINING


MEMBERS: dict[str, type[OneClassConfig]] = {
    "fcdd": Fcdd,
    "cutpaste": CutPaste,
    "patch_svdd": PatchSvdd,
    "deep_svdd": DeepSvdd,
    "geom": Geom,
    "goad": Goad,
}
"""By the names of `jaxqc.anomaly.detectors.DETECTORS`."""
