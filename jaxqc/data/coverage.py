"""The account of an evaluation: how many images of a data set it measured, and which it left out for what reason."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jaxqc.data.dataset import Dataset


@dataclass(frozen=True)
class Coverage:
    """Images of a data set, and those that an evaluation does not measure, by reason."""

    total: int
    left_out: Mapping[str, int] = field(default_factory=dict)

    def line(self, measured: int) -> str:
        """The account in one line.

        Examples:
          >>> Coverage(10, {"of split 'train'": 9}).line(1)
          "1 of 10 images measured; left out: 9 of split 'train'"
        """
        reasons = ", ".join(f"{n} {reason}" for reason, n in self.left_out.items() if n)
        return f"{measured} of {self.total} images measured" + (f"; left out: {reasons}" if reasons else "")

    def to_json(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return {"images_in_all": self.total, "left_out": {reason: n for reason, n in self.left_out.items() if n}}

    def plus(self, reason: str, count: int) -> "Coverage":
        """The same with `count` more left out for a reason."""
        return Coverage(self.total, {**self.left_out, reason: count})


def coverage(whole: Dataset, part: Dataset) -> Coverage:
    """The account of measuring `part` of a data set: the others by their split.

    Examples:
      >>> from pathlib import Path
      >>> from jaxqc.data.dataset import Sample
      >>> whole = Dataset("tiny", (), (Sample("a", Path("a.png"), split="test"), Sample("b", Path("b.png"))))
      >>> coverage(whole, whole.split("test")).left_out
      {'without a split': 1}
    """
    kept = {sample.id for sample in part.samples}
    others = (sample for sample in whole.samples if sample.id not in kept)
    reasons = Counter(f"of split {s.split!r}" if s.split else "without a split" for s in others)
    return Coverage(len(whole), dict(reasons))
