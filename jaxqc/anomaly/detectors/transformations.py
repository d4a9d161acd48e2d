"""Settings of detectors that distinguish transformed copies of an image, and what a fit of them keeps."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from jaxqc.anomaly.detectors.base import TrainingConfig
from jaxqc.anomaly.detectors.trainings import ADAM
from jaxqc.anomaly.ops.transforms import Transform
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

    transforms: tuple[Transform, ...] = ("flip", "shift", "turn")
    """Copies of an image that are distinguished: flipped or not, moved by a quarter of its side or not along each axis,
    turned by quarters; all together 72. Those that leave a texture as it is cannot be distinguished: leave them out."""
    pull: float = 0.0
    """Weight of the distance of features from their own copy's centre, and less than `margin` farther from the nearest
    other one (GOAD); images are then scored by these distances. 0: by the likelihood of the answers (GEOM)."""
    margin: float = 1.0
    """Squared distance by which the nearest other centre is to be farther."""
    shrink: float = 10.0
    """Weight of the features' mean square beside `pull`."""

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        if not self.transforms or len(set(self.transforms)) < len(self.transforms):
            raise UserError(
                f"{where}: transforms={self.transforms!r}: give one or more of flip, shift, turn, each once"
            )
        if self.pull < 0 or self.shrink < 0:
            raise UserError(f"{where}: pull={self.pull!r}, shrink={self.shrink!r}: neither may be negative")
        check_positive({"margin": self.margin}, where)


ANSWERS, DISTANCES = Transforming(), Transforming(pull=0.1)
"""GEOM's and GOAD's."""
