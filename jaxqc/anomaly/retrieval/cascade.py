"""CPR: the training of a metric for retrieved cells on synthetic defects, and the detector."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, UInt8

from jaxqc.anomaly.detectors.base import Image, Layers, OnBackbone, Scored, Shapes
from jaxqc.anomaly.detectors.image_loss import HeldOutLoss
from jaxqc.anomaly.detectors.retrieval import Cpr, PartReferences, References
from jaxqc.anomaly.learned.cache import by_number, layers_at_hand
from jaxqc.anomaly.learned.corrupt import corrupt, textures_for
from jaxqc.anomaly.ops.coreset import greedy_coreset
from jaxqc.anomaly.ops.maps import distance_map, take_nearest, top_score
from jaxqc.anomaly.retrieval.alike import histograms, most_alike, unlikeness, words_of
from jaxqc.anomaly.retrieval.background import discriminant, part_of, rim_and_middle
from jaxqc.anomaly.retrieval.metric import Heads, contrast
from jaxqc.data.dataset import ArrayDataset, Dataset
from jaxqc.data.pipeline import eval_batches
from jaxqc.data.resizing import Size, sides
from jaxqc.nn.conv import Norm
from jaxqc.nn.fold import fold_batch_norm
from jaxqc.nn.resizing import resize
from jaxqc.training.method import Logs
from jaxqc.types import AXIS, ArrayLike, Batch, Variables

if TYPE_CHECKING:
    from jaxqc.anomaly.features import Backbone

CELLS = 64
"""Cells of an image that are drawn to find the words, and of its rim and middle each for the foreground."""
ITSELF = 1e-6
"""Unlikeness up to which a reference is taken for the image itself, and not retrieved in training."""


@dataclass(frozen=True, eq=False)
class Retrieving(HeldOutLoss):
    """The heads' training. memory: words, histograms and reference layers, found by `measured`."""

    config: Cpr
    backbone: "Backbone"
    size: int
    memory: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def shapes(self) -> Shapes:
        """Shapes of the backbone's layers."""
        return self.backbone.shapes(self.size)

    def measured(self, data: ArrayDataset | Dataset, batch: int) -> "Retrieving":
        """The same with words and references of these images, which go through the backbone three times."""
        call, variables = jax.jit(self.backbone.apply), jax.device_put(dict(self.backbone.variables))
        where = (np.ones(self.shapes[0][:2], bool), *rim_and_middle(*self.shapes[0][:2]))
        rng, cells = np.random.default_rng(0), tuple([] for _ in where)
        for layers, n in self._passes(call, variables, data, batch):
            for found, there in zip(cells, where, strict=True):
                found += [x[rng.permutation(len(x))[:CELLS]] for x in np.asarray(layers[0])[:n, there]]
        drawn = [np.concatenate(x) for x in cells]
        words = words_of(drawn[0], self.config.words)
        weighed = discriminant(*drawn) if self.config.foreground else ()
        count = jax.jit(lambda x: histograms(x, words, self.config.blocks))
        found = np.concatenate([count(layers[0])[:n] for layers, n in self._passes(call, variables, data, batch)])
        most = min(self.config.references or len(found), len(found))
        kept = np.arange(len(found))
        if most < len(found):
            kept = np.sort(np.asarray(greedy_coreset(found.reshape(len(found), -1), most, 0)))
        references: list[list[np.ndarray]] = [[] for _ in self.shapes]
        start = 0
        for layers, n in self._passes(call, variables, data, batch):
            at = kept[(kept >= start) & (kept < start + n)] - start
            for part, x in zip(references, layers, strict=True):
                part.append(np.asarray(x)[at])
            start += n
        layers = {str(i): np.concatenate(part) for i, part in enumerate(references)}
        memory = {"words": words, "histograms": found[kept], "layers": layers}
        return replace(self, memory=memory | dict(zip(("weight", "offset"), weighed, strict=False)))

    def _passes(self, call: Any, variables: Any, data: Any, batch: int) -> Any:
        """Each batch's layers, and how many of its images are no padding."""
        with eval_batches(data, batch, self.size) as batches:
            for one in batches:
                yield call(variables, one["image"]), int(one["weight"].sum())

    def init(self, key: jax.Array) -> Variables:
        """Heads drawn at random."""
        layers = tuple(jnp.zeros((1, *shape)) for shape in self.shapes)
        return dict(Heads(self.config.width).init(key, layers))

    def frozen(self) -> dict[str, Any]:
        """The backbone, words and references, and the textures."""
        textures = textures_for(self.config.corrupt, self.size, self.config.pictures)
        return {"backbone": dict(self.backbone.variables), "memory": self.memory, **textures}

    def features(self, frozen: Any, images: UInt8[ArrayLike, "b s s c"]) -> dict[str, Array]:
        """The layers of the images as they are."""
        return by_number(self.backbone.apply(frozen["backbone"], images))

    def prepare(self, batch: Batch, keys: Key[Array, " b"], size: int, train: bool) -> Batch:
        """With a key for each image."""
        return batch | {"key": keys} if train else batch

    def loss(
        self, params: Any, model_state: Any, batch: Batch, key: jax.Array, extra: None = None
    ) -> tuple[jax.Array, tuple[Any, Logs]]:
        """The mean over images of `contrast`, summed over layers, beside one of the most alike references."""
        finest = layers_at_hand(batch, self.features, model_state)[0]
        keys = jax.vmap(lambda key: jax.random.fold_in(key, 1))(batch["key"])
        image, mask = corrupt(self.config.corrupt, batch["image"], keys, model_state.get("textures"))
        own = self.backbone.apply(model_state["backbone"], image)
        draws = jax.vmap(lambda key: jax.random.uniform(key, (3,)))(batch["key"])
        others = self._references(finest, model_state["memory"], draws[:, 0])
        both = tuple(jnp.concatenate(pair) for pair in zip(own, others, strict=True))
        variables = {"params": params, "batch_stats": model_state["batch_stats"]}
        network = Heads(self.config.width, Norm(axis_name=AXIS))
        out, changed = network.apply(variables, both, True, mutable=["batch_stats"])
        return self._contrasts(out, mask, draws[:, 1:]).mean(), (dict(changed), {})

    def losses(self, variables: Variables, batch: Batch) -> Float[Array, " b"]:
        """The same of each image as it is, beside the most alike reference; the other place is half an image on."""
        own = layers_at_hand(batch, self.features, variables)
        still = jnp.full((own[0].shape[0], 3), 0.5).at[:, 0].set(0)
        others = self._references(own[0], variables["memory"], still[:, 0])
        both = tuple(jnp.concatenate(pair) for pair in zip(own, others, strict=True))
        names = ("params", "batch_stats")
        out = Heads(self.config.width).apply({name: variables[name] for name in names}, both)
        return self._contrasts(out, jnp.zeros(batch["image"].shape[:3]), still[:, 1:])

    def _references(self, finest: Any, memory: Any, draw: Float[ArrayLike, " b"]) -> Layers:
        """Layers of a reference for each image: of the most alike, the one that `draw` in [0, 1) points at."""
        config = self.config
        apart = unlikeness(histograms(finest, memory["words"], config.blocks), memory["histograms"], config.alike)
        order = jnp.argsort(jnp.where(apart <= ITSELF, jnp.inf, apart), -1)
        most = min(config.images, max(1, order.shape[1] - 1))
        chosen = jnp.take_along_axis(order, jnp.floor(most * jnp.asarray(draw)).astype(int)[:, None], 1)[:, 0]
        return tuple(jnp.asarray(memory["layers"][str(i)])[chosen] for i in range(len(self.shapes)))

    def _contrasts(self, out: Any, mask: Any, places: Float[ArrayLike, "b 2"]) -> Float[Array, " b"]:
        """`contrast` summed over layers. places: how far the other place is, in shares of the image."""
        total = jnp.zeros(())
        for both in out:
            own, other = jnp.split(both, 2)
            height, width = own.shape[1:3]
            by = 1 + jnp.floor(jnp.asarray(places) * jnp.array([max(1, height - 1), max(1, width - 1)])).astype(int)
            moved = jax.vmap(lambda x, by: jnp.roll(x, (by[0], by[1]), (0, 1)))(other, by)
            total += contrast(own, other, take_nearest(mask[..., None], height, width)[..., 0], moved)
        return total


