"""The training of transformers over patches, and the differences that make their maps."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from jaxqc.anomaly.detectors.patches import PatchesConfig
from jaxqc.anomaly.features import Backbone
from jaxqc.anomaly.learned.scored_loss import ScoredLoss
from jaxqc.anomaly.ops.maps import distance_map, top_score
from jaxqc.anomaly.patches.networks import KINDS, network
from jaxqc.anomaly.reconstruction.terms import DIFFERENCES, terms, weighted
from jaxqc.nn.resizing import resize
from jaxqc.training.method import Logs
from jaxqc.types import AXIS, ArrayLike, Batch, Variables


def differences(
    config: PatchesConfig, out: dict[str, Any], image: Float[ArrayLike, "b h w c"]
) -> Float[Array, "b h w"]:
    """The difference of each pixel, with the mixture's negative log-likelihood where there is one.

    Examples:
      >>> x = jnp.zeros((1, 4, 4, 1))
      >>> differences(PatchesConfig(map="l2"), {"rebuilt": x + 0.5}, x).max().item()
      0.25
    """
    apart = DIFFERENCES[config.map](image, out["rebuilt"])
    if "nll" not in out:
        return apart
    return apart + jnp.maximum(resize(out["nll"][..., None], *apart.shape[1:])[..., 0], 0.0)


@dataclass(frozen=True, eq=False)
class Patching(ScoredLoss):
    """The training of a network. pixels: the images as a backbone. size: their side."""

    config: PatchesConfig
    pixels: Backbone
    size: int

    def init(self, key: jax.Array) -> Variables:
        """A network drawn at random."""
        return dict(network(self.config).init(key, jnp.zeros((1, self.size, self.size, 3))))

    def loss(
        self, params: Any, model_state: Any, batch: Batch, key: jax.Array, extra: None = None
    ) -> tuple[jax.Array, tuple[Any, Logs]]:
        """The weighted terms; each is logged by its name."""
        count, image = KINDS[self.config.network].draws(self.config), self._image(batch["image"])
        noise = jax.vmap(lambda one: jax.random.normal(one, (count,)))(batch["key"]) if count else None
        how: dict[str, Any] = {"mutable": ["batch_stats"], "rngs": {"dropout": key}}
        found: Any = network(self.config, axis_name=AXIS).apply(
            {"params": params, **model_state}, image, True, noise, **how
        )
        out, changed = found
        loss, logs = self._weighed(out, image)
        return loss.mean(), (dict(changed), {name: value.mean() for name, value in logs.items()})

    def losses(self, variables: Variables, batch: Batch) -> Float[Array, " b"]:
        """Those of whole images."""
        image = self._image(batch["image"])
        return self._weighed(self._answer(variables, image), image)[0]

    def scores(self, variables: Variables, images: UInt8[Array, "b s s c"]) -> Float[Array, " b"]:
        """By maps that are not centred yet."""
        image = self._image(images)
        grid = differences(self.config, self._answer(variables, image), image)
        return top_score(distance_map(grid, self.size, self.size, self.config.sigma), self.config.top)

    def _image(self, images: Any) -> Any:
        return self.pixels.apply(self.pixels.variables, images)[0]

    def _answer(self, variables: Variables, image: Any) -> Any:
        own = {name: variables[name] for name in ("params", "batch_stats") if name in variables}
        return network(self.config).apply(own, image)

    def _weighed(self, out: dict[str, Any], image: Any) -> tuple[Float[Array, " b"], dict[str, Float[Array, " b"]]]:
        """The loss of each image and its terms. What training hid of it takes the image's place."""
        target = out.get("target", image)
        parts = terms(self.config.loss, out, target, jnp.zeros(target.shape[:3]))
        loss = weighted(self.config.loss, parts)
        if "nll" not in out:
            return loss, parts
        nll = out["nll"].mean((1, 2))
        return loss + self.config.nll * nll, parts | {"nll": nll}
