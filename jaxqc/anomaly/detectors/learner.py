"""Trained members of a detector that is fitted in one pass: each by a training of its own before that pass."""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Int

from jaxqc.anomaly.detectors.base import BackboneConfig, Image, Layers, Shapes, Trained
from jaxqc.types import ArrayLike

MEASURED = 8
"""Fitted images at most whose maps give a member's unit."""


@dataclass(frozen=True)
class Learner:
    """A trained member: `settings` are what a recipe of its own would name, `backbone` has the layers that it sees."""

    name: str
    settings: Any
    backbone: BackboneConfig

    @property
    def ready(self) -> Trained:
        """The detector for its backbone."""
        return self.settings.on(self.backbone) if hasattr(self.settings, "on") else self.settings


@dataclass(frozen=True)
class Given:
    """A trained member in the pass that fits the others: it collects nothing, and its state and unit are known.

    Examples:
      >>> given = Given("trained", 0.5)
      >>> given.finish(given.begin(((4, 4, 8),), 10), ((4, 4, 8),))
      'trained'
    """

    state: Any
    unit: float

    def embed(self, layers: Layers, image: Image) -> tuple[()]:
        """Nothing."""
        return ()

    def begin(self, shapes: Shapes, samples: int) -> tuple[()]:
        """Nothing."""
        return ()

    def collect(self, collected: tuple[()], embedded: tuple[()], number: Any) -> tuple[()]:
        """Nothing."""
        return ()

    def drop(self, collected: tuple[()], used: Int[ArrayLike, " n"]) -> tuple[()]:
        """Nothing."""
        return ()

    def finish(self, collected: tuple[()], shapes: Shapes) -> Any:
        """The state that the training gave."""
        return self.state


def learners_of(detector: Any, backbone: BackboneConfig) -> tuple[Learner, ...]:
    """A detector's trained members, in their order; most have none.

    Examples:
      >>> learners_of(object(), BackboneConfig())
      ()
    """
    found = getattr(detector, "learners", None)
    return found(backbone) if found else ()
