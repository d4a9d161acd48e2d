"""The student's forward pass over labelled images and views, and what perturbs its features on the way."""

import itertools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Key

from jaxqc.semi import channels, dropout, noise, teachers
from jaxqc.semi.frozen import Frozen
from jaxqc.semi.network import EncoderDecoder
from jaxqc.semi.recipe import SemiConfig
from jaxqc.types import Batch


@dataclass(frozen=True)
class Answers:
    """Answers of the student: logits of the labelled images, of each strong view, of the weak view's perturbed features
    and of the weak view as it is (the last two where the method needs them).

    places: features of the labelled images' and of the first strong view's places, with `contrast`. channels: of the
    unlabelled images, over positions, with `memory`.
    """

    labelled: Array
    strong: list[Array]
    fed: Array | None = None
    own: Array | None = None
    places: tuple[Array, Array] | None = None
    channels: Any = None


def forward(
    config: SemiConfig,
    network: EncoderDecoder,
    params: Any,
    frozen: Frozen,
    batch: Batch,
    key: Key[Array, ""],
    axis: str | None,
    epoch: Float[Array, ""] | None = None,
    shared: Any = None,
) -> Answers:
    """The student's answers in one pass: nothing depends on the batch, but with `memory`.

    shared: the weak view's features, where the encoder is frozen. With `chunk` logits have the head's own size.
    """
    b, height, width, _ = batch["image"].shape
    if config.learn_weak:
        return _beside_weak(config, network, params, frozen, batch, key, epoch)
    size: Any = None if config.chunk else (height, width)
    encode = (
        (lambda image: lax.stop_gradient(network.encode(params, image)))
        if config.freeze
        else (lambda image: network.encode(params, image))
    )
    if not config.views:
        return Answers(network.decode(params, encode(batch["image"]), size), [])
    u, dropped = len(batch["weak"]), config.perturbation == "weak"
    images = [batch["image"], *batch["strong"], *([batch["weak"]] if dropped and shared is None else [])]
    features = encode(jnp.concatenate(images))
    part = lambda i: jax.tree.map(lambda f: f[b + i * u : b + (i + 1) * u], features)
    weak = shared if shared is not None or not dropped else part(config.views)
    keys = sample_keys(key, u, axis)
    pieces = [jax.tree.map(lambda f: f[:b], features), *(part(i) for i in range(config.views))]
    if config.perturbation == "complementary":
        pieces[1:] = dropout.complementary_dropout(pieces[1], pieces[2], keys)
    if dropped:
        pieces += [dropout.channel_dropout(weak, keys), weak]
    if config.noise.eps:
        first = 0 if config.noise.labelled else 1
        pieces[first:] = noisy(config, network, frozen.teacher, pieces[first:], (height, width), key, axis)
    together, places = jax.tree.map(lambda *f: jnp.concatenate(f), *pieces), None
    if config.contrast.weight:
        assert network.represent is not None
        logits, all_places = network.represent(params, together, (height, width))
        places = all_places[:b], all_places[b : b + u]
    else:
        logits = network.decode(params, together, size)
    x, rest = logits[:b], [logits[b + i * u : b + (i + 1) * u] for i in range(len(pieces) - 1)]
    own = rest[-1] if dropped else None
    if config.labels == "self" and own is None:
        own = network(lax.stop_gradient(params), batch["weak"])
    return Answers(x, rest[: config.views], rest[config.views] if dropped else None, own, places)


def _beside_weak(
    config: SemiConfig,
    network: EncoderDecoder,
    params: Any,
    frozen: Frozen,
    batch: Batch,
    key: Key[Array, ""],
    epoch: Float[Array, ""] | None,
) -> Answers:
    """Labelled images and the weak view that is learned from, which labels itself as it is used."""
    b, height, width, _ = batch["image"].shape
    own, kept = network(lax.stop_gradient(params), batch["weak"]), None
    features = network.encode(params, jnp.concatenate([batch["image"], batch["weak"]]))
    if network.relate is not None:
        assert frozen.bank is not None
        assert epoch is not None
        pieces = (jax.tree.map(lambda f, at=at: f[at], features) for at in (slice(b), slice(b, None)))
        memory = channels.memory_of(frozen.bank, epoch >= config.memory.start_epochs)
        labelled, unlabelled, seen = network.relate(params, *pieces, memory, key)
        size = channels.deepest(features).shape[1:3]
        kept = channels.channels_of(seen, own, batch["valid"], (size[0], size[1]))
        features = jax.tree.map(lambda *f: jnp.concatenate(f), labelled, unlabelled)
    logits = network.decode(params, features, (height, width))
    return Answers(logits[:b], [], logits[b:], own, channels=kept)


def noisy(
    config: SemiConfig,
    network: EncoderDecoder,
    teacher: Any,
    pieces: list[Any],
    size: tuple[int, int],
    key: Key[Array, ""],
    axis: str | None,
) -> list[Any]:
    """Features of images, piece by piece, with noise that moves the teachers' answer most."""

    def answer(features: Any) -> Array:
        one = lambda params: network.decode(params, features, size)
        return one(teacher) if config.teachers == 1 else teachers.joint(one, teacher)

    counts = [len(jax.tree.leaves(piece)[0]) for piece in pieces]
    keys = [sample_keys(jax.random.fold_in(key, i), n, axis) for i, n in enumerate(counts)]
    whole = jax.tree.map(lambda *f: jnp.concatenate(f), *pieces)
    found = noise.adversarial(answer, whole, jnp.concatenate(keys), config.noise.xi, config.noise.eps)
    moved = jax.tree.map(lambda x, n: x + n.astype(x.dtype), whole, found)
    ends = [0, *itertools.accumulate(counts)]
    return [jax.tree.map(lambda x, a=a, b=b: x[a:b], moved) for a, b in itertools.pairwise(ends)]


def sample_keys(key: Key[Array, ""], n: int, axis: str | None) -> Key[Array, " n"]:
    """A key for each sample by its place in the global batch."""
    first = lax.axis_index(axis) * n if axis is not None else 0
    return jax.vmap(jax.random.fold_in, (None, 0))(key, first + jnp.arange(n))
