"""Patches' features, taught by where a patch lies beside another, and close ones alike; then the nearest good patches
(arXiv 2006.16067)."""

from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Key, UInt8

from jaxqc.anomaly.detectors.base import Image, Layers, Scored
from jaxqc.anomaly.detectors.one_class import OneClassConfig, PatchBanks
from jaxqc.anomaly.features import Backbone, by_halves, check_pixels
from jaxqc.anomaly.learned.scored_loss import ScoredLoss
from jaxqc.anomaly.one_class import collapse
from jaxqc.anomaly.one_class.maps import covered_map
from jaxqc.anomaly.one_class.pairs import drawn_patches
from jaxqc.anomaly.ops.coreset import greedy_coreset
from jaxqc.anomaly.ops.maps import image_score
from jaxqc.anomaly.ops.neighbours import nearest
from jaxqc.data.augment.geometry import to_float
from jaxqc.data.colour import in_colour
from jaxqc.data.dataset import ArrayDataset, Dataset
from jaxqc.data.pipeline import eval_batches
from jaxqc.data.resizing import Size, sides
from jaxqc.errors import UserError
from jaxqc.models.patch_encoder import LARGE, SMALL, STRIDE, PatchEncoder, PositionNet
from jaxqc.training.method import Logs
from jaxqc.types import AXIS, ArrayLike, Batch, Variables

ROWS = 2**17
"""Most patches from which a bank is chosen; of more, every n-th."""


class Networks(nn.Module):
    """The encoder, and a net of positions for either size of patches.

    Examples:
      >>> variables = jax.eval_shape(Networks().init, jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
      >>> {name: sum(x.size for x in jax.tree.leaves(part)) for name, part in variables["params"].items()}
      {'encoder': 401984, 'of_large': 25864, 'of_small': 25864}
    """

    width: float = 1.0

    def setup(self) -> None:
        self.encoder = PatchEncoder(self.width)
        self.of_small, self.of_large = PositionNet(), PositionNet()

    def __call__(self, image: Float[ArrayLike, "n h w 3"]) -> Any:
        small, large = self.encoder(image)
        both = [net(x[:, 0, 0]) for net, x in ((self.of_small, small), (self.of_large, large))]
        return (small, large), both

    def pairs(
        self, patches: Float[ArrayLike, "n 3 k k 3"]
    ) -> tuple[Float[Array, "n 8"], Float[Array, " n"], Float[Array, "n d"]]:
        """For a patch, one beside it and one close to it: logits of the place, the distance of the first and
        the last one's features, and those of the first."""
        n, _, side = patches.shape[:3]
        flat = jnp.asarray(patches).reshape(3 * n, side, side, 3)
        found = self.encoder.of_large(flat) if side == LARGE else self.encoder.of_small(flat)
        first, beside, close = (found.reshape(n, 3, -1)[:, i] for i in range(3))
        logits = (self.of_large if side == LARGE else self.of_small)(first - beside)
        return logits, jnp.sqrt(jnp.square(first - close).sum(-1) + 1e-12), first