class Cascading(OnBackbone[Cpr]):
    """CPR over one backbone."""

    states = (References, PartReferences)

    def method(self, backbone: "Backbone", size: int) -> Retrieving:
        """The heads' training over `backbone`."""
        return Retrieving(self.config, backbone, size)

    def trained(self, variables: Variables) -> References | PartReferences:
        """Folded heads, and what they make of the references, in half precision."""
        params = fold_batch_norm(variables)["params"]
        memory = variables["memory"]
        layers = tuple(memory["layers"][str(i)] for i in range(len(memory["layers"])))
        describe = jax.jit(lambda one: self._described(params, jax.tree.map(lambda x: x[None], one)))
        each = [jax.device_get(describe(tuple(x[i] for x in layers))) for i in range(len(layers[0]))]
        kept = tuple(jnp.asarray(np.concatenate(x), jnp.float16) for x in zip(*each, strict=True))
        state = References(params, memory["words"], memory["histograms"], kept)
        if "weight" not in memory:
            return state
        weight, offset = memory["weight"], memory["offset"]
        return PartReferences(*state, weight, offset, part_of(layers[0], weight, offset).astype(jnp.float16))

    def _described(self, params: Any, layers: Layers) -> Any:
        return Heads(self.config.width, Norm(folded=True)).apply({"params": params}, layers)

    def embed(self, layers: Layers, image: Image) -> Layers:
        """All of it."""
        return layers

    def score(self, state: References | PartReferences, embedded: Layers, size: Size) -> Scored:
        """Distances summed over layers; with a foreground times the larger share of part, own or of those retrieved."""
        from jaxqc.anomaly.features import by_halves

        config = self.config
        own = histograms(embedded[0], state.words, config.blocks)
        apart = unlikeness(own, state.histograms, config.alike)
        chosen = jnp.argsort(apart, -1)[:, : min(config.images, state.histograms.shape[0])]
        described = by_halves(self._described)(state.params, embedded)
        height, width = embedded[0].shape[1:3]

        def one(x: tuple[Any, Any]) -> jax.Array:
            layers, numbers = x
            found = jnp.zeros((height, width))
            for i, (grid, kept) in enumerate(zip(layers, state.descriptors, strict=True)):
                there = jnp.asarray(kept)[numbers].astype(jnp.float32)
                apart = jnp.maximum(1 - most_alike(grid, there, config.reach >> i), 0)
                found += resize(apart[None, ..., None], height, width)[0, ..., 0]
            return found

        grid = jax.lax.map(one, (described, chosen))
        if isinstance(state, PartReferences):
            retrieved = jnp.asarray(state.parts)[chosen].astype(jnp.float32).max(1)
            grid *= jnp.maximum(part_of(embedded[0], state.weight, state.offset), retrieved)
        maps = distance_map(grid, *sides(size), config.sigma)
        return maps, top_score(maps, config.top)
