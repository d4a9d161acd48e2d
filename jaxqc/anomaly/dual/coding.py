"""The first training of DSR: a VQ-VAE of good images and of other pictures."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.anomaly.detectors.dsr import Dsr
from jaxqc.anomaly.dual.networks import scaled, vq_vae
from jaxqc.anomaly.features import Backbone
from jaxqc.anomaly.learned.corrupt import textures_for
from jaxqc.anomaly.learned.scored_loss import KeyedLoss
from jaxqc.data.augment.photometric import grey
from jaxqc.models.codes import drawn_book, moved
from jaxqc.models.vq_vae import WIDTH
from jaxqc.training.method import Logs
from jaxqc.types import AXIS, Batch, Variables

COMMITMENT = 0.25
"""Weight of the vectors' distance from their codes."""


@dataclass(frozen=True, eq=False)
class Coding(KeyedLoss):
    """The training of encoder, codes and decoder. pixels: the images as a backbone. size: their side."""

    config: Dsr
    pixels: Backbone
    size: int

    def init(self, key: jax.Array) -> Variables:
        """Networks and codes drawn at random."""
        first, *own = jax.random.split(key, 3)
        dim = scaled(self.config, WIDTH)
        books = {name: drawn_book(k, self.config.codes, dim) for name, k in zip(("lo", "hi"), own, strict=True)}
        code = {name: book["code"] for name, book in books.items()}
        variables: Any = vq_vae(self.config).init(first, jnp.zeros((1, self.size, self.size, 3)), code)
        return {**variables, "codes": books}

    def frozen(self) -> dict[str, Any]:
        """The pictures."""
        return textures_for("texture", self.size, self.config.pictures)

    def loss(
        self, params: Any, model_state: Any, batch: Batch, key: jax.Array, extra: None = None
    ) -> tuple[jax.Array, tuple[Any, Logs]]:
        """Squared error of the images and the vectors' distance from their codes, which move to the vectors."""
        images, pictures = jnp.asarray(batch["image"]), model_state["textures"]
        draws = jax.vmap(lambda one: jax.random.uniform(one, (2,)))(batch["key"])
        others = pictures[(draws[:, 0] * len(pictures)).astype(jnp.int32)]
        others = others if images.shape[-1] > 1 else jnp.round(grey(others.astype(jnp.float32))).astype(jnp.uint8)
        images = jnp.where((draws[:, 1] < self.config.mixed)[:, None, None, None], others, images)
        parts, out = self._parts(params, model_state["codes"], images)
        books, logs = {}, {name: value.mean() for name, value in parts.items()}
        for number, name in enumerate(("lo", "hi")):
            own = jax.random.fold_in(key, number)
            books[name], counted = moved(model_state["codes"][name], out[f"z_{name}"], own, AXIS)
            logs |= {f"{what}_{name}": value for what, value in counted.items()}
        return parts["l2"].mean() + COMMITMENT * parts["commitment"].mean(), ({"codes": books}, logs)

    def losses(self, variables: Variables, batch: Batch) -> Float[Array, " b"]:
        """Those of the images as they are."""
        parts, _ = self._parts(variables["params"], variables["codes"], batch["image"])
        return parts["l2"] + COMMITMENT * parts["commitment"]

    def _parts(self, params: Any, books: Any, images: Any) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
        image = self.pixels.apply(self.pixels.variables, images)[0]
        code = {name: book["code"] for name, book in books.items()}
        out: Any = vq_vae(self.config).apply({"params": params}, image, code)
        apart = lambda a, b: jnp.square(a - b).mean((1, 2, 3))
        away = [apart(out[f"z_{name}"], jax.lax.stop_gradient(out[f"q_{name}"])) for name in ("lo", "hi")]
        return {"l2": apart(image, out["rebuilt"]), "commitment": away[0] + away[1]}, out
