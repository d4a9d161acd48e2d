"""The training of networks that rebuild: what was painted into the image is to be gone from what comes out."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Key, UInt8

from jaxqc.anomaly.detectors.reconstruction import ReconstructionConfig
from jaxqc.anomaly.features import Backbone
from jaxqc.anomaly.learned.cache import Features, at_hand
from jaxqc.anomaly.learned.cells import places, taken
from jaxqc.anomaly.learned.corrupt import corrupt, some, textures_for
from jaxqc.anomaly.learned.jitter import jittered
from jaxqc.anomaly.learned.scored_loss import Score, ScoredLoss
from jaxqc.anomaly.ops.principal import components
from jaxqc.anomaly.reconstruction.density import described, fitted
from jaxqc.anomaly.reconstruction.hiding import HELD_OUT, drawn_sets, filled, hidden, rebuilt_by_sets
from jaxqc.anomaly.reconstruction.networks import measured_code, network
from jaxqc.anomaly.reconstruction.score import judged, scored, usual
from jaxqc.anomaly.reconstruction.target import covariance_of, target
from jaxqc.anomaly.reconstruction.terms import DIFFERENCES, terms, weighted
from jaxqc.data.dataset import ArrayDataset, Dataset
from jaxqc.data.pipeline import eval_batches
from jaxqc.models.draem import drawn_small
from jaxqc.training.method import Logs
from jaxqc.types import AXIS, ArrayLike, Batch, Variables

DENSITY = "density"
"""Name of what is fitted after the training."""


@dataclass(frozen=True, eq=False)
class Rebuilding(ScoredLoss):
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

    def loss(
        self, params: Any, model_state: Any, batch: Batch, key: jax.Array, extra: None = None
    ) -> tuple[jax.Array, tuple[Any, Logs]]:
        """The weighted terms; each is logged by its name."""
        config, keys = self.config, batch["key"]
        whole = self._target(model_state, batch)
        if config.cells:
            cells = whole.shape[1] * whole.shape[2]
            whole = taken(whole, places(keys, cells, min(config.cells, cells)))
        sets = None
        if config.corrupt == "grid":
            sets, mask = drawn_sets(key, keys, whole.shape[1], whole.shape[2]), jnp.zeros(whole.shape[:3])
            seen = hidden(whole, sets)
        else:
            seen, mask = self.marred(model_state, batch, whole)
        draw = lambda one: jax.random.normal(jax.random.fold_in(one, 2), (config.latent,))
        noise = {"noise": jax.vmap(draw)(keys)} if config.variational else {}
        variables = {"params": params, **{k: v for k, v in model_state.items() if k == "batch_stats"}}
        networks = network(config, axis_name=AXIS)
        how: dict[str, Any] = {"mutable": ["batch_stats"], "rngs": {"dropout": key}}
        found: Any = networks.apply(variables, seen, True, **noise, **how)
        out, changed = found
        out = out if sets is None else {"rebuilt": filled(out["rebuilt"], sets)}
        parts = terms(config.loss, out, whole, mask)
        logs = {name: value.mean() for name, value in parts.items()}
        logs |= {"slots_used": out["used"]} if "used" in out else {}
        return weighted(config.loss, parts).mean(), (dict(changed), logs)

    def marred(
        self, model_state: Any, batch: Batch, whole: Float[Array, "b h w c"]
    ) -> tuple[Float[Array, "b h w c"], Float[Array, "b h w"]]:
        """The thing that the network sees in training, with defects by the images' keys, and their mask."""
        config, keys = self.config, batch["key"]
        if config.corrupt in ("none", "grid"):
            jitter = config.tokens.jitter if config.encoder == "tokens" else 0.0
            return jittered(whole, keys, jitter) if jitter else whole, jnp.zeros(whole.shape[:3])
        painted = corrupt(config.corrupt, batch["image"], keys, model_state.get("textures"))
        image, mask = some(batch["image"], painted, keys, config.share)
        return self.seen(model_state, image), mask

    def losses(self, variables: Variables, batch: Batch) -> Float[Array, " b"]:
        """Those of the image as it is."""
        whole, answer = self._target(variables, batch), self._answer(variables)
        if self.config.corrupt == "grid":
            out = {"rebuilt": rebuilt_by_sets(lambda x: answer(x)["rebuilt"], whole, HELD_OUT)}
        else:
            out = answer(whole)
        return weighted(self.config.loss, terms(self.config.loss, out, whole, jnp.zeros(whole.shape[:3])))

    def scorer(self, variables: Variables, batch: Batch) -> Score:
        """Image scores, where maps are relative to the batch's own usual differences."""
        config, answer = self.config, self._answer(variables)
        if config.image == "density":  # which is fitted after the training
            config = replace(config, image="map")
        found = lambda images: judged(config, answer, self.seen(variables, images))
        place: Any = 1.0
        if config.relative:
            share = jnp.asarray(batch["weight"])[:, None, None]
            total, count = lax.psum(((share * found(batch["image"])[0]).sum(0), share.sum()), AXIS)
            place = usual(total / jnp.maximum(count, 1.0))

        def score(images: UInt8[Array, "b s s c"]) -> Float[Array, " b"]:
            grid, own = found(images)
            return scored(config, grid / place, own, self.size)[1]

        return score

    def gathered(self, variables: Variables, data: ArrayDataset | Dataset, batch: int) -> dict[str, Any]:
        """The density of these images' codes and errors, where they are scored by it."""
        config = self.config
        if config.image != "density":
            return {}

        @jax.jit
        def describe(variables: Any, images: Any) -> Float[Array, "b d"]:
            x = self.seen(variables, images)
            out = self._answer(variables)(x)
            return described(out["mean"], DIFFERENCES[config.map](x, out["rebuilt"]))

        there, rows = jax.device_put(dict(variables)), []
        with eval_batches(data, batch, self.size) as batches:
            for one in batches:
                rows.append(np.asarray(describe(there, one["image"]))[np.asarray(one["weight"]) > 0])
        return {DENSITY: fitted(np.concatenate(rows), config.mixture)}

    def _answer(self, variables: Variables) -> Any:
        own = {name: variables[name] for name in ("params", "batch_stats") if name in variables}
        return lambda x, **more: network(self.config).apply(own, x, **more)

    def _target(self, frozen: Any, batch: Batch) -> Float[Array, "b h w c"]:
        features = self.features
        return self.seen(frozen, batch["image"]) if features is None else at_hand(batch, features, frozen)["target"]