@dataclass(frozen=True, eq=False)
class Position(ScoredLoss):
    """The training of encoder and nets. size: side of the images in pixels."""

    config: OneClassConfig
    size: int

    def network(self) -> Networks:
        """The encoder and the nets."""
        return Networks(self.config.width)

    def init(self, key: Key[Array, ""]) -> Variables:
        """Networks drawn at random."""
        params = self.network().init(key, jnp.zeros((1, LARGE, LARGE, 3)))["params"]
        return {"params": params, collapse.START: collapse.start()}

    def frozen(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def parts(
        self, params: Any, images: UInt8[ArrayLike, "b s s c"], keys: Key[Array, " b"]
    ) -> tuple[dict[str, Float[Array, " b"]], Float[Array, "n d"]]:
        """Each image's cross entropy of the `place`, distance of close patches `apart`, and share of places `right`,
        over both sizes of patches; and the small patches' features."""
        seen, draws, found = centred(to_float(images)), self.config.position.draws, []
        for side in (SMALL, LARGE):
            own = jax.vmap(lambda key, side=side: jax.random.split(jax.random.fold_in(key, side), draws))(keys)
            cut, direction = jax.vmap(jax.vmap(drawn_patches, (None, 0, None)), (0, 0, None))(seen, own, side)
            flat, direction = cut.reshape(-1, *cut.shape[2:]), direction.reshape(-1)
            answer: Any = self.network().apply({"params": params}, flat, method=Networks.pairs)
            logits, apart, features = answer
            cost = optax.softmax_cross_entropy_with_integer_labels(logits, direction)
            found.append((cost, apart, (logits.argmax(-1) == direction) / 2, features))
        mean = lambda x: x.reshape(len(images), -1).mean(1)
        sums = (mean(small + large) for small, large in zip(*(each[:3] for each in found), strict=True))
        return dict(zip(("place", "apart", "right"), sums, strict=True)), found[0][3]

    def loss(
        self, params: Any, model_state: Any, batch: Batch, key: jax.Array, extra: None = None
    ) -> tuple[jax.Array, tuple[Any, Logs]]:
        """Cross entropy of the place, and the weighted distance of close patches."""
        parts, features = self.parts(params, batch["image"], batch["key"])
        first, watched = collapse.followed(model_state[collapse.START], collapse.spread(features, AXIS))
        logs = {name: value.mean() for name, value in parts.items()} | watched
        return logs["place"] + self.config.position.pull * logs["apart"], ({collapse.START: first}, logs)

    def refuse(self, logs: Any) -> None:
        """Raises UserError where the features of all patches became the same."""
        collapse.refuse_collapse(logs, "detector.position.pull")

    def losses(self, variables: Variables, batch: Batch) -> Float[Array, " b"]:
        """The loss of each image, by pairs that are the same in each measurement."""
        images = batch["image"]
        parts, _ = self.parts(variables["params"], images, jax.random.split(jax.random.key(0), len(images)))
        return parts["place"] + self.config.position.pull * parts["apart"]

    def scores(self, variables: Variables, images: UInt8[Array, "b s s c"]) -> Float[Array, " b"]:
        """The largest distance of a small patch from the nearest other one of its own image: the bank comes later."""
        small, _ = features_of(self.config, variables["params"]["encoder"], centred(to_float(images)), LARGE // 4)
        return jax.vmap(odd_one_out)(small)

    def gathered(self, variables: Variables, data: ArrayDataset | Dataset, batch: int) -> dict[str, Any]:
        """Small and large patches that stand for those of all these images."""
        call = jax.jit(
            lambda params, x: features_of(self.config, params, centred(to_float(x)), self.config.position.step)
        )
        there, found = jax.device_put(variables["params"]["encoder"]), []
        with eval_batches(data, batch, self.size) as batches:
            for one in batches:
                real = np.asarray(one["weight"]) > 0
                found.append([np.asarray(x)[real].reshape(-1, x.shape[-1]) for x in call(there, one["image"])])
        most = self.config.position.bank
        counts = most, max(1, most // 4)
        banks = (standing(np.concatenate(x), n) for x, n in zip(zip(*found, strict=True), counts, strict=True))
        return {"banks": dict(zip(("small", "large"), banks, strict=True))}


def centred(image: Float[ArrayLike, "b h w c"]) -> Float[Array, "b h w 3"]:
    """Pixels in [0, 1] less a half; grey ones three times."""
    return in_colour(jnp.asarray(image)) - 0.5


def features_of(
    config: OneClassConfig, params: Any, image: Float[ArrayLike, "b h w 3"], step: int
) -> tuple[Float[Array, "b _ _ d"], Float[Array, "b _ _ d"]]:
    """Features of an image's small patches, `step` pixels apart, and of large ones, 16 pixels apart."""
    both: Any = PatchEncoder(config.width).apply({"params": params}, image)
    small, large = both
    return small[:, :: step // STRIDE, :: step // STRIDE], large


def odd_one_out(features: Float[ArrayLike, "h w d"]) -> Float[Array, ""]:
    """The largest distance of a cell's features from the nearest of those at least two cells away, or 0.

    Examples:
      >>> float(odd_one_out(jnp.zeros((4, 4, 1)).at[0, 0].set(3.0)))
      3.0
    """
    h, w, d = features.shape
    x = jnp.asarray(features).reshape(h * w, d)
    at = np.stack(np.meshgrid(np.arange(h), np.arange(w), indexing="ij"), -1).reshape(-1, 2)
    far = np.abs(at[:, None] - at[None]).max(-1) > 1
    apart = jnp.square(x[:, None] - x[None]).sum(-1)
    best = jnp.where(far, apart, jnp.inf).min(1)
    return jnp.sqrt(jnp.where(jnp.isfinite(best), best, 0.0).max())


def standing(rows: Float[np.ndarray, "n d"], count: int) -> Float[np.ndarray, "_ d"]:
    """At most `count` rows that stand for all (`jaxqc.anomaly.ops.coreset`).

    Examples:
      >>> standing(np.array([[0.0], [1.0], [9.0]], np.float32), 2).ravel().tolist()
      [0.0, 9.0]
    """
    rows = rows[:: -(-len(rows) // ROWS)]
    return rows if len(rows) <= count else rows[np.asarray(greedy_coreset(rows, count, 0))]


def method(config: OneClassConfig, own: Any, backbone: Backbone, size: int) -> Position:
    """The training. Raises UserError for another backbone than the image, and for images smaller than a patch."""
    check_pixels(own.name)
    if size < LARGE:
        raise UserError(f"data.size={size}: patches are of {LARGE} pixels; take at least that")
    return Position(config, size)


def trained(config: OneClassConfig, variables: Variables) -> PatchBanks:
    """The encoder and both banks."""
    return PatchBanks(variables["params"]["encoder"], **variables["banks"])


def embed(layers: Layers, image: Image) -> Float[Array, "b h w 3"]:
    """The image."""
    return jnp.asarray(layers[0])


def score(config: OneClassConfig, own: Any, state: PatchBanks, embedded: Float[Array, "b h w 3"], size: Size) -> Scored:
    """The product of both sizes' distances, each pixel's as the mean over patches that cover it; and its maximum."""
    pixels, step = sides(size), config.position.step

    def distances(params: Any, x: Float[Array, "b h w 3"]) -> Any:
        out = []
        for found, bank in zip(features_of(config, params, centred(x), step), (state.small, state.large), strict=True):
            apart, _ = nearest(found.reshape(-1, found.shape[-1]), bank)
            out.append(apart.reshape(found.shape[:3]))
        return tuple(out)

    grids = by_halves(distances)(state.params, embedded)
    maps = jnp.ones((embedded.shape[0], *pixels))
    for grid, side, every in zip(grids, (SMALL, LARGE), (step, LARGE // 4), strict=True):
        first = [tuple(every * i for i in range(n)) for n in grid.shape[1:]]
        maps = maps * covered_map(grid, first[0], first[1], side, pixels)
    return maps, image_score(maps)
