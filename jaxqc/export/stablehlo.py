"""A graph as StableHLO: lowered once for several platforms, batch and image size left open where that is asked for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export as jax_export
from jaxtyping import UInt8

from jaxqc.data.batching import pad_to
from jaxqc.errors import UserError, suggest
from jaxqc.graph import Graph
from jaxqc.nn import onednn

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


def lowered(graph: Graph, batch: int, platforms: Sequence[str]) -> jax_export.Exported:
    """The graph as a function of (weights by path, image). batch: 0 leaves it open.

    Raises:
      UserError: an unknown platform, or a part of the model that cannot be lowered so.
    """
    for platform in platforms:
        if platform not in PLATFORMS:
            raise UserError(f"--platforms: {platform!r} is none{suggest(platform, PLATFORMS)}")
    sizes = ", ".join([str(batch or "b"), str(graph.height or "h"), str(graph.width or "w"), "3"])
    image = jax.ShapeDtypeStruct(jax_export.symbolic_shape(sizes), np.uint8)
    weights = {name: jax.ShapeDtypeStruct(value.shape, value.dtype) for name, value in graph.weights.items()}
    with onednn.on(False):  # another machine's program has no such library
        return jax_export.export(jax.jit(graph.run), platforms=tuple(platforms))(weights, image)


def outputs_of(exported: jax_export.Exported) -> dict[str, dict[str, Any]]:
    """dtype and shape of each output; sizes that are open are names."""
    found = jax.tree.unflatten(exported.out_tree, exported.out_avals)
    size = lambda n: n if isinstance(n, int) else str(n)
    return {k: {"dtype": str(v.dtype), "shape": [size(n) for n in v.shape]} for k, v in found.items()}


def run(
    exported: jax_export.Exported, graph: Graph, images: UInt8[np.ndarray, "n h w 3"], batch: int
) -> dict[str, np.ndarray] | None:
    """Outputs by name; None where this machine is of none of the platforms. batch: as in `lowered`, filled up."""
    if jax_export.default_export_platform() not in exported.platforms:
        return None
    found = jax.jit(exported.call)(graph.weights, pad_to(images, batch))
    return {name: np.asarray(value)[: len(images)] for name, value in found.items()}


def save(exported: jax_export.Exported, file: Path) -> None:
    """Writes the serialized function."""
    file.write_bytes(exported.serialize())
