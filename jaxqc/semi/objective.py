"""The family's one loss, and the frozen models beside the student that it learns from: pure functions over pytrees.

| key of a prepared batch | dtype   | shape         | meaning                                                          |
|-------------------------|---------|---------------|------------------------------------------------------------------|
| `image`, `mask`         | f32 i32 | [b s s 3], [b s s] | labelled images, normalised; classes, 255 = ignored         |
| `weak`, `valid`         | f32 bool| [u s s 3], [u s s] | unlabelled images, normalised; false where padded           |
| `strong`                | float32 | [v u s s 3]   | their strong views, CutMix done                                  |
| `inside`                | bool    | [v u s s]     | pixels of a view that came from the batch in reverse order       |
| `truth`                 | int32   | [u s s]       | optional: the unlabelled images' true classes, to be logged only |
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Key

from jaxqc.data.augment import cutmix
from jaxqc.data.augment.geometry import to_float
from jaxqc.data.augment.photometric import photometric
from jaxqc.semi import dropout, ema, history, losses
from jaxqc.semi.history import History
from jaxqc.semi.manifest import IGNORE
from jaxqc.semi.network import EncoderDecoder
from jaxqc.semi.recipe import SemiConfig
from jaxqc.semi.tiers import tier_of, tier_weight
from jaxqc.types import ArrayLike, Batch

Logs = dict[str, jax.Array]


@struct.dataclass
class Frozen:
    """The parts without gradient: the teacher's parameters (float32) and the queue of past models, each or None."""

    teacher: Any = None
    history: History | None = None


def init_frozen(config: SemiConfig, student: Any) -> Frozen:
    """A teacher equal to the student and an empty queue, as far as the method has them.

    Examples:
      >>> from jaxqc.semi.recipe import preset
      >>> frozen = init_frozen(preset("mvpmatch"), {"kernel": jnp.ones(3)})
      >>> frozen.teacher["kernel"].tolist(), frozen.history.length
      ([1.0, 1.0, 1.0], 8)
    """
    teacher = jax.tree.map(jnp.copy, student) if config.labels == "ema" else None
    queue = history.empty(student, config.history.length, config.history.dtype) if config.history.length else None
    return Frozen(teacher, queue)


def after_step(config: SemiConfig, frozen: Frozen, student: Any, step: Int[Array, ""]) -> Frozen:
    """The teacher moved towards the student that optimiser step number `step` (from 0) gave.

    Examples:
      >>> from jaxqc.semi.recipe import preset
      >>> config = preset("mvpmatch")
      >>> frozen = init_frozen(config, {"kernel": jnp.zeros(1)})
      >>> after_step(config, frozen, {"kernel": jnp.ones(1)}, jnp.int32(1)).teacher["kernel"].tolist()
      [0.5]
    """
    if frozen.teacher is None:
        return frozen
    return frozen.replace(teacher=ema.update(frozen.teacher, student, step, config.ema))  # type: ignore[attr-defined]


def after_evaluation(frozen: Frozen, student: Any, improved: Bool[Array, ""] | bool) -> Frozen:
    """The student pushed into the queue where the selection split's best mean IoU strictly improved.

    Examples:
      >>> from jaxqc.semi.recipe import preset
      >>> frozen = init_frozen(preset("mvpmatch"), {"kernel": jnp.zeros(1)})
      >>> int(after_evaluation(frozen, {"kernel": jnp.ones(1)}, improved=True).history.count)
      1
    """
    if frozen.history is None:
        return frozen
    return frozen.replace(history=history.push(frozen.history, student, improved))  # type: ignore[attr-defined]


def strong_views(
    config: SemiConfig, weak: Float[Array, "u s s 3"], keys: Key[Array, " u"]
) -> tuple[Float[Array, "v u s s 3"], Bool[Array, "v u s s"]]:
    """Photometric augmentation and CutMix of images in [0, 1], independently for each view."""
    views, (u, size) = config.views, weak.shape[:2]
    own = jax.vmap(jax.vmap(jax.random.fold_in, (0, None)), (None, 0))(keys, jnp.arange(2 * views)).reshape(2, -1)
    strong = photometric(jnp.tile(weak, (views, 1, 1, 1)), own[0], config.photometric)
    mix = config.cutmix
    boxes = cutmix.draw_boxes(own[1], size, mix.probability, (mix.area_min, mix.area_max), (mix.aspect, 1 / mix.aspect))
    inside = cutmix.box_mask(boxes, size).reshape(views, u, size, size)
    return jax.vmap(cutmix.mix)(strong.reshape(views, *weak.shape), inside), inside


