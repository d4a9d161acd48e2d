"""The parts of a training's method that measure a score on held-out images: beside the same with pasted defects."""

from collections.abc import Callable
from typing import Any

from jaxtyping import Array, Float, UInt8

from jaxqc.anomaly.detectors.image_loss import HeldOutLoss
from jaxqc.anomaly.learned import pasted_auroc
from jaxqc.types import Batch, Metrics, Variables


class ScoredLoss(HeldOutLoss):
    """`HeldOutLoss` for a method that can also score images: the log then has `pasted_auroc`, which never chooses."""

    scores: Callable[[Variables, UInt8[Array, "b s s c"]], Float[Array, " b"]]
    """Image scores of at least 0, by the variables as they are used, frozen ones included."""

    def init_metrics(self) -> dict[str, Any]:
        """Empty sums, also of pasted defects."""
        return {**super().init_metrics(), **pasted_auroc.empty()}

    def update_metrics(self, metrics: dict[str, Any], variables: Variables, batch: Batch, size: int) -> dict[str, Any]:
        """Adds a batch, and its images with pasted defects."""
        sums = {name: metrics[name] for name in pasted_auroc.empty()}
        score = lambda images: self.scores(variables, images)
        found = pasted_auroc.counted(sums, score, batch["image"], batch["weight"])
        return {**super().update_metrics(metrics, variables, batch, size), **found}

    def summarize(self, metrics: dict[str, Any]) -> Metrics:
        """`loss`, and `pasted_auroc`: of held-out images with a pasted defect against those without."""
        return {**super().summarize(metrics), "pasted_auroc": pasted_auroc.auroc(metrics)}
