"""All good images close to one point, by a network that cannot give every image the same number for free: Deep SVDD
(ICML 2018). Before, the network is the first half of an autoencoder."""

from dataclasses import dataclass, replace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Key, UInt8

from jaxqc.anomaly.detectors.base import BackboneConfig, Image, Layers, Scored
from jaxqc.anomaly.detectors.image_loss import HeldOutLoss
from jaxqc.anomaly.detectors.one_class import Centred, OneClassConfig
from jaxqc.anomaly.detectors.stage import Known, Stage
from jaxqc.anomaly.features import Backbone, check_pixels
from jaxqc.anomaly.learned.scored_loss import ScoredLoss
from jaxqc.anomaly.one_class import collapse
from jaxqc.anomaly.ops.maps import flat_map
from jaxqc.data.augment.geometry import to_float
from jaxqc.data.colour import in_colour
from jaxqc.data.dataset import ArrayDataset, Dataset
from jaxqc.data.resizing import Size, sides
from jaxqc.errors import UserError
from jaxqc.models.lenet import MULTIPLE, WIDTHS, LeNet, Unfolding
from jaxqc.training.method import Logs
from jaxqc.training.state import from_host
from jaxqc.types import AXIS, ArrayLike, Batch, Variables

LEAST = 0.1
"""Least absolute value of the centre's numbers: a number that is 0 is reached by doing nothing."""
FIRST, WARM = "first_pass", 10
"""Collection of the sums of the first pass over the images; passes after which a soft boundary's radius moves."""
AUTOENCODER = "autoencoder"
"""The stage before."""


def contrast(image: Float[ArrayLike, "b h w c"]) -> Float[Array, "b h w 3"]:
    """Each image less its mean, over its mean absolute value; grey ones three times.

    Examples:
      >>> contrast(jnp.array([1.0, 3.0]).reshape(1, 1, 2, 1))[0, 0, :, 0].tolist()
      [-1.0, 1.0]
    """
    x = in_colour(jnp.asarray(image))
    x = x - x.mean((1, 2, 3), keepdims=True)
    return x / jnp.maximum(jnp.abs(x).mean((1, 2, 3), keepdims=True), 1e-6)


def network(config: OneClassConfig, axis_name: str | None = None) -> LeNet:
    """The network of a recipe."""
    return LeNet(tuple(max(1, round(config.width * w)) for w in WIDTHS), config.centre.features, axis_name)


class Both(nn.Module):
    """Images → their numbers [n d] and the images rebuilt from them: the network and a mirrored one."""

    config: OneClassConfig
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "n h w 3"], train: bool = False) -> Any:
        encoder = network(self.config, self.axis_name)
        code = LeNet(encoder.widths, encoder.features, self.axis_name, name="encoder")(x, train)
        side = x.shape[1] // MULTIPLE
        return code, Unfolding(encoder.widths, side, self.axis_name, name="decoder")(code, train)


