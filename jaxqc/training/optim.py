"""Optimisers and learning-rate schedules, as optax chains over all parameters laid end to end in one vector.

A light network has hundreds of small parameter arrays: as one vector they are averaged over devices, clipped and
updated in a handful of operations instead of thousands, which both the step and its compilation feel.
The chain leaves the learning rate out: the step multiplies by `-schedule(state.step)` itself, so that the rate is a
pure function of the step (also after steps that the NaN guard skipped) and is there to be logged.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from jaxqc.config import OptimConfig
from jaxqc.errors import UserError, suggest

Schedule = Callable[[Int[Array, ""]], Float[Array, ""]]


def flatten(tree: Any) -> Float[Array, " p"]:
    """All leaves laid end to end, in tree order.

    Examples:
      >>> flatten({"a": jnp.zeros((2, 3)), "b": jnp.ones(1)}).shape
      (7,)
    """
    return ravel_pytree(tree)[0]


def decay_mask(params: Any) -> Any:
    """As `params`: 1 where weight decay applies, 0 on biases, norms and layer scales (also of stacked layers)."""

    def decays(path: tuple[Any, ...], leaf: Any) -> jax.Array:
        exempt = jnp.ndim(leaf) < 2 or str(getattr(path[-1], "key", "")) in ("bias", "scale", "gamma")
        return jnp.full(jnp.shape(leaf), 0.0 if exempt else 1.0, jnp.float32)

    return jax.tree_util.tree_map_with_path(decays, params)


def _add_decay(rate: float, masked: bool) -> optax.GradientTransformationExtraArgs:
    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        return updates + (rate * extra["mask"] * params if masked else rate * params), state

    # Without a rate nothing is read: the mask alone is as large as the parameters.
    same = lambda updates, state, params=None, **extra: (updates, state)
    return optax.GradientTransformationExtraArgs(optax.init_empty_state, update if rate else same)


def _stable_adam(beta1: float, beta2: float, eps: float) -> optax.GradientTransformationExtraArgs:
    """Adam with the largest mean square so far (AMSGrad, arXiv 1904.09237), whose direction is divided, array by array,
    by the root mean square of gradient over denominator where that exceeds 1 (arXiv 2304.13013, section 3.5)."""

    def start(params: Any) -> Any:
        zero = jnp.zeros_like(params)
        return {"count": jnp.zeros((), jnp.int32), "mean": zero, "square": zero, "most": zero}

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        count = state["count"] + 1
        mean = beta1 * state["mean"] + (1 - beta1) * updates
        square = beta2 * state["square"] + (1 - beta2) * jnp.square(updates)
        most, t = jnp.maximum(state["most"], square), count.astype(jnp.float32)
        denominator = jnp.sqrt(most) / jnp.sqrt(1 - beta2**t) + eps
        bound = lambda ratio: jnp.full(ratio.shape, jnp.maximum(1.0, jnp.sqrt(jnp.mean(jnp.square(ratio)))))
        bounds = flatten(jax.tree.map(bound, extra["unflatten"](updates / denominator)))
        direction = mean / (1 - beta1**t) / denominator / bounds
        return direction, {"count": count, "mean": mean, "square": square, "most": most}

    return optax.GradientTransformationExtraArgs(start, update)


def make_optimizer(config: OptimConfig) -> optax.GradientTransformationExtraArgs:
    """Gradient → update direction, before the learning rate, both as vectors (`flatten`).

    `update(gradient, state, params, mask=decay mask, unflatten=vector → tree)`, all float32 [p].

    clip by global norm, then `sgd`: L2 decay, momentum (Nesterov's or plain); `adam`: L2 decay, Adam (arXiv:1412.6980);
    `adamw`: Adam, decoupled decay (arXiv:1711.05101); `stable_adamw`: the latter with AMSGrad and a bounded step.

    Raises:
      UserError: an unknown name or a value out of range.

    Examples:
      >>> optimizer = make_optimizer(OptimConfig(name="sgd", momentum=0.0, weight_decay=0.0, clip=0.0))
      >>> gradient = jnp.array([2.0])
      >>> direction, _ = optimizer.update(gradient, optimizer.init(gradient), gradient, mask=jnp.ones(1))
      >>> direction.tolist()
      [2.0]
    """
    for field in ("lr", "momentum", "weight_decay", "clip", "warmup_epochs", "eps", "floor", "factor"):
        value = getattr(config, field)
        if not (math.isfinite(value) and value >= 0):
            raise UserError(f"optim.{field}: {value} must be a finite number, 0 or more")
    for field in ("beta1", "beta2"):
        if not 0 <= (value := getattr(config, field)) < 1:
            raise UserError(f"optim.{field}: {value} must be at least 0 and below 1")
    decay = _add_decay(config.weight_decay, config.decay == "kernels")
    chains = {
        "sgd": (decay, optax.trace(config.momentum, nesterov=config.nesterov)),
        "adam": (decay, optax.scale_by_adam(config.beta1, config.beta2, config.eps)),
        "adamw": (optax.scale_by_adam(config.beta1, config.beta2, config.eps), decay),
        "stable_adamw": (_stable_adam(config.beta1, config.beta2, config.eps), decay),
    }
    if config.name not in chains:
        raise UserError(f"optim.name: {config.name!r}{suggest(config.name, chains)}")
    clip = (optax.clip_by_global_norm(config.clip),) if config.clip > 0 else ()
    return optax.with_extra_args_support(optax.chain(*clip, *chains[config.name]))


def make_schedule(config: OptimConfig, total_steps: int, warmup_steps: int = 0) -> Schedule:
    """Learning rate by step, over all phases: a straight rise over `warmup_steps` (the first step has lr/warmup_steps),
    then with t running from 0 to 1: `poly` lr·(1-t)^power, `cosine` floor + (lr - floor)·(1+cos(πt))/2, `constant`, or
    `step` lr·factor^(milestones passed).

    Raises:
      UserError: an unknown schedule, a warm-up that leaves nothing to train, milestones that are no shares, a floor
        above lr.

    Examples:
      >>> schedule = make_schedule(OptimConfig(lr=0.1, schedule="cosine"), total_steps=10)
      >>> round(float(schedule(jnp.int32(0))), 3), round(float(schedule(jnp.int32(10))), 3)
      (0.1, 0.0)
    """
    names = ("poly", "cosine", "constant", "step")
    if config.schedule not in names:
        raise UserError(f"optim.schedule: {config.schedule!r}{suggest(config.schedule, names)}")
    if not all(0 <= share <= 1 for share in config.milestones):
        raise UserError(f"optim.milestones: {config.milestones} must be shares of the training, each from 0 to 1")
    if config.floor > config.lr:
        raise UserError(f"optim.floor: {config.floor:g} is above optim.lr, {config.lr:g}; lower it")
    if warmup_steps >= total_steps:
        raise UserError(f"optim.warmup_epochs: {config.warmup_epochs:g} is as long as all the phases; shorten it")

    def schedule(step: Int[Array, ""]) -> Float[Array, ""]:
        x = jnp.asarray(step, jnp.float32)
        t = jnp.clip((x - warmup_steps) / (total_steps - warmup_steps), 0.0, 1.0)
        if config.schedule == "poly":
            factor = (1.0 - t) ** config.power
        elif config.schedule == "cosine":
            floor = config.floor / config.lr if config.lr else 0.0
            factor = floor + (1.0 - floor) * 0.5 * (1.0 + jnp.cos(jnp.pi * t))
        elif config.schedule == "step":
            factor = config.factor ** (t[..., None] >= jnp.asarray(config.milestones)).sum(-1)
        else:
            factor = jnp.ones_like(t)
        rise = jnp.minimum(1.0, (x + 1.0) / max(warmup_steps, 1))
        return jnp.float32(config.lr) * jnp.where(x < warmup_steps, rise, factor)

    return schedule
