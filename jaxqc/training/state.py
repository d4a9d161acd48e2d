"""The training state: one pytree, donated from step to step and saved whole."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jaxtyping import Int

from jaxqc.training.method import Method
from jaxqc.training.optim import flatten
from jaxqc.types import Leaf


@struct.dataclass
class TrainState:
    """Everything that a step reads and writes.

    step: int32 scalar, optimiser steps done (also the data position: the order is a pure function of seed and step).
    params / model_state: float32 trees; `model_state` holds the mutable collections (`{"batch_stats": ...}`).
    opt_state: optax state over the flattened parameters. bad_steps: int32 scalar, steps in a row whose loss or
      gradient was not finite.
    extra: what a method adds (a teacher, a queue of models), or None.
    frozen: collections that a step only reads (`Method.frozen`), or None; no checkpoint holds them.
    """

    step: Int[Leaf, "..."]
    params: Any
    model_state: Any
    opt_state: Any
    bad_steps: Int[Leaf, "..."]
    extra: Any = None
    frozen: Any = None

    @property
    def variables(self) -> dict[str, Any]:
        """`{"params": ..., **model_state, **frozen}`, as `apply` takes it."""
        return {"params": self.params, **self.model_state, **(self.frozen or {})}


def from_host(tree: Any) -> Any:
    """Host arrays for use within a compiled function, handed in when it runs: as constants, hundreds of megabytes of
    weights would have to pass through the compiler."""
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype), tree)
    return jax.pure_callback(lambda: jax.tree.map(np.asarray, tree), shapes, vmap_method="sequential")


def create(method: Method, optimizer: optax.GradientTransformation, key: jax.Array) -> TrainState:
    """A fresh state (unreplicated); wrap in `jax.eval_shape` to get its shapes without computing it."""
    variables = dict(method.init(key))
    params = variables.pop("params")
    zero = jnp.zeros((), jnp.int32)
    return TrainState(
        zero, params, variables, optimizer.init(flatten(params)), zero, method.init_extra(params, variables)
    )