def prepare(
    config: SemiConfig, batch: Batch, keys: Key[Array, " u"], mean: tuple[float, ...], std: tuple[float, ...]
) -> Batch:
    """A raw batch of views as the host cuts them → a prepared one; see the module's table.

    batch: `image` uint8 [b s s 3], `mask` uint8 [b s s]; `unlabeled` uint8 [u s s 3], `valid` bool [u s s] and,
    where known, `truth` uint8 [u s s]. keys: one an unlabelled image. mean, std: of the channels, images in [0, 1].
    """
    normal = lambda x: (x - jnp.asarray(mean, jnp.float32)) / jnp.asarray(std, jnp.float32)
    out = {"image": normal(to_float(batch["image"])), "mask": batch["mask"].astype(jnp.int32)}
    if not config.views:
        return out
    weak = to_float(batch["unlabeled"])
    strong, out["inside"] = strong_views(config, weak, keys)
    out |= {"weak": normal(weak), "strong": normal(strong), "valid": batch["valid"]}
    return out | ({"truth": batch["truth"].astype(jnp.int32)} if "truth" in batch else {})


def semi_loss(
    config: SemiConfig,
    network: EncoderDecoder,
    student: Any,
    frozen: Frozen,
    batch: Batch,
    key: Key[Array, ""],
    axis: str | None = None,
    class_weights: Float[ArrayLike, " k"] | None = None,
) -> tuple[Float[Array, ""], Logs]:
    """L = (L_x + L_u) / 2, L_u = L_multi + mu · L_prev (MvpMatch, equations 1 to 5); L_x alone without pseudo-labels.

    Differentiate by `student`: parameters, with a leading axis where there are two students, whose losses add up.
    key: the same on all devices of `axis`. class_weights: factor on the cross entropy of each label and pseudo-label,
    such as `jaxqc.semi.losses.balanced_weights`; None = 1.

    Logs: `loss_x`, `loss_u`, `loss_prev`, `drawn` (past models taking part), and for each tier i, from the lowest,
    `tier{i}_share`, the share of the valid pixels (with `truth`, of those that have a true class) that lie in it, and
    with `truth` `tier{i}_right`, the share of them that lie in it and are labelled truly: right / share is the tier's
    accuracy.
    """
    if config.students == 1:
        weak = network(frozen.teacher, batch["weak"]) if config.labels == "ema" and config.views else None
        return _student_loss(config, network, student, weak, frozen, batch, key, axis, class_weights)
    weak = jax.vmap(network, (0, None))(lax.stop_gradient(student), batch["weak"])
    rest = frozen, batch
    one = lambda params, logits, key: _student_loss(config, network, params, logits, *rest, key, axis, class_weights)
    loss, logs = jax.vmap(one)(student, weak[::-1], jax.random.split(key, config.students))
    return loss.sum(), jax.tree.map(lambda x: x.mean(0), logs)


