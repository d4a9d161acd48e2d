"""Parts of the training of networks that see the image itself, each image with a key, and pasted defects in the log."""

from typing import Any

from jaxtyping import Array, Float, Key, UInt8

from jaxqc.anomaly.detectors.image_loss import HeldOutLoss
from jaxqc.anomaly.learned import pasted_auroc
from jaxqc.types import Batch, Metrics, Variables


class KeyedLoss(HeldOutLoss):
    """`HeldOutLoss` whose training batches have a key for each image."""

    def prepare(self, batch: Batch, keys: Key[Array, " b"], size: int, train: bool) -> Batch:
        """With `key`, in training."""
        return batch | {"key": keys} if train else batch


class PaintedLoss(KeyedLoss):
    """The same with the AUROC of defects pasted into held-out images among the metrics."""

    def scores(self, variables: Variables, images: UInt8[Array, "b s s c"]) -> Float[Array, " b"]:
        """The images' scores, at least 0, as near as training knows them."""
        raise NotImplementedError

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
