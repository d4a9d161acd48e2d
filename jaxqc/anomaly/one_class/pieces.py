"""An image as it is, one with a pasted piece and one with a pasted scar, distinguished; then a Gaussian of good images'
embeddings (arXiv 2104.04015)."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Key, UInt8

from jaxqc.anomaly.detectors.base import BackboneConfig, Image, Layers, Scored
from jaxqc.anomaly.detectors.one_class import Embedded, OneClassConfig
from jaxqc.anomaly.features import FIXED, Backbone, by_halves, normalised
from jaxqc.anomaly.learned.corrupt import corrupt
from jaxqc.anomaly.learned.scored_loss import ScoredLoss
from jaxqc.anomaly.one_class.embedding import KINDS, PieceHead, embedder, fitted, network, pooled
from jaxqc.anomaly.one_class.maps import covered_map, starts
from jaxqc.anomaly.ops import gaussian
from jaxqc.anomaly.ops.maps import smooth
from jaxqc.data.dataset import ArrayDataset, Dataset
from jaxqc.data.pipeline import eval_batches
from jaxqc.data.resizing import Size, sides
from jaxqc.errors import UserError
from jaxqc.models.backbones import family
from jaxqc.models.dinov2 import VITS
from jaxqc.nn.fold import fold_batch_norm
from jaxqc.training.method import Logs
from jaxqc.training.state import from_host
from jaxqc.types import AXIS, Batch, Variables


@dataclass(frozen=True, eq=False)
class Pieces(ScoredLoss):
    """The training of network and head. size: side of the images in pixels."""

    config: OneClassConfig
    own: BackboneConfig
    backbone: Backbone
    size: int

    @property
    def drawn(self) -> bool:
        """True where the network starts at random, with batch norm of its own; else that stays within the kernels."""
        return self.config.pieces.start == "drawn"

    def init(self, key: Key[Array, ""]) -> Variables:
        """The network with the backbone's weights or drawn ones, and a head drawn at random."""
        first, second = jax.random.split(key)
        net, image = network(self.own, not self.drawn), jnp.zeros((1, self.size, self.size, 3))
        if self.drawn:
            start = dict(net.init(first, image))
        else:
            deep = jax.eval_shape(net.init, first, image)["params"]
            start = {"params": from_host({name: self.backbone.variables["params"][name] for name in deep})}
        head = PieceHead(self.config.pieces.hidden).init(second, jnp.zeros((1, self._width())))
        params = {"network": start["params"], "head": head["params"]}
        statistics = {
            name: part["batch_stats"] for name, part in (("network", start), ("head", head)) if "batch_stats" in part
        }
        return {"params": params, "batch_stats": statistics}

    def _width(self) -> int:
        """Numbers of an embedding."""
        return self.backbone.shapes(self.size)[-1][-1]

    def rates(self, params: Any, extra: Any = None) -> Any:
        """Less for a network that starts from weights."""
        if self.drawn:
            return None
        factor = lambda part, by: jax.tree.map(lambda x: jnp.full(x.shape, by, jnp.float32), part)
        return {"network": factor(params["network"], self.config.pieces.rate), "head": factor(params["head"], 1.0)}

    def logits(
        self, variables: Variables, images: UInt8[Array, "n s s c"], train: bool = False
    ) -> tuple[Float[Array, "n 3"], dict[str, Any]]:
        """Logits of the classes, and the changed statistics."""
        axis = AXIS if train else None
        parts = {"network": network(self.own, not self.drawn, axis), "head": PieceHead(self.config.pieces.hidden, axis)}
        changed, x = {}, normalised(images)
        for name, part in parts.items():
            own = {"params": variables["params"][name], "batch_stats": variables["batch_stats"].get(name, {})}
            found: Any = part.apply(own, x, train, mutable=["batch_stats"])
            x, statistics = found
            x = pooled(x) if name == "network" else x
            changed |= {name: dict(statistics["batch_stats"])} if name in variables["batch_stats"] else {}
        return x, changed

    def loss(
        self, params: Any, model_state: Any, batch: Batch, key: jax.Array, extra: None = None
    ) -> tuple[jax.Array, tuple[Any, Logs]]:
        """Cross entropy over three versions of each image."""
        versions = [corrupt(kind, batch["image"], batch["key"])[0] for kind in KINDS]
        label = jnp.repeat(jnp.arange(len(KINDS)), batch["image"].shape[0])
        logits, changed = self.logits({"params": params, **model_state}, jnp.concatenate(versions), True)
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, label).mean()
        return loss, ({"batch_stats": changed}, {"right": (logits.argmax(-1) == label).mean()})

    def losses(self, variables: Variables, batch: Batch) -> Float[Array, " b"]:
        """The loss of each good image as it is."""
        logits, _ = self.logits(variables, batch["image"])
        return -jax.nn.log_softmax(logits)[:, 0]

    def scores(self, variables: Variables, images: UInt8[Array, "b s s c"]) -> Float[Array, " b"]:
        """The probability that something was pasted: the Gaussian comes after the training."""
        return 1 - jax.nn.softmax(self.logits(variables, images)[0])[:, 0]

    def gathered(self, variables: Variables, data: ArrayDataset | Dataset, batch: int) -> dict[str, Any]:
        """The folded network, and the Gaussians of all these images' embeddings and of their patches'."""
        folded = variables["params"]["network"]
        if self.drawn:
            whole = {"params": folded, "batch_stats": variables["batch_stats"]["network"]}
            folded = fold_batch_norm(whole, family(self.own.name).epsilon)["params"]
        embeddings = embedder(self.config, self.own)

        @jax.jit
        def add(folded: Any, collected: Any, images: Any, weight: Any) -> Any:
            found = embeddings(folded, normalised(images))
            number = lambda x: jnp.repeat(jnp.where(weight > 0, 0, -1), x.shape[0] // weight.shape[0])
            return [gaussian.collect(c, x[:, None], number(x)) for c, x in zip(collected, found, strict=True)]

        there, collected = jax.device_put(folded), [gaussian.no_moments(1, self._width()) for _ in range(2)]
        with eval_batches(data, batch, self.size) as batches:
            for one in batches:
                collected = add(there, collected, one["image"], one["weight"])
        return {"folded": folded, "gaussians": [fitted(c, self.config.pieces.shrink) for c in collected]}


def method(config: OneClassConfig, own: BackboneConfig, backbone: Backbone, size: int) -> Pieces:
    """The training. Raises UserError for a backbone that is no single network, and images smaller than a patch."""
    if len(own.parts) > 1 or own.name in FIXED or own.name in VITS:
        raise UserError(f"backbone.name={own.name}: this detector trains the backbone; take one of convolutions, such"
                        " as resnet18")  # fmt: skip
    if size < config.pieces.patch:
        raise UserError(
            f"data.size={size}: patches are of {config.pieces.patch} pixels; set detector.pieces.patch lower"
        )
    return Pieces(config, own, backbone, size)


def trained(config: OneClassConfig, variables: Variables) -> Embedded:
    """The folded network and both Gaussians."""
    whole, patch = variables["gaussians"]
    return Embedded(variables["folded"], *(np.asarray(x) for g in (whole, patch) for x in (g.mean, g.whitener)))


def embed(layers: Layers, image: Image) -> Image:
    """The image, which the trained network sees."""
    return image


def score(config: OneClassConfig, own: BackboneConfig, state: Embedded, image: Any, size: Size) -> Scored:
    """The Mahalanobis distance of each pixel's patches, as a mean, and of the whole image."""
    height, width = sides(size)
    down, right = (
        starts(height, config.pieces.patch, config.pieces.step),
        starts(width, config.pieces.patch, config.pieces.step),
    )
    gaussians = [
        gaussian.FullRank(state.mean, state.whitener), gaussian.FullRank(state.patch_mean, state.patch_whitener)
    ]  # fmt: skip

    def apart(params: Any, x: Float[Array, "b h w 3"]) -> tuple[Float[Array, " b"], Float[Array, "b _ _"]]:
        whole, cells = (
            gaussian.distance(g, found[:, None])[:, 0]
            for g, found in zip(gaussians, embedder(config, own)(params, x), strict=True)
        )
        return whole, cells.reshape(x.shape[0], len(down), len(right))

    whole, cells = by_halves(apart)(state.params, image)
    return smooth(covered_map(cells, down, right, config.pieces.patch, (height, width)), config.sigma), whole