@dataclass(frozen=True, eq=False)
class Autoencoder(HeldOutLoss):
    """The training before: the squared error of the image rebuilt from the network's numbers."""

    config: OneClassConfig
    size: int

    def init(self, key: Key[Array, ""]) -> Variables:
        """Networks drawn at random."""
        return dict(Both(self.config).init(key, jnp.zeros((1, self.size, self.size, 3))))

    def frozen(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def loss(
        self, params: Any, model_state: Any, batch: Batch, key: jax.Array, extra: None = None
    ) -> tuple[jax.Array, tuple[Any, Logs]]:
        """The mean over images."""
        x = contrast(to_float(batch["image"]))
        found: Any = Both(self.config, AXIS).apply({"params": params, **model_state}, x, True, mutable=["batch_stats"])
        (_, rebuilt), changed = found
        return jnp.square(rebuilt - x).mean(), (dict(changed), {})

    def losses(self, variables: Variables, batch: Batch) -> Float[Array, " b"]:
        """The error of each image."""
        x = contrast(to_float(batch["image"]))
        found: Any = Both(self.config).apply(variables, x)
        return jnp.square(found[1] - x).mean((1, 2, 3))


@dataclass(frozen=True, eq=False)
class Centre(ScoredLoss):
    """The training of the network. In the first pass it only looks: the mean of its numbers becomes the centre.

    size: side of the images in pixels. images: to fit; `measured` counts them. start: variables of the network to start
    from, which `after` takes from the stage before; none = drawn ones.
    """

    config: OneClassConfig
    size: int
    images: int = 1
    start: Any = None

    def after(self, known: Known) -> "Centre":
        """The same that starts from the autoencoder's first half."""
        stage = known[AUTOENCODER]
        return replace(self, start={name: stage[name]["encoder"] for name in ("params", "batch_stats")})

    def measured(self, data: ArrayDataset | Dataset, batch: int) -> "Centre":
        """The same for so many images."""
        return replace(self, images=len(data))

    def init(self, key: Key[Array, ""]) -> Variables:
        """The network as it starts, and nothing seen."""
        drawn = network(self.config).init(key, jnp.zeros((1, self.size, self.size, 3)))
        start = dict(drawn) if self.start is None else from_host(self.start)
        numbers = self.config.centre.features
        zero = jnp.zeros(())
        first = {"total": jnp.zeros(numbers), "count": zero, "seen": zero, "radius": zero}
        return {**start, FIRST: first, collapse.START: collapse.start()}

    def frozen(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def active(self, params: Any, step: Array) -> Any:
        """Nothing in the first pass, in which decay alone would move what is only to be looked at."""
        moves = (step >= -(-self.images // self.config.training.batch)).astype(jnp.float32)
        return jax.tree.map(lambda x: jnp.broadcast_to(moves, x.shape), params)

    def loss(
        self, params: Any, model_state: Any, batch: Batch, key: jax.Array, extra: None = None
    ) -> tuple[jax.Array, tuple[Any, Logs]]:
        """The mean squared distance from the centre, or the soft boundary; nothing in the first pass."""
        variables = {"params": params, "batch_stats": model_state["batch_stats"]}
        x = contrast(to_float(batch["image"]))
        found: Any = network(self.config, AXIS).apply(variables, x, True, mutable=["batch_stats"])
        out, changed = found
        first, looking = self._passed(model_state[FIRST], lax.stop_gradient(out))
        apart = jnp.square(out - centre_of(first)).sum(-1)
        if outside := self.config.centre.outside:
            own = boundary(lax.stop_gradient(apart), outside)
            radius = jnp.where(first["seen"] > WARM * self.images, own, first["radius"])
            cost = jnp.square(radius) + jnp.maximum(apart - jnp.square(radius), 0).mean() / outside
            first |= {"radius": radius}
        else:
            cost = apart.mean()
        spread, watched = collapse.followed(model_state[collapse.START], collapse.spread(out, AXIS))
        logs = {**watched, "distance": apart.mean(), "radius": first["radius"]}
        return jnp.where(looking, 0.0, cost), ({**dict(changed), FIRST: first, collapse.START: spread}, logs)

    def _passed(self, before: Any, out: Float[Array, "n d"]) -> tuple[dict[str, Any], Any]:
        """The sums with a batch, and whether it belongs to the first pass; the same on all devices once averaged."""
        looking = before["seen"] < self.images
        images = float(len(out)) * lax.axis_size(AXIS)
        total = before["total"] + jnp.where(looking, lax.pmean(out.mean(0), AXIS) * images, 0.0)
        count = before["count"] + jnp.where(looking, images, 0.0)
        seen = jnp.minimum(before["seen"] + images, (WARM + 1.0) * self.images + images)  # a float counts so far only
        return {**before, "total": total, "count": count, "seen": seen}, looking

    def refuse(self, logs: Any) -> None:
        """Raises UserError where the network gives all images the same."""
        collapse.refuse_collapse(logs, "detector.training.optim.weight_decay, or detector.training.optim.lr")

    def losses(self, variables: Variables, batch: Batch) -> Float[Array, " b"]:
        """The squared distance of each image."""
        return self.scores(variables, batch["image"])

    def scores(self, variables: Variables, images: UInt8[Array, "b s s c"]) -> Float[Array, " b"]:
        """The same."""
        state = Centred(variables["params"], variables["batch_stats"], centre_of(variables[FIRST]))
        return distance(self.config, state, to_float(images))


def boundary(apart: Float[ArrayLike, " b"], outside: float) -> Float[Array, ""]:
    """The radius beyond which this share of the images lies, those of all devices together. apart: squared distances.

    Examples:
      >>> one = jax.vmap(lambda apart: boundary(apart, 0.5), axis_name=AXIS)
      >>> one(jnp.array([[1.0, 4.0], [16.0, 9.0]])).tolist()  # two devices
      [2.5, 2.5]
    """
    return jnp.quantile(jnp.sqrt(lax.all_gather(jnp.asarray(apart), AXIS).ravel()), 1 - outside)


def centre_of(first: Any) -> Float[Array, " d"]:
    """The mean of the first pass, whose numbers are moved away from 0 (`LEAST`).

    Examples:
      >>> found = centre_of({"total": jnp.array([1.0, -0.1, 0.0]), "count": 2.0})
      >>> [round(float(x), 2) for x in found]
      [0.5, -0.1, 0.1]
    """
    mean = first["total"] / jnp.maximum(first["count"], 1.0)
    return jnp.where(jnp.abs(mean) < LEAST, jnp.where(mean < 0, -LEAST, LEAST), mean)


def distance(config: OneClassConfig, state: Centred, image: Float[ArrayLike, "b h w c"]) -> Float[Array, " b"]:
    """The squared distance of images in [0, 1] from the centre."""
    variables = {"params": state.params, "batch_stats": state.statistics}
    out: Any = network(config).apply(variables, contrast(image))
    return jnp.square(out - state.centre).sum(-1)


def check_images(own: BackboneConfig, size: int) -> None:
    """Raises UserError for another backbone than the image, and for a side that pooling does not divide."""
    check_pixels(own.name)
    if size % MULTIPLE:
        raise UserError(f"data.size={size}: this network needs a multiple of {MULTIPLE} pixels; the authors have 32")


def method(config: OneClassConfig, own: BackboneConfig, backbone: Backbone, size: int) -> Centre:
    """The training. Raises UserError where it does not go with backbone or images."""
    check_images(own, size)
    return Centre(config, size)


def stages(config: OneClassConfig, own: BackboneConfig) -> tuple[Stage, ...]:
    """The autoencoder, whose first half the network is, where the recipe has it."""
    if not config.centre.autoencoder:
        return ()

    def before(backbone: Backbone, size: int) -> Autoencoder:
        check_images(own, size)
        return Autoencoder(config, size)

    return (Stage(AUTOENCODER, config.centre.start, before),)


def trained(config: OneClassConfig, variables: Variables) -> Centred:
    """The network, its statistics and the centre."""
    return Centred(variables["params"], variables["batch_stats"], centre_of(variables[FIRST]))


def embed(layers: Layers, image: Image) -> Float[Array, "b h w 3"]:
    """The image."""
    return jnp.asarray(layers[0])


def score(config: OneClassConfig, own: Any, state: Centred, embedded: Float[Array, "b h w 3"], size: Size) -> Scored:
    """The squared distance of the image, at every pixel."""
    scores = distance(config, state, embedded)
    return flat_map(scores, *sides(size)), scores
