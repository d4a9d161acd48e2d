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
from jax import lax
from jaxtyping import Array, Bool, Float, Key

from jaxqc.data.augment import cutmix
from jaxqc.data.augment.geometry import to_float
from jaxqc.data.augment.photometric import photometric
from jaxqc.semi import contrast, history, language, losses, teachers
from jaxqc.semi.again import look_again, pixels
from jaxqc.semi.forward import forward
from jaxqc.semi.frozen import Frozen
from jaxqc.semi.manifest import IGNORE
from jaxqc.semi.network import EncoderDecoder
from jaxqc.semi.recipe import SemiConfig
from jaxqc.semi.schedule import epoch_of, falling, ramp
from jaxqc.semi.setting import Setting
from jaxqc.semi.tiers import tier_of, tier_weight
from jaxqc.types import Batch

Logs = dict[str, jax.Array]


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
    labelled = to_float(batch["image"])
    if config.labelled_photometric:
        own = jax.vmap(jax.random.fold_in, (0, None))(keys, 2 * config.views)  # behind those of the views
        labelled = photometric(labelled, own, config.photometric)
    out = {"image": normal(labelled), "mask": batch["mask"].astype(jnp.int32)}
    if not config.unlabelled:
        return out
    weak = to_float(batch["unlabeled"])
    out |= {"weak": normal(weak), "valid": batch["valid"]}
    if config.views:
        strong, out["inside"] = strong_views(config, weak, keys)
        out["strong"] = normal(strong)
    return out | ({"truth": batch["truth"].astype(jnp.int32)} if "truth" in batch else {})


def semi_loss(
    setting: Setting, student: Any, frozen: Frozen, batch: Batch, key: Key[Array, ""], guide: Array | None = None
) -> tuple[Float[Array, ""], tuple[Logs, Any]]:
    """L = (L_x + L_u) / 2, L_u = L_multi + mu · L_prev (MvpMatch, equations 1 to 5); L_x alone without pseudo-labels.

    `SemiConfig.unsup` may give L_u another weight, and one that rises in time; `SemiConfig.contrast` adds its loss.

    Differentiate by `student`: parameters, with a leading axis where there are two students, whose losses add up.
    key: the same on all devices. guide: logits of a guide for the weak view (`SemiConfig.language`).
    Beside the logs comes what the step remembers (`jaxqc.training.method.Method.loss`).

    Logs: `loss_x`, `loss_u`, `loss_prev`, `drawn` (past models taking part), and for each tier i, from the lowest,
    `tier{i}_share`, the share of the valid pixels (with `truth`, of those that have a true class) that lie in it, and
    with `truth` `tier{i}_right`, the share of them that lie in it and are labelled truly: right / share is the tier's
    accuracy. With entropy `kept`, the share of valid pixels that count; of a contrast its own.
    """
    config, network = setting.config, setting.network
    if config.students == 1:
        taught, shared = config.labels == "ema" and config.views > 0, None
        if config.freeze and config.views:
            shared = lax.stop_gradient(network.encode(student, batch["weak"]))
        weak = _taught(setting, frozen, batch["weak"], shared) if taught else None
        return _student_loss(setting, student, weak, frozen, batch, key, guide, shared)
    weak = teachers.each(lambda params: network(params, batch["weak"]), lax.stop_gradient(student))
    keys = jax.random.split(key, config.students)
    one = lambda i: _student_loss(setting, teachers.one_of(student, i), weak[1 - i], frozen, batch, keys[i])
    (first, (said, _)), (second, (other, _)) = one(0), one(1)
    return first + second, (jax.tree.map(lambda x, y: (x + y) / 2, said, other), ())


