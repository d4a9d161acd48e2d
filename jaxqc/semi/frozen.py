"""The part of a training's state that no gradient reaches: teachers, past models and the steps done."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Int

from jaxqc.semi import bank, channels, contrast, ema, gate, history, teachers
from jaxqc.semi.bank import Bank
from jaxqc.semi.history import History
from jaxqc.semi.recipe import SemiConfig
from jaxqc.semi.schedule import epoch_of


@struct.dataclass
class Frozen:
    """The parts without gradient, each or None: the teacher's parameters (float32), of two with a leading axis; the
    queue of past models; optimiser steps done, where something depends on them; a bank of features; the confidence
    above which labels count, where a gate lowers it."""

    teacher: Any = None
    history: History | None = None
    clock: Any = None
    bank: Bank | None = None
    gate: Any = None


def init_frozen(config: SemiConfig, student: Any, classes: int = 0, grid: tuple[int, int] = (0, 0)) -> Frozen:
    """A teacher equal to the student, an empty queue and an empty bank, as far as the method has them.

    classes: of the data. grid: positions and channels of the encoder's deepest feature, for a memory of channels.

    Examples:
      >>> from jaxqc.semi.recipe import preset
      >>> frozen = init_frozen(preset("mvpmatch"), {"kernel": jnp.ones(3)})
      >>> frozen.teacher["kernel"].tolist(), frozen.history.length
      ([1.0, 1.0, 1.0], 8)
    """
    teacher = jax.tree.map(jnp.copy, student) if config.labels == "ema" else None
    if config.teachers == 2:
        teacher = jax.tree.map(lambda x: jnp.stack([x, x]), student)
    queue = history.empty(student, config.history.length, config.history.dtype) if config.history.length else None
    c, rows = config.contrast, None
    if c.weight:
        rows = bank.empty(classes, c.length, c.width)
    if config.memory.heads:
        rows = bank.empty(classes, grid[1], grid[0])
    threshold = jnp.float32(config.tiers.bounds[0]) if config.gate.precision else None
    return Frozen(teacher, queue, jnp.zeros((), jnp.int32) if config.timed else None, rows, threshold)


def after_step(
    config: SemiConfig, frozen: Frozen, student: Any, step: Int[Array, ""], epoch_steps: int = 1, seen: Any = ()
) -> Frozen:
    """The teacher moved towards the student that optimiser step number `step` (from 0) gave; steps are counted, and
    what was seen enters the bank. While warm the teacher is a copy, and its decay begins after that.

    Examples:
      >>> from jaxqc.semi.recipe import preset
      >>> config = preset("mvpmatch")
      >>> frozen = init_frozen(config, {"kernel": jnp.zeros(1)})
      >>> after_step(config, frozen, {"kernel": jnp.ones(1)}, jnp.int32(1)).teacher["kernel"].tolist()
      [0.5]
    """
    if frozen.clock is not None:
        frozen = replace(frozen, clock=jnp.asarray(step, jnp.int32) + 1)
    if frozen.bank is not None:
        channel = config.memory.heads > 0
        rows = channels.push(frozen.bank, seen) if channel else contrast.push(config.contrast, frozen.bank, seen)
        frozen = replace(frozen, bank=rows)
    if frozen.teacher is None:
        return frozen
    if config.teachers == 2:
        epoch = epoch_of(step, epoch_steps)
        decay = jnp.where(epoch < config.unsup.warm_epochs, 0.0, config.ema)
        moved = teachers.update(frozen.teacher, student, epoch, decay)
        return replace(frozen, teacher=moved)
    if config.unsup.warm_epochs:
        step = jnp.maximum(step - round(config.unsup.warm_epochs * epoch_steps), 0)
    return replace(frozen, teacher=ema.update(frozen.teacher, student, step, config.ema))


def opened(config: SemiConfig, frozen: Frozen, metrics: Any) -> Frozen:
    """The gate where the selection images' measures put it."""
    if frozen.gate is None:
        return frozen
    return replace(frozen, gate=gate.lowered(metrics, config.tiers, config.gate))


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
    return replace(frozen, history=history.push(frozen.history, student, improved))
