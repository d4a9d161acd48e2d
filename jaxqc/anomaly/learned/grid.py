"""Disjoint sets of an image's square cells, each hidden in turn while a network fills it from the others (RIAD)."""

from jaxtyping import Float, Int

from jaxqc.types import ArrayLike

CELLS = (2, 4, 8, 16)
"""Sides of the cells in pixels."""
SETS = 3
"""Sets into which the cells are drawn."""


def cells_of(height: int, width: int, cell: int) -> int:
    """The number of cells of an image, those that its edge cuts included.

    Examples:
      >>> cells_of(8, 9, 4)
      6
    """
    return -(-height // cell) * -(-width // cell)


def hidden_sets(
    order: Int[ArrayLike, " cells"], height: int, width: int, cell: int
) -> Float[ArrayLike, "sets {height} {width}"]:
    """1 where a set has its cells, else 0: the sets have no pixel in common, and as many cells but for one.

    order: the numbers of the cells in any order, which deals them out. A NumPy array gives one.

    Examples:
      >>> import numpy as np
      >>> sets = hidden_sets(np.random.default_rng(0).permutation(16), 8, 8, 2)
      >>> sets.shape, sets.sum(0).min().item(), sets.sum(0).max().item(), sorted(sets.sum((1, 2)).tolist())
      ((3, 8, 8), 1.0, 1.0, [20.0, 20.0, 24.0])
    """
    xp = order.__array_namespace__()
    own = (order % SETS).reshape(-(-height // cell), -1)
    own = xp.repeat(xp.repeat(own, cell, 0), cell, 1)[:height, :width]
    return xp.stack([own == number for number in range(SETS)]).astype(xp.float32)
