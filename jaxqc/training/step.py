"""The training step of one device, and many steps inside one compiled loop over data that lives on the device."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Int, UInt32

from jaxqc.training.method import Logs, Method
from jaxqc.training.optim import Schedule, decay_mask, flatten
from jaxqc.training.state import TrainState
from jaxqc.types import AXIS, Batch

Step = Callable[[TrainState, Batch, jax.Array], tuple[TrainState, Logs]]


def make_step(
    method: Method,
    optimizer: optax.GradientTransformationExtraArgs,
    schedule: Schedule,
    size: int,
    accumulate: int = 1,
    axis: str = AXIS,
) -> Step:
    """The per-device function `step(state, batch, key) → (state, logs)`, to be mapped over the axis `axis`.

    batch: this device's raw uint8 part, [b ...], b a multiple of `accumulate`. key: the run's key, the same every
    step and on every device. Each image draws from its own key, a function of seed, step and place in the global
    batch, so that the result does not depend on the number of devices. logs: float32 scalars, equal on all devices:
    `loss`, `grad_norm` (before clipping), `lr`, `bad` (steps in a row that were not finite) and the method's own.

    A step whose loss or gradient is not finite changes nothing but `step` and `bad_steps`.
    """

    def gradients(state: TrainState, batch: Batch, keys: jax.Array, key: jax.Array) -> tuple[Any, Any, Logs, Any]:
        prepared = method.prepare(batch, keys, size, True)
        objective = jax.value_and_grad(method.loss, has_aux=True)
        read = state.model_state if state.frozen is None else {**state.model_state, **state.frozen}
        (loss, (model_state, logs, *remember)), grads = objective(state.params, read, prepared, key, state.extra)
        return grads, model_state, {**logs, "loss": loss}, remember

    def step(state: TrainState, batch: Batch, key: jax.Array) -> tuple[TrainState, Logs]:
        image_key, loss_key = jax.random.split(jax.random.fold_in(key, state.step))
        b = batch["image"].shape[0]
        places = lax.axis_index(axis) * b + jnp.arange(b)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(image_key, places)
        if accumulate == 1:
            grads, model_state, logs, remember = gradients(state, batch, keys, loss_key)
            remember = jax.tree.map(lambda x: x[None], remember)
        else:
            grads, model_state, logs, remember = _accumulated(gradients, accumulate, state, batch, keys, loss_key)
        gradient, (running, as_model_state) = flatten(grads), ravel_pytree(model_state)
        gradient, running, logs = lax.pmean((gradient, running, logs), axis)

        norm = jnp.linalg.norm(gradient)
        finite = jnp.isfinite(logs["loss"]) & jnp.isfinite(norm)
        lr = schedule(state.step)
        params, as_params = ravel_pytree(state.params)
        mask = flatten(decay_mask(state.params))
        direction, opt_state = optimizer.update(gradient, state.opt_state, params, mask=mask, unflatten=as_params)
        direction, rates = jnp.asarray(direction), method.rates(state.params, state.extra)
        direction = direction if rates is None else direction * flatten(rates)
        if (active := method.active(state.params, state.step)) is not None:
            moves = flatten(active) > 0
            rests = lambda n, o: jnp.where(moves, n, o) if jnp.shape(n) == moves.shape else n
            direction, opt_state = direction * moves, jax.tree.map(rests, opt_state, state.opt_state)
        new = (params - lr * direction, running, opt_state)
        old = (params, flatten(state.model_state), state.opt_state)
        params, running, opt_state = jax.tree.map(lambda n, o: jnp.where(finite, n, o), new, old)
        params, model_state = as_params(params), as_model_state(running)
        # Micro-batches outermost; whatever the devices' number, all of them then do the same with all of it.
        seen = jax.tree.map(lambda x: lax.all_gather(x, axis, axis=1).reshape(-1, *x.shape[1:]), remember)
        extra = method.after_step(state.extra, params, state.step, model_state, *seen)
        # What a step leaves alone is the same tracer before and after: nothing of it is copied.
        extra = jax.tree.map(lambda n, o: n if n is o else jnp.where(finite, n, o), extra, state.extra)
        bad = jnp.where(finite, 0, state.bad_steps + 1)
        state = TrainState(state.step + 1, params, model_state, opt_state, bad, extra, state.frozen)
        return state, {**logs, "grad_norm": norm, "lr": lr, "bad": bad.astype(jnp.float32)}

    return step


def _accumulated(
    gradients: Callable[..., Any], parts: int, state: TrainState, batch: Batch, keys: jax.Array, key: jax.Array
) -> tuple[Any, Any, Logs, Any]:
    """Averages gradients and logs over `parts` micro-batches; the model state passes from one to the next, and what is
    remembered is stacked."""
    cut = jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[1:]), (batch, keys))
    loss_keys = jax.random.split(key, parts)

    def add(carry: Any, xs: Any) -> tuple[Any, Any]:
        model_state, total = carry
        (part, part_keys), part_key = xs
        here = replace(state, model_state=model_state)
        grads, model_state, logs, remember = gradients(here, part, part_keys, part_key)
        return (model_state, jax.tree.map(jnp.add, total, grads)), (logs, remember)

    # Summing in the carry holds one gradient tree in memory, whatever the number of parts.
    zeros = jax.tree.map(jnp.zeros_like, state.params)
    (model_state, total), (logs, remember) = lax.scan(add, (state.model_state, zeros), (cut, loss_keys))
    grads = jax.tree.map(lambda g: g / parts, total)
    return grads, model_state, jax.tree.map(lambda x: x.mean(0), logs), remember


def make_scan(step: Step, steps_per_call: int) -> Callable[..., tuple[TrainState, Logs]]:
    """Up to `steps_per_call` steps in one compiled call, over a data set that lives on the device.

    The per-device function is `run(state, data, indices, count, seed) → (state, logs)`:
    data: `{"image": uint8 [n h w c], "mask": uint8 [n h w], "label": int32 [n]}`; indices: int32 [k b], row t holds the
    samples of this device's part of batch t; count: int32 scalar, rows to run (1..k); logs: float32 [k], rows from
    `count` on are 0. `count` is an argument and not a shape, so that a short last span compiles nothing anew.
    With `steps_per_call` 1 there is no loop, and the one row is run.
    """

    # jit, so that asking for the shapes of the logs and the body of the loop share one trace of the model.
    @jax.jit
    def at(
        state: TrainState, t: Int[Array, ""], data: Batch, indices: Int[Array, "k b"], key: jax.Array
    ) -> tuple[TrainState, Logs]:
        rows = indices[t]
        batch = {name: array[rows] for name, array in data.items()}
        batch["weight"] = jnp.ones(rows.shape, jnp.float32)
        return step(state, batch, key)

    def run(
        state: TrainState,
        data: Batch,
        indices: Int[Array, "k b"],
        count: Int[Array, ""],
        seed: UInt32[Array, ""],
    ) -> tuple[TrainState, Logs]:
        key = jax.random.key(seed)
        if steps_per_call == 1:
            state, logs = at(state, jnp.zeros_like(count), data, indices, key)
            return state, {name: value[None] for name, value in logs.items()}

        def body(t: Int[Array, ""], carry: tuple[TrainState, Logs]) -> tuple[TrainState, Logs]:
            state, logs = carry
            state, new = at(state, t, data, indices, key)
            return state, {name: array.at[t].set(new[name]) for name, array in logs.items()}

        _, shapes = jax.eval_shape(lambda: at(state, count, data, indices, key))
        logs = {name: jnp.zeros((steps_per_call, *s.shape), s.dtype) for name, s in shapes.items()}
        return lax.fori_loop(jnp.zeros_like(count), count, body, (state, logs))

    return run
