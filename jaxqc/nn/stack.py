"""Equal blocks one after another as one traced block, whose parameters have a leading axis."""

from typing import Any, TypeVar

import flax.linen as nn

Carry = TypeVar("Carry")


def repeated(block: nn.Module, x: Carry, length: int, *call: Any, train: bool = False) -> Carry:
    """`length` blocks, each with variables and dropout of its own, called as block(x, *call) with the one before's x.

    Training keeps the loop, so that one block is compiled; inference unrolls it, which there compiles fast and runs
    twice as fast. Within a network's `@nn.compact` method; the block's name is that of the stack.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> class Twice(nn.Module):
      ...     @nn.compact
      ...     def __call__(self, x):
      ...         return repeated(nn.Dense(3, name="dense"), x, 2)
      >>> variables = jax.eval_shape(Twice().init, jax.random.key(0), jnp.zeros((1, 3)))
      >>> variables["params"]["dense"]["kernel"].shape
      (2, 3, 3)
    """
    stack = nn.scan(
        lambda own, carry, _: (own(carry, *call), None),
        variable_axes={"params": 0, "batch_stats": 0},
        split_rngs={"params": True, "dropout": True},
        length=length,
        unroll=1 if train else length,
    )
    return stack(block, x, None)[0]
