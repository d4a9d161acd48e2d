"""The trainings that come before a detector's own, each a run of the one loop in a folder of its own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxqc.anomaly.detectors.base import TrainingConfig
from jaxqc.types import Variables

if TYPE_CHECKING:
    import jaxqc.anomaly.features
    import jaxqc.training.method

Known = Mapping[str, Variables]
"""Variables on the host that earlier stages gave, trained and frozen ones, by the stages' names."""


@dataclass(frozen=True)
class Stage:
    """A training before the detector's own, on the same images.

    Where there are stages before it, a method's `after(known)` gives the same method that starts from their variables
    (`Known`) or has them among its frozen ones. training: of the stage; a field of the detector's settings, so that
    another value is another recipe.
    """

    name: str
    training: TrainingConfig
    method: Callable[["jaxqc.anomaly.features.Backbone", int], "jaxqc.training.method.Method"]
    """(backbone, side of the images) → what the loop trains; as of a `Trained` detector."""


def stages_of(detector: Any) -> tuple[Stage, ...]:
    """A detector's `stages`, in their order; most have none.

    Examples:
      >>> stages_of(object())
      ()
    """
    return getattr(detector, "stages", ())


def place_of(name: str, training: Path) -> Path:
    """The folder of a stage or a trained member by its name, beside that of the detector's own training.

    Examples:
      >>> place_of("teacher", Path("runs/wood/training")).name
      'training_teacher'
    """
    return training.with_name(f"{training.name}_{name}")
