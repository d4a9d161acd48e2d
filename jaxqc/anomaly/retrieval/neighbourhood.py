"""PNI: words that a cell's neighbours and its place make likely, and the nearest of the patches that these allow."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, UInt8

from jaxqc.anomaly.detectors.base import Image, Layers, OnBackbone, Scored
from jaxqc.anomaly.detectors.image_loss import HeldOutLoss
from jaxqc.anomaly.detectors.retrieval import Neighbourhood, Pni
from jaxqc.anomaly.learned.cache import by_number, layers_at_hand
from jaxqc.anomaly.ops.coreset import greedy_coreset
from jaxqc.anomaly.ops.maps import distance_map, image_score, pool_channels
from jaxqc.anomaly.ops.neighbours import nearest, nearest_allowed
from jaxqc.data.dataset import ArrayDataset, Dataset
from jaxqc.data.pipeline import eval_batches
from jaxqc.data.resizing import Size, sides
from jaxqc.nn.conv import Norm, Pointwise, PointwiseBN, kernel_init, normalize
from jaxqc.nn.dropout import Dropout
from jaxqc.nn.fold import fold_batch_norm
from jaxqc.nn.resizing import resize
from jaxqc.training.method import Logs
from jaxqc.types import AXIS, ArrayLike, Batch, Variables

if TYPE_CHECKING:
    from jaxqc.anomaly.features import Backbone

DEEPER = 8
"""Hidden layers behind the first one."""


class Around(nn.Module):
    """A cell's neighbours without the cell: a convolution of `2 reach + 1` cells a side whose centre is zero.

    [b h w c] → [b h w features], with batch norm and ReLU; ((2 reach + 1)² - 1)·c·features + 2·features parameters.
    """

    features: int
    reach: int
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, x: ArrayLike, train: bool = False) -> jax.Array:
        side, c = 2 * self.reach + 1, x.shape[-1]
        kernel = self.param("kernel", kernel_init, (side * side - 1, c, self.features)).astype(self.norm.dtype)
        half = side * side // 2
        whole = jnp.concatenate([kernel[:half], jnp.zeros_like(kernel[:1]), kernel[half:]])
        y = jax.lax.conv_general_dilated(
            jnp.asarray(x, self.norm.dtype),
            whole.reshape(side, side, c, self.features),
            (1, 1),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return normalize(self, y, self.norm, train)


class Guess(nn.Module):
    """Logits of a cell's word, by its neighbours alone: [b h w c] → [b h w words].

    ((2 reach + 1)² - 1)·c·w + 2·w + 8·(w² + 2·w) + (w + 1)·words parameters at width w: the authors' but for a bias
    before each batch norm, which that takes away.
    """

    width: int
    words: int
    reach: int
    dropout: float
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, x: ArrayLike, train: bool = False) -> jax.Array:
        drop = lambda x: Dropout(self.dropout, self.norm.axis_name)(x, train)
        x = drop(Around(self.width, self.reach, self.norm, name="around")(x, train))
        for i in range(DEEPER):
            x = drop(PointwiseBN(self.width, self.norm, name=f"hidden{i}")(x, train))
        return Pointwise(self.words, name="logits")(x)


def patches_of(config: Pni, layers: Layers) -> Float[Array, "b h w d"]:
    """Each cell's mean over `patch` cells a side (0 beyond the edge), merged to `width` channels as PatchCore does."""
    height, width = layers[0].shape[1:3]
    pool = lambda x: nn.avg_pool(jnp.asarray(x), (config.patch, config.patch), padding="SAME")
    merged = [pool_channels(resize(pool(x), height, width), config.width) for x in layers]
    return pool_channels(jnp.concatenate(merged, -1), config.width)


def at_places(numbers: Int[np.ndarray, "n h w"], words: int, reach: int) -> Bool[np.ndarray, "h w m"]:
    """Words that a place allows: their share in all images within `reach` cells is above half of an equal share.

    Examples:
      >>> numbers = np.array([[[0, 1, 1]]])
      >>> at_places(numbers, 2, 0)[0].tolist(), at_places(numbers, 2, 1)[0].tolist()
      ([[True, False], [False, True], [False, True]], [[True, True], [True, True], [False, True]])
    """
    counts = np.stack([(numbers == word).sum(0) for word in range(words)], -1).astype(np.int64)
    padded = np.pad(counts, ((reach, reach), (reach, reach), (0, 0)))
    side = 2 * reach + 1
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side, counts.shape[-1]))
    boxes = windows.sum((-2, -3)).reshape(counts.shape)
    return 2 * words * boxes > boxes.sum(-1, keepdims=True)


def by_neighbours(logits: Float[ArrayLike, "*b m"], temperature: float) -> Bool[Array, "*b m"]:
    """Words that the network allows: more probable than half of an equal share.

    Examples:
      >>> by_neighbours(jnp.array([0.0, 9.0]), 1.0).tolist(), by_neighbours(jnp.array([0.0, 9.0]), 100.0).tolist()
      ([False, True], [True, True])
    """
    return jax.nn.softmax(jnp.asarray(logits) / temperature) > 0.5 / logits.shape[-1]


