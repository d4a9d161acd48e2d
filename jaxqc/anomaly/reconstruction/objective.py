"""The training of networks that rebuild: what was painted into the image is to be gone from what comes out."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Key, UInt8

from jaxqc.anomaly.detectors.image_loss import HeldOutLoss
from jaxqc.anomaly.detectors.reconstruction import ReconstructionConfig
from jaxqc.anomaly.features import Backbone
from jaxqc.anomaly.learned import pasted_auroc
from jaxqc.anomaly.learned.cache import Features, at_hand
from jaxqc.anomaly.learned.cells import places, taken
from jaxqc.anomaly.learned.corrupt import corrupt, some, textures_for
from jaxqc.anomaly.learned.jitter import jittered
from jaxqc.anomaly.reconstruction.hiding import HELD_OUT, drawn_sets, filled, hidden, rebuilt_by_sets
from jaxqc.anomaly.reconstruction.networks import measured_code, network
from jaxqc.anomaly.reconstruction.score import differences, scored, usual
from jaxqc.anomaly.reconstruction.target import components, covariance_of, target
from jaxqc.anomaly.reconstruction.terms import terms, weighted
from jaxqc.data.dataset import ArrayDataset, Dataset
from jaxqc.models.draem import drawn_small
from jaxqc.training.method import Logs
from jaxqc.types import AXIS, ArrayLike, Batch, Metrics, Variables


@dataclass(frozen=True, eq=False)
class Rebuilding(HeldOutLoss):
    """The training of the networks. size: side of the images in pixels."""

    config: ReconstructionConfig
    backbone: Backbone
    size: int

    def measured(self, data: ArrayDataset | Dataset, batch: int) -> "Rebuilding":
        """The same with as many numbers of the code as these images' features need, where the recipe leaves it open."""
        if not measured_code(self.config):
            return self
        features = lambda frozen, images: {"target": self.seen(frozen, images)}
        covariance = covariance_of(data, features, "target", self.frozen(), batch, self.size)
        return replace(self, config=replace(self.config, latent=components(covariance, self.config.kept)))

    def init(self, key: Key[Array, ""]) -> Variables:
        """Networks drawn at random."""
        shape = jax.eval_shape(self.seen, self.frozen(), jax.ShapeDtypeStruct((1, self.size, self.size, 3), jnp.uint8))
        variables = dict(network(self.config).init(key, jnp.zeros(shape.shape)))
        if self.config.encoder == "deep":
            variables["params"] = drawn_small(variables["params"], key)
        return variables

    def frozen(self) -> dict[str, Any]:
        """The backbone and the textures."""
        return {"backbone": dict(self.backbone.variables), **self._textures()}

    def _textures(self) -> dict[str, Any]:
        config = self.config
        return {} if config.corrupt == "grid" else textures_for(config.corrupt, self.size, config.pictures)

    def seen(self, frozen: Any, images: UInt8[ArrayLike, "b s s c"]) -> Float[Array, "b h w d"]:
        """The target of images."""
        return target(self.backbone.apply(frozen["backbone"], images), self.config.grid)

    @property
    def features(self) -> Features | None:
        """The target of images, computed once; None where it is the image, or a painted one is seen."""
        if self.config.corrupt != "none" or not self.backbone.variables:
            return None
        return lambda frozen, images: {"target": self.seen(frozen, images)}

    def prepare(self, batch: Batch, keys: Key[Array, " b"], size: int, train: bool) -> Batch:
        """With a key for each image."""
        return batch | {"key": keys} if train else batch

    def loss(
        self, params: Any, model_state: Any, batch: Batch, key: jax.Array, extra: None = None
    ) -> tuple[jax.Array, tuple[Any, Logs]]:
        """The weighted terms; each is logged by its name."""
        config, keys = self.config, batch["key"]
        whole = self._target(model_state, batch)
        if config.cells:
            cells = whole.shape[1] * whole.shape[2]
            whole = taken(whole, places(keys, cells, min(config.cells, cells)))
        seen, sets, mask = whole, None, jnp.zeros(whole.shape[:3])
        if config.corrupt == "grid":
            sets = drawn_sets(key, keys, whole.shape[1], whole.shape[2])
            seen = hidden(whole, sets)
        elif config.corrupt != "none":
            painted = corrupt(config.corrupt, batch["image"], keys, model_state.get("textures"))
            image, mask = some(batch["image"], painted, keys, config.share)
            seen = self.seen(model_state, image)
        elif config.encoder == "tokens" and config.tokens.jitter:
            seen = jittered(whole, keys, config.tokens.jitter)
        draw = lambda one: jax.random.normal(jax.random.fold_in(one, 2), (config.latent,))
        noise = jax.vmap(draw)(keys) if config.variational else None
        variables = {"params": params, **{k: v for k, v in model_state.items() if k == "batch_stats"}}
        networks = network(config, axis_name=AXIS)
        how: dict[str, Any] = {"mutable": ["batch_stats"], "rngs": {"dropout": key}}
        found: Any = networks.apply(variables, seen, True, noise, **how)
        out, changed = found
        out = out if sets is None else {"rebuilt": filled(out["rebuilt"], sets)}
        parts = terms(config.loss, out, whole, mask)
        logs = {name: value.mean() for name, value in parts.items()}
        return weighted(config.loss, parts).mean(), (dict(changed), logs)

    def losses(self, variables: Variables, batch: Batch) -> Float[Array, " b"]:
        """Those of the image as it is."""
        whole, answer = self._target(variables, batch), self._answer(variables)
        if self.config.corrupt == "grid":
            out = {"rebuilt": rebuilt_by_sets(lambda x: answer(x)["rebuilt"], whole, HELD_OUT)}
        else:
            out = answer(whole)
        return weighted(self.config.loss, terms(self.config.loss, out, whole, jnp.zeros(whole.shape[:3])))

    def init_metrics(self) -> dict[str, Any]:
        """Empty sums, also of pasted defects."""
        return {**super().init_metrics(), **pasted_auroc.empty()}

    def update_metrics(self, metrics: dict[str, Any], variables: Variables, batch: Batch, size: int) -> dict[str, Any]:
        """Adds a batch, and its images with pasted defects, beside the batch's own usual differences."""
        config, answer = self.config, self._answer(variables)
        grids = lambda x: differences(config, answer, self.seen(variables, x))
        share = jnp.asarray(batch["weight"])[:, None, None]
        total, count = lax.psum(((share * grids(batch["image"])).sum(0), share.sum()), AXIS)
        mean = total / jnp.maximum(count, 1.0)
        place = usual(mean) if config.relative else 1.0
        score = lambda x: scored(config, grids(x) / place, self.size)[1]
        sums = {name: metrics[name] for name in pasted_auroc.empty()}
        found = pasted_auroc.counted(sums, score, batch["image"], batch["weight"])
        return {**super().update_metrics(metrics, variables, batch, size), **found}

    def summarize(self, metrics: dict[str, Any]) -> Metrics:
        """`loss`, and `pasted_auroc`: of held-out images with a pasted defect against those without."""
        return {**super().summarize(metrics), "pasted_auroc": pasted_auroc.auroc(metrics)}

    def _answer(self, variables: Variables) -> Any:
        own = {name: variables[name] for name in ("params", "batch_stats") if name in variables}
        return lambda x: network(self.config).apply(own, x)

    def _target(self, frozen: Any, batch: Batch) -> Float[Array, "b h w c"]:
        features = self.features
        return self.seen(frozen, batch["image"]) if features is None else at_hand(batch, features, frozen)["target"]
