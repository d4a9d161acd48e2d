"""A model as one pure function of named weights and uint8 images, as an export needs it, whatever its kind."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Num, Shaped

from jaxqc.types import ArrayLike

Weights = Mapping[str, Num[ArrayLike, "..."]]
Outputs = dict[str, Shaped[Array, "n ..."]]


@dataclass(frozen=True)
class Graph:
    """run: (weights by path, images [n height width 3]) → outputs by name. Pure.

    height, width: of the images; 0 where any size will do. about: what meta.json says beside shapes and versions.
    refuses_onnx: the reason why it is no ONNX file; "" = it may be one. dtype: of the images; uint8 are pixels, others
    are normalised. batch: images of every call, where their number is known; 0 = any.
    """

    kind: str
    run: Callable[[Weights, Num[Array, "n height width 3"]], Outputs]
    weights: Weights
    height: int
    width: int
    about: dict[str, Any] = field(default_factory=dict)
    refuses_onnx: str = ""
    dtype: Any = np.uint8
    batch: int = 0


def named_graph(
    kind: str,
    run: Callable[..., Outputs],
    tree: Any,
    height: int,
    width: int,
    about: dict[str, Any],
    refuses_onnx: str = "",
    dtype: Any = np.uint8,
    batch: int = 0,
) -> Graph:
    """The graph of `run(tree, images)`, whose weights are the leaves of the pytree `tree` by their paths."""
    leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
    names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
    weights: Weights = {name: np.asarray(leaf) for name, (_, leaf) in zip(names, leaves, strict=True)}

    def named(weights: Weights, images: Num[ArrayLike, "n h w 3"]) -> Outputs:
        return run(jax.tree.unflatten(structure, [weights[name] for name in names]), images)

    return Graph(kind, named, weights, height, width, about, refuses_onnx, dtype, batch)


def statistics(meta: Mapping[str, Any]) -> dict[str, Any]:
    """`mean` and `std` of a checkpoint, for the record alone: the graph normalises."""
    return {"mean": meta["mean"], "std": meta["std"]}
