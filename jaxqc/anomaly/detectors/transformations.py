"""Settings of detectors that distinguish transformed copies of an image, and what a fit of them keeps."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from jaxqc.anomaly.detectors.base import TrainingConfig
from jaxqc.anomaly.detectors.trainings import ADAM
from jaxqc.anomaly.ops.transforms import COPIES
from jaxqc.errors import UserError
from jaxqc.fields import check_positive

STEP = replace(ADAM, lr=1e-3)
GEOM_TRAINING = TrainingConfig(3.0, 2, STEP, evaluate_every_epochs=1.0, checkpoint_every_epochs=1.0)
"""The authors' 200 over 72 epochs, and about their 128 copies a step, which here are all of two images."""
GOAD_TRAINING = TrainingConfig(16.0, 4, STEP, evaluate_every_epochs=4.0, checkpoint_every_epochs=4.0)
"""About the authors' 288 copies a step, which are all of four images."""


class Likelihoods(NamedTuple):
    """The trained network, batch norm folded, the Dirichlet distribution of each copy's answers, the scores' unit."""

    params: Any
    alpha: Any
    middle: Any
    unit: Any


class CopyCentres(NamedTuple):
    """The trained network, batch norm folded, and the mean features of each copy of good images."""

    params: Any
    centre: Any


@dataclass(frozen=True)
class Transforming:
    """The settings of objective `transforms`."""

    transforms: tuple[str, ...] = ("flip", "shift", "turn")
    """Copies of an image that are distinguished: `flip`, as in a mirror or not; `shift`, by a quarter of the side or
    not along each axis; `turn`, by quarters. All together are 72. Leave out those that do not change a texture."""
    pull: float = 0.0
    """Weight of the triplet loss of GOAD: features are to be nearer to their own copy's centre than to the next one's,
    and images are scored by these distances. 0: they are scored by the likelihood of the answers (GEOM)."""
    margin: float = 1.0
    """Squared distance by which the nearest other centre is to be farther."""
    shrink: float = 10.0
    """Weight of the features' mean square beside `pull`."""

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        known = set(self.transforms) <= COPIES.keys()
        if not self.transforms or not known or len(set(self.transforms)) < len(self.transforms):
            raise UserError(f"{where}: transforms={self.transforms!r}: give some of flip, shift and turn, each once")
        if self.pull < 0 or self.shrink < 0:
            raise UserError(f"{where}: pull={self.pull!r}, shrink={self.shrink!r}: neither may be negative")
        check_positive({"margin": self.margin}, where)


ANSWERS, DISTANCES = Transforming(), Transforming(pull=0.1)
"""GEOM's and GOAD's."""
