"""A model ready to serve: a scorer for each compiled batch size, all of one digest, and their warm-up."""

import copy
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from jaxqc.inspection.ledger.store import ModelInfo
from jaxqc.inspection.rules import GradeRules
from jaxqc.inspection.scorers import info_of, make_scorer
from jaxqc.scorer import Scorer
from jaxqc.serve.line import fitting, sizes_to

ELSE = 512
"""Side in pixels of the images that are compiled for, where the model takes them as they are."""


@dataclass(frozen=True)
class Engine:
    """A model with what its findings depend on."""

    info: ModelInfo
    scorers: Mapping[int, Scorer]
    """By batch size; they share weights and compiled functions."""
    rules: GradeRules
    mm_per_pixel: float | None = None

    @property
    def scorer(self) -> Scorer:
        """The one of the largest batches; for all that does not depend on the size."""
        return self.scorers[max(self.scorers)]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Compiled batch sizes, sorted."""
        return tuple(sorted(self.scorers))

    def score(self, prepared: Sequence[np.ndarray], device: int) -> Sequence[Any]:
        """Scores images of one kind in the smallest compiled batch that holds them."""
        return self.scorers[fitting(len(prepared), self.sizes)].score(prepared, device)

    def warm(self, shapes: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, tuple[int, int, int]]]:
        """Compiles every size on every device for images of these heights and widths, grey and in colour.

        Gives device, size and shape before each.
        """
        for device in range(self.scorer.devices):
            for size in self.sizes:
                for height, width in shapes:
                    for channels in (1, 3):
                        yield device, size, (height, width, channels)
                        # Of one value everywhere, some detectors divide by zero.
                        ramp = np.arange(height * width * channels) % 251
                        image = ramp.astype(np.uint8).reshape(height, width, channels)
                        prepared = self.scorer.prepare(image)
                        raw = self.scorers[size].score([prepared] * size, device)
                        self.scorer.answer(height, width, raw[0])


def make_engine(
    model: Any,
    most: int,
    *,
    rules: GradeRules | None = None,
    mm_per_pixel: float | None = None,
    threshold: float | None = None,
    devices: int = 0,
    note: Callable[[str], None] = lambda text: None,
) -> Engine:
    """The engine of a loaded model. most: largest batch; the other arguments: as `jaxqc.inspection.inspect.inspect`.

    Raises:
      UserError: as `jaxqc.inspection.scorers.make_scorer`; the rules name a class that the model does not know.
    """
    rules, scorers = rules or GradeRules(), {}
    for size in sizes_to(most):
        sized = copy.copy(model)
        sized.batch = size
        scorers[size] = make_scorer(sized, threshold, devices, rules, note if size == most else lambda text: None)
    rules.check_classes(scorers[most].classes, "rules")
    return Engine(info_of(scorers[most], rules, mm_per_pixel), scorers, rules, mm_per_pixel)


def digest_of(rules: GradeRules) -> str:
    """SHA-256 of rules."""
    return hashlib.sha256(json.dumps(asdict(rules), sort_keys=True).encode()).hexdigest()


def shape_of(model: Any) -> tuple[int, int]:
    """Height and width of the images that a model is likely to get: those at which its network sees them."""
    size = getattr(model, "size", 0) or ELSE
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