def _student_loss(
    setting: Setting,
    params: Any,
    weak: Array | None,
    frozen: Frozen,
    batch: Batch,
    key: Key[Array, ""],
    guide: Array | None = None,
    shared: Any = None,
) -> tuple[Float[Array, ""], tuple[Logs, Any]]:
    config, network, axis, class_weights = setting.config, setting.network, setting.axis, setting.class_weights
    drop_key, draw_key = jax.random.split(key)
    epoch = None if frozen.clock is None else epoch_of(frozen.clock, setting.epoch_steps)
    said = forward(config, network, params, frozen, batch, drop_key, axis, epoch, shared)
    if config.ohem:
        given = config.ohem_threshold, config.ohem_kept
        loss_x = losses.ohem_loss(said.labelled, batch["mask"], *given, axis, class_weights, config.chunk)
    else:
        loss_x = losses.supervised_loss(said.labelled, batch["mask"], axis, class_weights, config.chunk)
    if not config.unlabelled:
        return loss_x, ({"loss_x": loss_x}, ())

    def of_view(logits: Array, label: Array, weight: Array, valid: Array) -> Array:
        counted = valid & (weight > 0) if config.select.divisor == "kept" else valid
        return losses.unsupervised_loss(logits, label, weight, counted, axis, class_weights, config.chunk)

    def over_views(label: Array, weight: Array) -> Array:
        if not said.strong and said.fed is not None:
            return of_view(said.fed, label, weight, batch["valid"])
        each = []
        for logits, inside in zip(said.strong, batch["inside"], strict=True):
            each.append(of_view(logits, *cutmix.mix((label, weight, batch["valid"]), inside)))
        views = jnp.stack(each).mean()
        return views if said.fed is None else (views + of_view(said.fed, label, weight, batch["valid"])) / 2

    answer = said.own if weak is None else weak
    assert answer is not None
    height, width = batch["weak"].shape[1:3]
    small = config.chunk if answer.shape[1:3] != (height, width) else 0
    confidence, label = losses.pseudo_label(answer, (height, width), small)
    tiers, logs, remember = config.tiers, {}, () if said.channels is None else said.channels
    weight = tier_weight(confidence, tiers.bounds, tiers.weights, tiers.cumulative)
    if frozen.gate is not None:
        weight = jnp.where((weight == 0) & (confidence > frozen.gate), jnp.float32(tiers.weights[0]), weight)
        logs["gate"] = frozen.gate
    if config.select.weight == "confidence":
        weight = jnp.where(weight > 0, confidence, 0.0)
    again = look_again(setting, frozen, batch, label, weight)
    if config.select.by == "entropy":
        assert again is not None
        loss_u, logs["kept"] = losses.kept_loss(
            said.strong[0], again.label, again.kept, again.valid, config.select.divisor, axis, class_weights
        )
    else:
        loss_u = over_views(label, weight)
    logs |= {"loss_x": loss_x, "loss_u": loss_u, **_tier_logs(config, confidence, label, batch, axis)}
    if frozen.history is not None:
        past, h = frozen.history, config.history
        run = lambda p: _of_weak(network, p, batch["weak"], shared)
        probability, k = history.mixed_probability(past, run, lax.stop_gradient(params), draw_key, h.most, h.mix)
        sure = (probability.max(-1) > h.threshold) & (k > 0)
        logs["loss_prev"] = over_views(probability.argmax(-1), sure.astype(jnp.float32))
        logs["drawn"] = k.astype(jnp.float32)
        loss_u = loss_u + h.mu * logs["loss_prev"]
    if config.unsup.timed:
        assert epoch is not None
        logs["ramp"] = ramp(config.unsup, epoch)
        loss_u = logs["ramp"] * loss_u
    elif config.unsup.weight != 1:
        loss_u = config.unsup.weight * loss_u
    loss = (loss_x + loss_u) / (2 if config.unsup.halve else 1)
    if config.contrast.weight:
        assert again is not None
        assert said.places is not None
        assert frozen.bank is not None
        parts = pixels(setting, frozen, batch, said.places, again, drop_key)
        # Past models are drawn by the first three keys that `draw_key` splits into.
        own_key = draw_key if frozen.history is None else jax.random.fold_in(draw_key, 3)
        loss_c, remember, more = contrast.contrast(config.contrast, parts, frozen.bank, own_key, axis)
        assert epoch is not None
        begun = epoch >= config.unsup.warm_epochs
        loss, logs = loss + config.contrast.weight * jnp.where(begun, loss_c, 0.0), logs | more
    if guide is not None:
        assert frozen.clock is not None
        words, certain = language.certain(guide, config.language.guide_confidence)
        logs["loss_guide"] = over_views(words, certain)
        logs["guide_share"] = losses.masked_mean(certain, batch["valid"], axis)
        loss = loss + falling(config.language.guide_weight, frozen.clock, setting.total_steps) * logs["loss_guide"]
    if config.memory.heads:
        assert frozen.bank is not None
        logs["bank_fill"] = frozen.bank.count.sum() / (frozen.bank.length * len(frozen.bank.count))
    return loss, (logs, remember)


def _of_weak(network: EncoderDecoder, params: Any, weak: Array, shared: Any, chunk: int = 0) -> Array:
    """Logits of the weak view, by its features where they are shared; with `chunk` at the head's own size."""
    if shared is None and not chunk:
        return network(params, weak)
    size: Any = None if chunk else weak.shape[1:3]
    return network.decode(params, network.encode(params, weak) if shared is None else shared, size)


def _taught(setting: Setting, frozen: Frozen, weak: Array, shared: Any) -> Array:
    """The teacher's logits, or the two's common ones."""
    network = setting.network
    if setting.config.teachers == 1:
        return _of_weak(network, frozen.teacher, weak, shared, setting.config.chunk)
    both = teachers.each(lambda params: _of_weak(network, params, weak, shared), frozen.teacher)
    return teachers.common_logits(jnp.stack(both), epoch_of(frozen.clock, setting.epoch_steps))


def _tier_logs(config: SemiConfig, confidence: Array, label: Array, batch: Batch, axis: str | None) -> Logs:
    tier, logs = tier_of(confidence, config.tiers.bounds), {}
    counted = batch["valid"] & (batch["truth"] != IGNORE) if "truth" in batch else batch["valid"]
    for i in range(1, len(config.tiers.bounds) + 1):
        within = (tier == i).astype(jnp.float32)
        logs[f"tier{i}_share"] = losses.masked_mean(within, counted, axis)
        if "truth" in batch:
            logs[f"tier{i}_right"] = losses.masked_mean(within * (label == batch["truth"]), counted, axis)
    return logs
