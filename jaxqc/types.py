"""The shapes everybody speaks of, named once: batches, variables and maps.

`Batch` is a plain dict so that it passes through `jit`, `pmap` and `scan` untouched:

| key      | dtype   | shape       | meaning                                                   |
|----------|---------|-------------|-----------------------------------------------------------|
| `image`  | uint8   | [b h w c]   | decoded pixels, c = 1 (grey) or 3 (RGB)                    |
| `mask`   | uint8   | [b h w]     | 1 = defect, 0 = background                                |
| `label`  | int32   | [b]         | index into the data set's `classes`, -1 = no class known  |
| `weight` | float32 | [b]         | 1 = counts, 0 = padding that only fills the batch         |

After `Method.prepare` the image is float32 and normalised and the mask float32 in [0, 1]; the keys stay.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

if TYPE_CHECKING:
    ArrayLike = jax.Array | np.ndarray
    Leaf = jax.Array
else:  # NumPy's scalars are arrays without axes, and a leaf may stand for its shape (`jax.eval_shape`) alone.
    ArrayLike = jax.Array | np.ndarray | np.generic
    Leaf = ArrayLike | jax.ShapeDtypeStruct | jax.stages.ArgInfo
"""`ArrayLike`: an array of a device or of the host, as in `Float[ArrayLike, "n h w c"]`.

`Leaf`: a leaf of a pytree that passes through JAX. A field `Int[Leaf, "... k"]` has more axes in front while the tree
is spread over devices.
"""

Batch = dict[str, jax.Array]
"""A dict of arrays that share their leading axis; see the module's table."""

Variables = Mapping[str, Any]
"""Flax variables: `{"params": ..., "batch_stats": ...}` (or only `params`, once batch norm is folded)."""

Metrics = dict[str, float]
"""Named scalars on the host, as logged and as kept in a checkpoint."""

AXIS = "devices"
"""Name of the mapped axis that every per-device function reduces over."""
