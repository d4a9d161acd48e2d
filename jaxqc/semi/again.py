"""The teacher's second look: at the labelled images and the first strong view, for entropy and contrast."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Key

from jaxqc.data.augment import cutmix
from jaxqc.semi import entropy
from jaxqc.semi.contrast import Pixels, mean_pixels, nearest
from jaxqc.semi.forward import sample_keys
from jaxqc.semi.frozen import Frozen
from jaxqc.semi.manifest import IGNORE
from jaxqc.semi.schedule import falling
from jaxqc.semi.setting import Setting
from jaxqc.types import Batch


@dataclass(frozen=True)
class Again:
    """Findings of the second look at the first strong view, mixed as that is, and of the labelled images.

    label, valid: of the first look. kept: pixels that count. labelled, strong: the teacher's logits, and features of
    places, each None where nothing needs it. entropy, found: of the view's pixels, and their histogram.
    """

    label: Array
    valid: Array
    kept: Array
    labelled: tuple[Array, Array] | None = None
    strong: tuple[Array, Array | None] | None = None
    entropy: Array | None = None
    found: Array | None = None


def look_again(setting: Setting, frozen: Frozen, batch: Batch, label: Array, weight: Array) -> Again | None:
    """The second look, where entropy selects or a contrast is learned; None elsewhere.

    label, weight: of the first look, at the weak view.
    """
    config, network = setting.config, setting.network
    by_entropy, mean = config.select.by == "entropy", config.contrast.positives == "mean"
    if not by_entropy and not config.contrast.weight:
        return None
    label, weight, valid = cutmix.mix((label, weight, batch["valid"]), batch["inside"][0])
    b, height, width, _ = batch["image"].shape
    needs = {"labelled": config.contrast.weight > 0, "strong": by_entropy or mean}
    images = [x for x, wanted in zip((batch["image"], batch["strong"][0]), needs.values(), strict=True) if wanted]
    places: Any = None
    if config.contrast.weight:
        assert network.represent is not None
        features = network.encode(frozen.teacher, jnp.concatenate(images))
        logits, places = network.represent(frozen.teacher, features, (height, width))
    else:
        logits = network(frozen.teacher, images[0])
    part = lambda where: (logits[where], None if places is None else places[where])
    seen: dict[str, Any] = {"labelled": part(slice(b))} if needs["labelled"] else {}
    kept = valid & (weight > 0)
    if needs["strong"]:
        seen["strong"] = part(slice(len(logits) - len(label), None))
        disorder = entropy.entropy(seen["strong"][0])
        classes = logits.shape[-1]
        found = entropy.histogram(disorder, valid, classes, setting.axis)
        seen |= {"entropy": disorder, "found": found}
        if by_entropy:
            share = falling(config.select.share, frozen.clock, setting.total_steps)
            kept = valid & (disorder < entropy.quantile(found, 1 - share, classes))
    return Again(label, valid, kept, **seen)


def pixels(
    setting: Setting,
    frozen: Frozen,
    batch: Batch,
    student: tuple[Array, Array],
    again: Again,
    key: Key[Array, ""],
) -> tuple[Pixels, Pixels]:
    """Labelled and unlabelled places for `jaxqc.semi.contrast.contrast`. student: the student's features of them."""
    config = setting.config.contrast
    assert again.labelled is not None
    logits, teacher = again.labelled
    classes, size = logits.shape[-1], (teacher.shape[1], teacher.shape[2])
    down = lambda x: nearest(x, size)
    chance = lambda logits: down(jax.nn.softmax(lax.stop_gradient(logits).astype(jnp.float32)))
    keys = [sample_keys(jax.random.fold_in(key, 1 + i), len(x), setting.axis) for i, x in enumerate(student)]
    label, known = down(batch["mask"]), down(batch["mask"] != IGNORE)
    other = down(again.label)
    stopped = jax.tree.map(lax.stop_gradient, teacher)
    if config.positives == "clean":
        is_class = (label[..., None] == jnp.arange(classes)) & known[..., None]
        right = is_class & (chance(logits).argmax(-1) == label)[..., None]
        called = (other[..., None] == jnp.arange(classes)) & down(again.kept)[..., None]
        none = jnp.zeros_like(called)
        return (
            Pixels(student[0], stopped, is_class, is_class, right, keys[0]),
            Pixels(student[1], jnp.zeros_like(student[1]), called, called, none, keys[1]),
        )
    assert again.strong is not None
    assert again.entropy is not None
    assert again.found is not None
    share = falling(config.share, frozen.clock, setting.total_steps)
    sure, unsure = (entropy.quantile(again.found, q, classes) for q in (share, 1 - share))
    valid, disorder = down(again.valid), down(again.entropy)
    first = mean_pixels(config, chance(logits), label, known, known, labelled=True)
    second = mean_pixels(
        config, chance(again.strong[0]), other, valid & (disorder <= sure), valid & (disorder >= unsure), labelled=False
    )
    assert again.strong[1] is not None
    return (
        Pixels(student[0], stopped, *first, keys[0]),
        Pixels(student[1], lax.stop_gradient(again.strong[1]), *second, keys[1]),
    )
