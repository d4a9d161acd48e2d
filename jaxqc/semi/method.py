"""A member of the family as a `jaxqc.training.method.Method`; its `extra` are the frozen models beside the student."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from jaxqc.data.augment.geometry import to_float
from jaxqc.metrics import segmentation
from jaxqc.models.resnet import IMAGENET_MEAN, IMAGENET_STD
from jaxqc.semi import frozen, gate, inference, objective
from jaxqc.semi.channels import deepest
from jaxqc.semi.cost import forward_flops, step_flops
from jaxqc.semi.frozen import Frozen
from jaxqc.semi.language import Guide
from jaxqc.semi.network import EncoderDecoder, learned
from jaxqc.semi.network import deployed as used
from jaxqc.semi.recipe import SemiConfig
from jaxqc.semi.setting import Setting
from jaxqc.training.method import Logs
from jaxqc.types import AXIS, Batch, Metrics, Variables


@dataclass(frozen=True, eq=False)
class SemiMethod:
    """A segmentation network learnt from few labels.

    network: its two halves. start: key → parameters, for each student anew. multiple: of which the network's input
    sides have to be. head_rate, lr_scale: factors on the learning rate of the head and of all. long_side: in
    pixels of the images it is measured on; 0 = their own. window: whether large images are measured by a sliding
    window. class_weights: factor on the loss of each class; () = 1. peak_tflops: of one device; 0 = not known.
    epoch_steps, total_steps: optimiser steps of an epoch and of all, by which members with a schedule go. size: side
    of the training crops, where a memory keeps channels over their positions. guide: labels the weak view, too.
    """

    config: SemiConfig
    classes: tuple[str, ...]
    network: EncoderDecoder
    start: Callable[[Key[Array, ""]], Any]
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    multiple: int = inference.PATCH
    head_rate: float = 1.0
    lr_scale: float = 1.0
    long_side: int = 0
    window: bool = False
    class_weights: tuple[float, ...] = ()
    peak_tflops: float = 0.0
    epoch_steps: int = 1
    total_steps: int = 1
    size: int = 0
    guide: Guide | None = None

    def init(self, key: Key[Array, ""]) -> Variables:
        """Fresh parameters; of two students with a leading axis."""
        students = self.config.students
        return {"params": self.start(key) if students == 1 else jax.vmap(self.start)(jax.random.split(key, students))}

    def frozen(self) -> Any:
        """The guide; its teachers change as it learns."""
        return None if self.guide is None else {"guide": self.guide.params}

    def rates(self, params: Any, extra: Any = None) -> Any:
        """`head_rate` for what is drawn anew, below `head` and `channels`, times `lr_scale`."""
        factor = lambda name: self.lr_scale * (self.head_rate if name in ("head", "channels") else 1.0)
        rates = {name: jax.tree.map(partial(jnp.full_like, fill_value=factor(name)), x) for name, x in params.items()}
        if self.config.freeze:
            rates["encoder"] = jax.tree.map(jnp.zeros_like, params["encoder"])
        if not self.config.language.decoder:
            return rates
        return jax.tree.map(lambda rate, moves: rate * moves, rates, learned(params, self.config.language.train))

    def active(self, params: Any, step: Any) -> None:
        """All, in every step."""

    def init_extra(self, params: Any, model_state: Any = None) -> Frozen:
        """The frozen models that go with fresh parameters."""
        grid = (0, 0)
        if self.config.memory.heads:
            image = jax.ShapeDtypeStruct((1, self.size, self.size, 3), jnp.float32)
            _, h, w, c = deepest(jax.eval_shape(self.network.encode, params, image)).shape
            grid = h * w, c
        return frozen.init_frozen(self.config, params, len(self.classes), grid)

    def prepare(self, batch: Batch, keys: Key[Array, " b"], size: int, train: bool) -> Batch:
        """Views as the host cuts them → the network's input and strong views (`jaxqc.semi.objective`); when not
        `train`, images normalised. `size` is the host's business."""
        del size
        if train:
            return objective.prepare(self.config, batch, keys, self.mean, self.std)
        return {**batch, "image": self.normalize(to_float(batch["image"]))}

    def normalize(self, image: Float[Array, "b h w 3"]) -> Float[Array, "b h w 3"]:
        """RGB in [0, 1] → `mean` 0 and deviation `std`."""
        return (image - jnp.asarray(self.mean, jnp.float32)) / jnp.asarray(self.std, jnp.float32)

    def loss(
        self, params: Any, model_state: Any, batch: Batch, key: Key[Array, ""], extra: Frozen
    ) -> tuple[Float[Array, ""], tuple[Any, Logs, Any]]:
        """`objective.semi_loss`; counts are over all devices of the mapped axis."""
        weights = jnp.asarray(self.class_weights, jnp.float32) if self.class_weights else None
        setting = Setting(self.config, self.network, AXIS, weights, self.epoch_steps, self.total_steps)
        guide = None
        if self.guide is not None:
            model_state, text = dict(model_state), jax.lax.stop_gradient(params["head"]["text"])
            guide = self.guide.logits(model_state.pop("guide"), text, batch["weak"])
        loss, (logs, remember) = objective.semi_loss(setting, params, extra, batch, key, guide)
        return loss, (model_state, logs, remember)

    def after_step(
        self, extra: Frozen, params: Any, step: Int[Array, ""], model_state: Any = None, *remembered: Any
    ) -> Frozen:
        """The teacher moves, and the bank takes in what all devices saw; `step` counts from 0."""
        extra = frozen.after_step(self.config, extra, params, step, self.epoch_steps, *remembered)
        if self.config.freeze and extra.teacher is not None:  # an average of equal arrays would drift by rounding
            same = jax.tree.map(lambda s, t: jnp.broadcast_to(s, t.shape), params["encoder"], extra.teacher["encoder"])
            extra = replace(extra, teacher={**extra.teacher, "encoder": same})
        return extra

    def after_evaluation(self, extra: Frozen, params: Any, improved: Bool[Array, ""] | bool, *metrics: Any) -> Frozen:
        """The student joins the queue where the selection split's best value strictly improved; the gate moves."""
        extra = frozen.after_evaluation(extra, params, improved)
        return frozen.opened(self.config, extra, *metrics) if metrics else extra

    def pace(self, images_per_second: float, size: int, devices: int, logs: Mapping[str, Any]) -> dict[str, float]:
        """`model_tflops` a second of all devices (`jaxqc.semi.cost`) and, where the peak is known, `mfu`, the share."""
        flops = step_flops(self.config, self._forward_flops(size), logs.get("drawn") or 0.0)
        rate = images_per_second * flops / 1e12
        found = {"model_tflops": rate} | ({"mfu": rate / self.peak_tflops / devices} if self.peak_tflops else {})
        return {name: float(f"{value:.4g}") for name, value in found.items()}

    def refuse(self, logs: Mapping[str, Any]) -> None:
        """Refuses nothing."""

    @cached_property
    def _forward_flops(self) -> Callable[[int], tuple[float, float]]:
        return cache(lambda size: forward_flops(self.network, self.start, size))

    def deployed(self, variables: Variables, extra: Frozen | None) -> Variables:
        """One network's, to be measured and used: the (first) teacher's where there is one, else the (first) student's.

        Without `extra` the variables are those already, perhaps of both.
        """
        if extra is not None and extra.teacher is not None:
            variables = {"params": extra.teacher}
        variables = jax.tree.map(lambda x: x[0], dict(variables)) if self.config.several else variables
        return {**variables, "params": used(variables["params"])}

    def predict(self, variables: Variables, image: Float[Array, "b h w 3"]) -> dict[str, jax.Array]:
        """Normalised images → `map` [b h w k] probabilities and `label` [b h w] int32, of one network's parameters."""
        found = inference.probabilities(
            self.network, variables["params"], image, self.multiple, self.long_side, self.window
        )
        return {"map": found, "label": found.argmax(-1).astype(jnp.int32)}

    def init_metrics(self) -> tuple[segmentation.ConfusionSums, ...]:
        """An empty confusion matrix; where confidence selects, also one of bands and of right or wrong."""
        bands = len(gate.edges(self.config.tiers, self.config.gate))
        return tuple(segmentation.empty(n) for n in (len(self.classes), *((max(2, bands),) * self._banded)))

    def update_metrics(
        self, metrics: tuple[segmentation.ConfusionSums, ...], variables: Variables, batch: Batch, size: int = 0
    ) -> tuple[segmentation.ConfusionSums, ...]:
        """Adds a raw batch of whole images and label maps, predicted at the image's own size; 255 is ignored."""
        del size
        said = self.predict(variables, self.normalize(to_float(batch["image"])))
        found, truth, weight = said["label"], batch["mask"].astype(jnp.int32), batch["weight"]
        first = segmentation.update(metrics[0], found, truth, weight)
        if not self._banded:
            return (first,)
        band = gate.band_of(said["map"].max(-1), self.config.tiers, self.config.gate)
        known = (truth >= 0) & (truth < len(self.classes))
        right = (found == truth).astype(jnp.int32)
        return first, segmentation.update(metrics[1], right, jnp.where(known, band, -1), weight)

    @property
    def _banded(self) -> bool:
        return self.config.unlabelled and self.config.select.by == "confidence"

    def summarize(self, metrics: tuple[segmentation.ConfusionSums, ...]) -> Metrics:
        """`miou`, `pixel_accuracy`, `CLASS/iou`, and each tier's precision (`jaxqc.semi.gate.measured`)."""
        found = segmentation.compute(metrics[0], self.classes)
        if not self._banded:
            return found
        counts = segmentation.confusion(jax.device_get(metrics[1]))
        return found | gate.measured(counts, self.config.tiers, self.config.gate)
