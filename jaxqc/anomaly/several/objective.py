"""The training of autoencoders with several outputs, and the differences that make their maps."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, UInt8

from jaxqc.anomaly.detectors.several import SeveralConfig
from jaxqc.anomaly.features import Backbone
from jaxqc.anomaly.learned.corrupt import corrupt, some, textures_for
from jaxqc.anomaly.learned.scored_loss import ScoredLoss
from jaxqc.anomaly.ops.maps import top_score
from jaxqc.models.several_outputs import ByDepth, ByPart, ByScale
from jaxqc.nn.conv import Norm
from jaxqc.nn.pyramid import along_both, halving
from jaxqc.nn.resizing import resize
from jaxqc.training.method import Logs
from jaxqc.types import AXIS, ArrayLike, Batch, Variables

Image = Float[ArrayLike, "n _ _ _"]


def network(config: SeveralConfig, folded: bool = False, axis_name: str | None = None) -> nn.Module:
    """The network of a recipe.

    Examples:
      >>> network(SeveralConfig(width=4, depth=3)).widths
      (4, 8, 16)
    """
    widths, norm = tuple(config.width * 2**i for i in range(config.depth)), Norm(folded, axis_name)
    if config.outputs == "depths":
        return ByDepth(widths, config.count, config.clusters, norm)
    return ByScale(widths, norm) if config.outputs == "scales" else ByPart(widths, norm)


def seen(config: SeveralConfig, image: Image) -> tuple[Float[Array, "n _ _ _"], ...]:
    """The image, and of `scales` each time at half the size: blurred, then every second pixel.

    Examples:
      >>> [x.shape[1:3] for x in seen(SeveralConfig(count=3), jnp.ones((1, 8, 8, 1)))]
      [(8, 8), (4, 4), (2, 2)]
    """
    images = [jnp.asarray(image)]
    for _ in range(config.count - 1 if config.outputs == "scales" else 0):
        images.append(along_both(images[-1], *(halving(side, "symmetric") for side in images[-1].shape[1:3])))
    return tuple(images)


def differences(
    config: SeveralConfig, out: Mapping[str, Any], images: tuple[Image, ...]
) -> tuple[Float[Array, "n _ _"], ...]:
    """The squared difference of each pixel, a grid a scale at its own size; one grid of the other outputs.

    Examples:
      >>> x = jnp.zeros((1, 4, 4, 1))
      >>> differences(SeveralConfig("parts"), {"texture": x, "defect": x + 0.5}, (x,))[0].max().item()
      0.25
    """
    apart = lambda a, b: jnp.square(jnp.asarray(a) - b).mean(-1)
    if config.outputs == "parts":
        return (jnp.square(out["defect"]).mean(-1),)
    grids = [apart(images[min(i, len(images) - 1)], out[name]) for i, name in enumerate(rebuilding(out))]
    return tuple(grids) if config.outputs == "scales" else (jnp.stack(grids).sum(0),)


def rebuilding(out: Mapping[str, Any]) -> list[str]:
    """The names of the outputs that are images of scales or depths.

    Examples:
      >>> rebuilding({"near": 0, "depth2": 0, "depth1": 0})
      ['depth1', 'depth2']
    """
    return sorted(name for name in out if name.startswith(("scale", "depth")))


def both_odd(grids: tuple[Float[ArrayLike, "n _ _"], ...]) -> Float[Array, "n h w"]:
    """The largest over neighbouring scales of the smaller of the two, on the finest grid; a single one as it is.

    Examples:
      >>> both_odd(tuple(jnp.full((1, 2, 2), x) for x in (3.0, 1.0, 2.0)))[0, 0].tolist()
      [1.0, 1.0]
    """
    height, width = grids[0].shape[1:]
    same = [resize(jnp.asarray(grid)[..., None], height, width)[..., 0] for grid in grids]
    pairs = [jnp.minimum(a, b) for a, b in pairwise(same)]
    return jnp.stack(pairs or same).max(0)


def gathered(near: Float[ArrayLike, "n k"], axis_name: str | None = None) -> Float[Array, " n"]:
    """The Kullback-Leibler distance of assignments from sharpened ones: squared, over each centre's sum (DEC).

    Examples:
      >>> gathered(jnp.array([[1.0, 0.0], [0.0, 1.0]])).tolist()
      [0.0, 0.0]
    """
    near = jnp.maximum(jnp.asarray(near), 1e-12)
    total = near.sum(0)
    sharp = jnp.square(near) / (lax.psum(total, axis_name) if axis_name else total)
    sharp = lax.stop_gradient(sharp / sharp.sum(-1, keepdims=True))
    return jnp.maximum((sharp * jnp.log(jnp.maximum(sharp, 1e-12) / near)).sum(-1), 0.0)


@dataclass(frozen=True, eq=False)
class SeveralTraining(ScoredLoss):
    """The training of a network. pixels: the images as a backbone. size: their side."""

    config: SeveralConfig
    pixels: Backbone
    size: int

    def init(self, key: jax.Array) -> Variables:
        """A network drawn at random."""
        return dict(network(self.config).init(key, seen(self.config, jnp.zeros((1, self.size, self.size, 3)))))

    def frozen(self) -> dict[str, Any]:
        """The textures, where any are painted."""
        return textures_for("texture" if self.config.outputs == "parts" else "none", self.size, self.config.pictures)

    def loss(
        self, params: Any, model_state: Any, batch: Batch, key: jax.Array, extra: None = None
    ) -> tuple[jax.Array, tuple[Any, Logs]]:
        """The squared differences of all outputs, and of `depths` the codes'; each is logged by its name."""
        config, keys = self.config, batch["key"]
        clean, shown = self._image(batch["image"]), batch["image"]
        if config.outputs == "parts":
            painted = corrupt("texture", shown, keys, model_state["textures"])
            shown, _ = some(shown, painted, keys, config.share)
        image = self._image(shown)
        images = seen(config, image)
        if config.outputs == "scales":
            draw = lambda x, i: jax.vmap(lambda k: jax.random.normal(jax.random.fold_in(k, i), x.shape[1:]))(keys)
            images = tuple(x + config.noise * draw(x, i) for i, x in enumerate(images))
        variables = {"params": params, "batch_stats": model_state["batch_stats"]}
        found: Any = network(config, axis_name=AXIS).apply(variables, images, True, mutable=["batch_stats"])
        out, changed = found
        parts = self._parts(out, clean, image - clean, AXIS)
        logs = {name: value.mean() for name, value in parts.items()}
        return sum(parts.values(), jnp.zeros(())).mean(), (dict(changed), logs)

    def losses(self, variables: Variables, batch: Batch) -> Float[Array, " b"]:
        """Those of the image as it is, without the codes'."""
        image = self._image(batch["image"])
        parts = self._parts(self._answer(variables, image), image, jnp.zeros_like(image), None)
        return sum((value for name, value in parts.items() if name != "cluster"), jnp.zeros(len(image)))

    def scores(self, variables: Variables, images: UInt8[Array, "b s s c"]) -> Float[Array, " b"]:
        """By maps that have no unit yet."""
        image = self._image(images)
        grids = differences(self.config, self._answer(variables, image), seen(self.config, image))
        return top_score(both_odd(grids), self.config.top)

    def _image(self, images: Any) -> Any:
        return self.pixels.apply(self.pixels.variables, images)[0]

    def _answer(self, variables: Variables, image: Any) -> Any:
        own = {name: variables[name] for name in ("params", "batch_stats")}
        return network(self.config).apply(own, seen(self.config, image))

    def _parts(
        self, out: Mapping[str, Any], clean: Any, added: Any, axis_name: str | None
    ) -> dict[str, Float[Array, " b"]]:
        """The terms of each image, as they are weighed. added: what was painted, less the image."""
        apart = lambda a, b: jnp.square(a - b).mean((1, 2, 3))
        if self.config.outputs == "parts":
            return {"texture": apart(out["texture"], clean), "defect": apart(out["defect"], added)}
        images = seen(self.config, clean)
        parts = {n: apart(out[n], images[min(i, len(images) - 1)]) for i, n in enumerate(rebuilding(out))}
        if "near" in out:
            parts["cluster"] = self.config.cluster * gathered(out["near"], axis_name)
        return parts
