"""Copies of good images, distinguished by a network that has seen no others: GEOM (arXiv 1805.10917), GOAD
(2005.02359).

Of another image it does not know which copy it sees. On a texture that a flip or a move leaves as it is no network can
know; the log's `distinguished` then stays low, and the scores mean little.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, UInt8

from jaxqc.anomaly.detectors.base import BackboneConfig, Image, Layers, Scored
from jaxqc.anomaly.detectors.one_class import OneClassConfig
from jaxqc.anomaly.detectors.transformations import CopyCentres, Likelihoods
from jaxqc.anomaly.features import Backbone, check_pixels
from jaxqc.anomaly.learned.scored_loss import ScoredLoss
from jaxqc.anomaly.ops.dirichlet import fitted_dirichlet
from jaxqc.anomaly.ops.maps import flat_map
from jaxqc.anomaly.ops.transforms import copies, transformed
from jaxqc.data.augment.geometry import to_float
from jaxqc.data.colour import in_colour
from jaxqc.data.dataset import ArrayDataset, Dataset
from jaxqc.data.pipeline import eval_batches
from jaxqc.data.resizing import Size, sides
from jaxqc.models.wide_resnet import STEM, WIDTHS, WideResNet
from jaxqc.nn.conv import Norm
from jaxqc.nn.fold import fold_batch_norm
from jaxqc.training.method import Logs
from jaxqc.types import AXIS, ArrayLike, Batch, Variables

PLAIN, FOLDED = Norm(), Norm(folded=True)
LEAST = float(np.log(1e-7))
"""Least logarithm of a share: that of Keras, which the authors use."""
Answers = tuple[Float[Array, "b t d"], Float[Array, "b t t"]]
"""Features of each copy, and the logarithms of the shares by which it is taken for each of the copies."""


def network(config: OneClassConfig, norm: Norm = PLAIN) -> WideResNet:
    """The network of a recipe.

    Examples:
      >>> from jaxqc.anomaly.detectors.one_class import Geom
      >>> network(Geom(width=0.25)).widths
      (16, 32, 64)
    """
    wide = lambda c: max(1, round(config.width * c))
    return WideResNet(copies(config.copies.transforms), tuple(map(wide, WIDTHS)), wide(STEM), norm)


def seen(config: OneClassConfig, images: Float[ArrayLike, "b s s c"]) -> Float[Array, "b t s s 3"]:
    """Copies of images in [0, 1], in [-1, 1]; grey ones three times."""
    return transformed(2 * in_colour(jnp.asarray(images)) - 1, config.copies.transforms)


def answers(config: OneClassConfig, variables: Variables, norm: Norm, images: Float[ArrayLike, "b s s c"]) -> Answers:
    """The network's answers to all copies, image by image, so that memory does not grow with the batch."""

    def one(image: jax.Array) -> Any:
        found: Any = network(config, norm).apply(variables, seen(config, image[None])[0])
        features, logits = found
        return features, jnp.maximum(jax.nn.log_softmax(logits), LEAST)

    return lax.map(one, jnp.asarray(images))


def own(x: Float[ArrayLike, "b t t"]) -> Float[Array, "b t"]:
    """For each copy the number for itself.

    Examples:
      >>> own(jnp.arange(4.0).reshape(1, 2, 2)).tolist()
      [[0.0, 3.0]]
    """
    return jnp.diagonal(jnp.asarray(x), axis1=1, axis2=2)


def apart(features: Float[ArrayLike, "b t d"], centre: Float[ArrayLike, "t d"]) -> Float[Array, "b t t"]:
    """Squared distances of each copy's features from each copy's centre.

    Examples:
      >>> apart(jnp.array([[[0.0], [3.0]]]), jnp.array([[0.0], [1.0]])).tolist()
      [[[0.0, 1.0], [9.0, 4.0]]]
    """
    return jnp.square(jnp.asarray(features)[:, :, None] - jnp.asarray(centre)).sum(-1)


def triplet(distances: Float[ArrayLike, "b t t"], margin: float) -> Float[Array, " b"]:
    """The mean over copies of the distance from the own centre, plus the margin, less that from the nearest other; 0
    where it is negative.

    Examples:
      >>> triplet(jnp.array([[[0.0, 0.5], [9.0, 2.0]]]), 1.0).tolist()  # 0.5 short of the margin, and 0
      [0.25]
    """
    distances = jnp.asarray(distances)
    other = jnp.where(jnp.eye(distances.shape[1], dtype=bool), jnp.inf, distances).min(-1)
    return jnp.maximum(own(distances) + margin - other, 0).mean(-1)


