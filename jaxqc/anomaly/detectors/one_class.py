"""Networks that learn what good images have in common, and score by how far an image is from it: settings, presets."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from jaxqc.anomaly.detectors.base import ASTRAY, BackboneConfig, TrainingConfig
from jaxqc.anomaly.learned.corrupt import Corrupt
from jaxqc.config import OptimConfig
from jaxqc.errors import UserError
from jaxqc.fields import check_positive

if TYPE_CHECKING:
    from jaxqc.anomaly.one_class.detector import OneClass

Objective = Literal["deviation", "pieces", "position", "centre"]


class Deviating(NamedTuple):
    """The trained convolutions behind frozen features, batch norm folded."""

    params: Any


FCDD_TRAINING = TrainingConfig(
    200.0, 128, OptimConfig("sgd", 1e-3, weight_decay=1e-4, warmup_epochs=0.0, schedule="cosine", floor=5e-5, clip=0.0)
)
"""The authors' length and batch, whose rate falls by 1.5 % an epoch to a twentieth: here along a cosine."""


@dataclass(frozen=True)
class OneClassConfig:
    """A network taught by a task that good images alone can teach; each field says for which `objective` it is."""

    objective: Objective = "deviation"
    """The task. `deviation`: cells of good images near a centre, those of images with synthetic defects away from it.
    `pieces`: an image as it is, one with a pasted piece and one with a pasted scar told apart. `position`: where a
    patch lies beside another one, and close patches alike. `centre`: all images close to one point."""
    width: float = 1.0
    """Factor on the channel counts of what is drawn at random."""
    convs: tuple[int, ...] = (512, 512)
    """Of `deviation`: channels of the trained 3 x 3 convolutions behind the backbone's layers."""
    corrupt: Corrupt = "confetti"
    """Of `deviation`: the synthetic defects (`jaxqc.anomaly.learned.corrupt`)."""
    share: float = 0.5
    """Of `deviation`: share of the images into which defects are painted."""
    sigma: float = 12.0
    """Standard deviation in pixels of the Gaussian that each cell of the map is spread by."""
    training: TrainingConfig = FCDD_TRAINING

    states = (Deviating,)

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        self.training.check(f"{where}.training")
        check_positive({"width": self.width, "share": self.share, "sigma": self.sigma}, where)
        if self.share > 1:
            raise UserError(f"{where}: share={self.share!r} is a share; give at most 1")
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


MEMBERS: dict[str, type[OneClassConfig]] = {"fcdd": Fcdd}
"""By the names of `jaxqc.anomaly.detectors.DETECTORS`."""
