"""Objectives of the saliency networks: one file a network, a frozen dataclass whose fields are its weights."""

from typing import Any, Protocol, runtime_checkable

import jax

from jaxqc.types import Batch

Logs = dict[str, jax.Array]


@runtime_checkable
class Objective(Protocol):
    """A network's training loss: a frozen dataclass, so that its weights stand in the recipe.

    Fields are plain values, as those of `jaxqc.config`: each is a flag, `--objective.FIELD`.
    """

    def __call__(self, out: dict[str, jax.Array], batch: Batch) -> tuple[jax.Array, Logs]:
        """The loss, a scalar, and scalars to log.

        Args:
          out: what the network gives with `aux`; `map` float32 [n s s] in [0, 1].
          batch: prepared: `image` float32 [n s s 3], `mask` float32 [n s s] in [0, 1], `label` int32 [n], -1 = none.
        """
        ...


def is_objective(thing: Any) -> bool:
    """True for a value of a dataclass that can be called."""
    return hasattr(type(thing), "__dataclass_fields__") and callable(thing)
