"""The parts of a training's method that measure a score on held-out images: beside the same with pasted defects."""

from collections.abc import Callable
from typing import Any

from jaxtyping import Array, Float, Key, UInt8

from jaxqc.anomaly.detectors.image_loss import HeldOutLoss
from jaxqc.anomaly.learned import pasted_auroc
from jaxqc.types import Batch, Metrics, Variables

Score = Callable[[UInt8[Array, "b s s c"]], Float[Array, " b"]]
"""Images → their scores, at least 0."""


class KeyedLoss(HeldOutLoss):
    """`HeldOutLoss` for a method whose training batches have a key for each image."""

    def prepare(self, batch: Batch, keys: Key[Array, " b"], size: int, train: bool) -> Batch:
        """With `key` [b], in training."""
        return batch | {"key": keys} if train else batch


class ScoredLoss(KeyedLoss):
    """`KeyedLoss` for a method that can also score images: the log then has `pasted_auroc`, which never chooses."""

    scores: Callable[[Variables, UInt8[Array, "b s s c"]], Float[Array, " b"]]
    """Image scores by the variables as they are used, frozen ones included."""

    def scorer(self, variables: Variables, batch: Batch) -> Score:
        """Image scores, which may be relative to those of a batch of held-out images, on all devices."""
        return lambda images: self.scores(variables, images)

    @property
    def pastes(self) -> bool:
        """True: held-out images are also scored with pasted defects."""
        return True

    def init_metrics(self) -> dict[str, Any]:
        """Empty sums, also of pasted defects."""
        return {**super().init_metrics(), **(pasted_auroc.empty() if self.pastes else {})}

    def update_metrics(self, metrics: dict[str, Any], variables: Variables, batch: Batch, size: int) -> dict[str, Any]:
        """Adds a batch, and its images with pasted defects."""
        whole = super().update_metrics(metrics, variables, batch, size)
        if not self.pastes:
            return whole
        sums = {name: metrics[name] for name in pasted_auroc.empty()}
        return {**whole, **pasted_auroc.counted(sums, self.scorer(variables, batch), batch["image"], batch["weight"])}

    def summarize(self, metrics: dict[str, Any]) -> Metrics:
        """`loss`, and `pasted_auroc`: of held-out images with a pasted defect against those without."""
        pasted = {"pasted_auroc": pasted_auroc.auroc(metrics)} if self.pastes else {}
        return {**super().summarize(metrics), **pasted}
