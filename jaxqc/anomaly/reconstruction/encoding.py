"""An encoder that finds the codes of images after two players were trained: the second stage of f-AnoGAN."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from jaxqc.anomaly.detectors.reconstruction import LossWeights, Rebuilder
from jaxqc.anomaly.detectors.stage import Known, Stage
from jaxqc.anomaly.features import Backbone
from jaxqc.anomaly.reconstruction.adversary import squares
from jaxqc.anomaly.reconstruction.detector import Reconstructed
from jaxqc.anomaly.reconstruction.objective import Rebuilding
from jaxqc.anomaly.reconstruction.players import answering, finder
from jaxqc.anomaly.reconstruction.terms import terms, weighted
from jaxqc.nn.fold import fold_batch_norm
from jaxqc.training.method import Logs
from jaxqc.types import Batch, Variables

FIRST = "players"
"""Name of the stage of both players, and of the collection that has them."""


class Encoded(Reconstructed):
    """Two players that are trained first, and the encoder."""

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The players, who see no image's code."""
        config: Any = self.config
        return (Stage(FIRST, config.start, self.playing),)

    def playing(self, backbone: Backbone, size: int) -> Rebuilding:
        """The training of both players. Raises UserError as `Reconstructed.method`."""
        own = super().method(backbone, size)
        return replace(own, config=replace(self.config, loss=LossWeights(adversarial=1.0)))

    def method(self, backbone: Backbone, size: int) -> "Finding":
        """The encoder's training. Raises UserError as `Reconstructed.method`."""
        super().method(backbone, size)
        return Finding(self.config, backbone, size)

    def trained(self, variables: Variables) -> Rebuilder:
        """The encoder and both players, batch norm folded."""
        return Rebuilder({"finder": variables["params"], **variables[FIRST]}, np.ones((1, 1), np.float32))


@dataclass(frozen=True, eq=False)
class Finding(Rebuilding):
    """The encoder's training beside both players, who are none before `after`."""

    players: Any = None

    def after(self, known: Known) -> "Finding":
        """The same beside trained players, batch norm folded."""
        return replace(self, players=fold_batch_norm(known[FIRST])["params"])

    def init(self, key: Key[Array, ""]) -> Variables:
        """An encoder drawn at random."""
        return {"params": finder(self.config).init(key, jnp.zeros((1, self.size, self.size, 3)))["params"]}

    def frozen(self) -> dict[str, Any]:
        """The backbone and the players."""
        return {**super().frozen(), FIRST: self.players}

    def loss(
        self, params: Any, model_state: Any, batch: Batch, key: jax.Array, extra: None = None
    ) -> tuple[jax.Array, tuple[Any, Logs]]:
        """The differences of images, and of the critic's features; each is logged by its name."""
        parts = self._parts({**model_state, "params": params}, batch)
        logs = {name: value.mean() for name, value in parts.items()}
        return weighted(self.config.loss, parts).mean(), ({}, logs)

    def losses(self, variables: Variables, batch: Batch) -> Float[Array, " b"]:
        """The same of each image."""
        return weighted(self.config.loss, self._parts(variables, batch))

    def _parts(self, variables: Variables, batch: Batch) -> dict[str, Float[Array, " b"]]:
        whole = self.seen(variables, batch["image"])
        out = self._answer(variables)(whole)
        out["feature"] = squares(out["features"], out["features_rebuilt"])
        return terms(self.config.loss, out, whole, jnp.zeros(whole.shape[:3]))

    def _answer(self, variables: Variables) -> Any:
        params = {"finder": variables["params"], **variables[FIRST]}
        return answering(self.config, {"params": params}, self.size, folded=True, judged=True)