@dataclass(frozen=True, eq=False)
class Transforms(ScoredLoss):
    """The training of the network. size: side of the images in pixels."""

    config: OneClassConfig
    size: int

    def init(self, key: jax.Array) -> Variables:
        """The network drawn at random."""
        return dict(network(self.config).init(key, jnp.zeros((1, self.size, self.size, 3))))

    def frozen(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def loss(
        self, params: Any, model_state: Any, batch: Batch, key: jax.Array, extra: None = None
    ) -> tuple[jax.Array, tuple[Any, Logs]]:
        """Cross entropy of all copies of the batch; with `pull` also the triplet about the batch's own centres.

        Logged is `distinguished`, the share of the copies that are known.
        """
        own_settings, images = self.config.copies, seen(self.config, to_float(batch["image"]))
        b, t = images.shape[:2]
        variables = {"params": params, "batch_stats": model_state["batch_stats"]}
        flat = images.reshape(b * t, *images.shape[2:])
        found: Any = network(self.config, Norm(axis_name=AXIS)).apply(variables, flat, True, mutable=["batch_stats"])
        (features, logits), changed = found
        shares = jax.nn.log_softmax(logits).reshape(b, t, t)
        cost, logs = -own(shares).mean(), {"distinguished": (shares.argmax(-1) == jnp.arange(t)).mean()}
        if own_settings.pull:
            features = features.reshape(b, t, -1)
            centre = lax.pmean(features.mean(0), AXIS)
            pulled = triplet(apart(features, centre), own_settings.margin).mean()
            logs |= {"entropy": cost, "triplet": pulled}
            cost += own_settings.pull * pulled + own_settings.shrink * jnp.square(features).mean()
        return cost, (dict(changed), logs)

    def losses(self, variables: Variables, batch: Batch) -> Float[Array, " b"]:
        """Cross entropy of the copies of each image."""
        return self.scores(variables, batch["image"])

    def scores(self, variables: Variables, images: UInt8[Array, "b s s c"]) -> Float[Array, " b"]:
        """The same, which both ways of scoring come near to."""
        kept = {name: variables[name] for name in ("params", "batch_stats")}
        return -own(answers(self.config, kept, PLAIN, to_float(images))[1]).mean(-1)

    def gathered(self, variables: Variables, data: ArrayDataset | Dataset, batch: int) -> dict[str, Any]:
        """The folded network, and its answers to the copies of all these images: what good ones give."""
        folded = fold_batch_norm(variables)["params"]
        call = jax.jit(lambda params, images: answers(self.config, {"params": params}, FOLDED, to_float(images)))
        total, logs = 0.0, []
        with eval_batches(data, batch, self.size) as batches:
            for one in batches:
                used = np.asarray(one["weight"]) > 0
                features, shares = (np.asarray(x)[used] for x in call(folded, one["image"]))
                total = total + features.sum(0, dtype=np.float64)
                logs.append(shares)
        shares = np.concatenate(logs)
        gathered = {"centre": np.float32(total / len(shares))} if self.config.copies.pull else likelihoods(shares)
        return {"folded": folded, "gathered": gathered}


def likelihoods(shares: Float[np.ndarray, "n t t"]) -> dict[str, np.ndarray]:
    """The Dirichlet distribution of each copy's answers to good images, and the middle and spread of `unlikely`.

    shares: logarithms.
    """
    exact = np.asarray(shares, np.float64)
    alpha = fitted_dirichlet(exact.mean(0), np.exp(exact).mean(0)).astype(np.float32)
    scores = np.asarray(unlikely(shares, alpha), np.float64)
    unit = max(scores.std(), 1e-6)
    return {"alpha": alpha, "middle": np.asarray(scores.mean(), np.float32), "unit": np.asarray(unit, np.float32)}


def unlikely(shares: Float[ArrayLike, "b t t"], alpha: Float[ArrayLike, "t t"]) -> Float[Array, " b"]:
    """Minus the Dirichlet log-likelihood of all copies' answers, but for its constant, over the number of copies.

    Examples:
      >>> unlikely(jnp.full((1, 2, 2), -0.5), jnp.full((2, 2), 3.0)).tolist()
      [2.0]
    """
    return -((jnp.asarray(alpha) - 1) * jnp.asarray(shares)).sum((1, 2)) / alpha.shape[0]


def method(config: OneClassConfig, own: BackboneConfig, backbone: Backbone, size: int) -> Transforms:
    """The training. Raises UserError for another backbone than the image."""
    check_pixels(own.name)
    return Transforms(config, size)


def trained(config: OneClassConfig, variables: Variables) -> Likelihoods | CopyCentres:
    """The network, and what good images gave."""
    kind = CopyCentres if config.copies.pull else Likelihoods
    return kind(variables["folded"], **variables["gathered"])


def embed(layers: Layers, image: Image) -> Float[Array, "b h w 3"]:
    """The image."""
    return jnp.asarray(layers[0])


def score(config: OneClassConfig, own_: Any, state: Any, embedded: Float[Array, "b h w 3"], size: Size) -> Scored:
    """The surprise at the copies of an image, at every pixel.

    GOAD: the sum over copies of -log P(copy), by softmax of minus the distances. GEOM's likelihood has no bound: it is
    brought to units of the good images', and is near 0 where it is far above theirs.
    """
    features, shares = answers(config, {"params": state.params}, FOLDED, embedded)
    if isinstance(state, CopyCentres):
        scores = -own(jax.nn.log_softmax(-apart(features, state.centre))).sum(-1)
    else:
        scores = jax.nn.softplus((unlikely(shares, state.alpha) - state.middle) / state.unit)
    return flat_map(scores, *sides(size)), scores