@dataclass(frozen=True, eq=False)
class Guessing(HeldOutLoss):
    """The network's training. memory: the bank, how many of its first rows are words, and what places allow."""

    config: Pni
    backbone: "Backbone"
    size: int
    memory: dict[str, Any] = field(default_factory=dict)

    def measured(self, data: ArrayDataset | Dataset, batch: int) -> "Guessing":
        """The same with the bank, its words and the places of these images, all of whose patches are held at once."""
        frozen = {"backbone": jax.device_put(dict(self.backbone.variables))}
        call, found = jax.jit(self.features), []
        with eval_batches(data, batch, self.size) as batches:
            for one in batches:
                found.append(np.asarray(call(frozen, one["image"])["0"])[: int(one["weight"].sum())])
        grids = np.concatenate(found)
        flat = grids.reshape(-1, grids.shape[-1])
        count = max(1, int(self.config.coreset * len(flat)))
        bank = flat if count >= len(flat) else flat[np.asarray(greedy_coreset(flat, count, 0))]
        words = bank[: self.config.words]
        numbers = np.concatenate([np.asarray(nearest(x.reshape(-1, x.shape[-1]), words)[1])[:, 0] for x in grids])
        places = at_places(numbers.reshape(grids.shape[:3]), len(words), self.config.reach)
        of = np.asarray(nearest(bank, words)[1])[:, 0]
        return replace(self, memory={"bank": bank, "words": of, "places": places})

    @property
    def count(self) -> int:
        """Number of words; as many as the config allows before `measured`."""
        return self.memory["places"].shape[-1] if self.memory else self.config.words

    def network(self, axis_name: str | None = None) -> Guess:
        """The network."""
        own = self.config
        return Guess(own.hidden, self.count, own.reach, own.dropout, Norm(axis_name=axis_name))

    def init(self, key: jax.Array) -> Variables:
        """A network drawn at random."""
        height, width, _ = self.backbone.shapes(self.size)[0]
        return dict(self.network().init(key, jnp.zeros((1, height, width, self.config.width))))

    def frozen(self) -> dict[str, Any]:
        """The backbone and the memory."""
        return {"backbone": dict(self.backbone.variables), "memory": self.memory}

    def features(self, frozen: Any, images: UInt8[ArrayLike, "b s s c"]) -> dict[str, Array]:
        """The patches, which no step changes."""
        return by_number([patches_of(self.config, self.backbone.apply(frozen["backbone"], images))])

    def loss(
        self, params: Any, model_state: Any, batch: Batch, key: jax.Array, extra: None = None
    ) -> tuple[jax.Array, tuple[Any, Logs]]:
        """The mean cross entropy of the cells' words."""
        patches = layers_at_hand(batch, self.features, model_state)[0]
        variables = {"params": params, "batch_stats": model_state["batch_stats"]}
        how: dict[str, Any] = {"mutable": ["batch_stats"], "rngs": {"dropout": key}}
        logits, changed = self.network(AXIS).apply(variables, patches, True, **how)
        return self._entropies(logits, patches, model_state["memory"]).mean(), (dict(changed), {})

    def losses(self, variables: Variables, batch: Batch) -> Float[Array, " b"]:
        """The same of each image, without dropout."""
        patches = layers_at_hand(batch, self.features, variables)[0]
        own = {name: variables[name] for name in ("params", "batch_stats")}
        return self._entropies(self.network().apply(own, patches), patches, variables["memory"])

    def _entropies(self, logits: Any, patches: Float[Array, "b h w d"], memory: Any) -> Float[Array, " b"]:
        words = jnp.asarray(memory["bank"])[: self.count]
        number = nearest(patches.reshape(-1, patches.shape[-1]), words)[1].reshape(patches.shape[:3])
        return optax.softmax_cross_entropy_with_integer_labels(logits, number).mean((1, 2))


class Neighbourly(OnBackbone[Pni]):
    """PNI over one backbone."""

    states = (Neighbourhood,)

    def method(self, backbone: "Backbone", size: int) -> Guessing:
        """The network's training over `backbone`."""
        return Guessing(self.config, backbone, size)

    def trained(self, variables: Variables) -> Neighbourhood:
        """The folded network, and the memory."""
        memory = variables["memory"]
        return Neighbourhood(fold_batch_norm(variables)["params"], memory["bank"], memory["words"], memory["places"])

    def embed(self, layers: Layers, image: Image) -> Float[Array, "b h w d"]:
        """The patches."""
        return patches_of(self.config, layers)

    def score(self, state: Neighbourhood, embedded: Float[ArrayLike, "b h w d"], size: Size) -> Scored:
        """Half the sum of both restricted distances, and its highest pixel."""
        from jaxqc.anomaly.features import by_halves

        config, (b, height, width) = self.config, embedded.shape[:3]
        count = state.places.shape[-1]
        network = Guess(config.hidden, count, config.reach, config.dropout, Norm(folded=True))
        logits = by_halves(lambda params, x: network.apply({"params": params}, x))(state.params, embedded)
        places = jnp.broadcast_to(jnp.asarray(state.places, bool), (b, height, width, count))
        flat = lambda x: jnp.asarray(x).reshape(b * height * width, -1)
        apart = [
            nearest_allowed(flat(embedded), state.bank, state.words, flat(allowed))
            for allowed in (by_neighbours(logits, config.temperature), places)
        ]
        grid = ((apart[0] + apart[1]) / 2).reshape(b, height, width)
        maps = distance_map(grid, *sides(size), config.sigma)
        return maps, image_score(maps)