def _student_loss(
    config: SemiConfig,
    network: EncoderDecoder,
    params: Any,
    weak: Array | None,
    frozen: Frozen,
    batch: Batch,
    key: Key[Array, ""],
    axis: str | None,
    class_weights: ArrayLike | None,
) -> tuple[Float[Array, ""], Logs]:
    drop_key, draw_key = jax.random.split(key)
    x, strong, fed, own = _forward(config, network, params, batch, drop_key, axis)
    if config.ohem:
        loss_x = losses.ohem_loss(x, batch["mask"], config.ohem_threshold, config.ohem_kept, axis, class_weights)
    else:
        loss_x = losses.supervised_loss(x, batch["mask"], axis, class_weights)
    if not config.views:
        return loss_x, {"loss_x": loss_x}

    def over_views(label: Array, weight: Array) -> Array:
        each = []
        for logits, inside in zip(strong, batch["inside"], strict=True):
            y, a, valid = cutmix.mix((label, weight, batch["valid"]), inside)
            each.append(losses.unsupervised_loss(logits, y, a, valid, axis, class_weights))
        views = jnp.stack(each).mean()
        if fed is None:
            return views
        return (views + losses.unsupervised_loss(fed, label, weight, batch["valid"], axis, class_weights)) / 2

    said = own if weak is None else weak
    assert said is not None
    confidence, label = losses.pseudo_label(said)
    tiers = config.tiers
    loss_u = over_views(label, tier_weight(confidence, tiers.bounds, tiers.weights, tiers.cumulative))
    logs = {"loss_x": loss_x, "loss_u": loss_u, **_tier_logs(config, confidence, label, batch, axis)}
    if frozen.history is not None:
        past, h = frozen.history, config.history
        run = lambda p: network(p, batch["weak"])
        probability, k = history.mixed_probability(past, run, lax.stop_gradient(params), draw_key, h.most, h.mix)
        sure = (probability.max(-1) > h.threshold) & (k > 0)
        logs["loss_prev"] = over_views(probability.argmax(-1), sure.astype(jnp.float32))
        logs["drawn"] = k.astype(jnp.float32)
        loss_u = loss_u + h.mu * logs["loss_prev"]
    return (loss_x + loss_u) / 2, logs


def _forward(
    config: SemiConfig, network: EncoderDecoder, params: Any, batch: Batch, key: Key[Array, ""], axis: str | None
) -> tuple[Array, list[Array], Array | None, Array | None]:
    """The student's logits of the labelled images, of each strong view, of the weak view's perturbed features and of
    the weak view as it is (the last two where the method needs them), in one pass: nothing depends on the batch."""
    b, *size, _ = batch["image"].shape
    if not config.views:
        return network(params, batch["image"]), [], None, None
    u, dropped = len(batch["weak"]), config.perturbation == "weak"
    images = [batch["image"], *batch["strong"], *([batch["weak"]] if dropped else [])]
    features = network.encode(params, jnp.concatenate(images))
    part = lambda i: jax.tree.map(lambda f: f[b + i * u : b + (i + 1) * u], features)
    keys = _sample_keys(key, u, axis)
    pieces = [jax.tree.map(lambda f: f[:b], features), *(part(i) for i in range(config.views))]
    if config.perturbation == "complementary":
        pieces[1:] = dropout.complementary_dropout(pieces[1], pieces[2], keys)
    if dropped:
        pieces += [dropout.channel_dropout(part(config.views), keys), part(config.views)]
    logits = network.decode(params, jax.tree.map(lambda *f: jnp.concatenate(f), *pieces), (size[0], size[1]))
    x, rest = logits[:b], [logits[b + i * u : b + (i + 1) * u] for i in range(len(pieces) - 1)]
    own = rest[-1] if dropped else None
    if config.labels == "self" and own is None:
        own = network(lax.stop_gradient(params), batch["weak"])
    return x, rest[: config.views], rest[config.views] if dropped else None, own


def _sample_keys(key: Key[Array, ""], n: int, axis: str | None) -> Key[Array, " n"]:
    """A key for each sample by its place in the global batch."""
    first = lax.axis_index(axis) * n if axis is not None else 0
    return jax.vmap(jax.random.fold_in, (None, 0))(key, first + jnp.arange(n))


def _tier_logs(config: SemiConfig, confidence: Array, label: Array, batch: Batch, axis: str | None) -> Logs:
    tier, logs = tier_of(confidence, config.tiers.bounds), {}
    counted = batch["valid"] & (batch["truth"] != IGNORE) if "truth" in batch else batch["valid"]
    for i in range(1, len(config.tiers.bounds) + 1):
        within = (tier == i).astype(jnp.float32)
        logs[f"tier{i}_share"] = losses.masked_mean(within, counted, axis)
        if "truth" in batch:
            logs[f"tier{i}_right"] = losses.masked_mean(within * (label == batch["truth"]), counted, axis)
    return logs
