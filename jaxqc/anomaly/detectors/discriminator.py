"""Detectors that learn to tell features from disturbed ones: their settings."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxqc.anomaly.detectors.base import ASTRAY, BackboneConfig, TrainingConfig
from jaxqc.config import OptimConfig
from jaxqc.fields import check_positive

if TYPE_CHECKING:
    from jaxqc.anomaly.discriminator.detector import Discriminating


class Heads(NamedTuple):
    """The trained heads, batch norm folded."""

    heads: Any


ADAMW = OptimConfig("adamw", lr=2e-4, weight_decay=1e-5, decay="all", warmup_epochs=0.0, schedule="step", clip=0.0)
AUTHORS = TrainingConfig(300.0, 32, replace(ADAMW, milestones=(0.8, 0.9), factor=0.4))
"""The authors' training; the adaptor learns at half the rate."""


@dataclass(frozen=True)
class SuperSimpleNet:
    """Two heads over frozen features that find where noise was added: for each cell, and for the image
    (arXiv 2408.03143).

    Maps and scores are the softplus of logits: of their order, and at least 0.
    """

    noise: float = 0.15
    """Standard deviation of the noise, in deviations of the features (root mean square over channels). The published
    0.015 is that for ResNet-18's layers 2 and 3 on magnetic tiles, whose deviation is 0.105."""
    threshold: float = 0.2
    """Perlin noise above it is disturbed, in half of the copies of an image: lower disturbs more."""
    labelled: bool = False
    """True: defective images of the training split that have masks are learned from, too (arXiv 2408.03143's mixed
    supervision). No noise is added where a mask says that something is wrong."""
    sigma: float = 4.0
    """Standard deviation of the map's smoothing, in pixels."""
    training: TrainingConfig = AUTHORS

    states = (Heads,)
    advice = ASTRAY

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        check_positive({"noise": self.noise}, where)
        self.training.check(f"{where}.training")

    def on(self, backbone: BackboneConfig) -> "Discriminating":
        """This detector for a backbone."""
        from jaxqc.anomaly.discriminator.detector import Discriminating

        return Discriminating(self, backbone)


MEMBERS: dict[str, type[SuperSimpleNet]] = {"supersimplenet": SuperSimpleNet}
"""By the names of `jaxqc.anomaly.detectors.DETECTORS`."""
