"""Arrays of weight files and the trees of variables that they become, whatever the network."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxqc.errors import UserError
from jaxqc.types import Variables

Path = tuple[str, ...]
"""A variable's place: ("params", "layer1_0", "conv1", "kernel")."""
Arrays = Mapping[str, np.ndarray]
FIELDS = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
"""A variable's last step, and the last step of its name in PyTorch."""


def flatten(variables: Variables) -> dict[Path, np.ndarray]:
    """Nested variables → path → array on the host.

    Examples:
      >>> list(flatten({"params": {"conv1": {"kernel": np.zeros((3, 3, 1, 1))}}}))
      [('params', 'conv1', 'kernel')]
    """
    leaves = jax.tree_util.tree_flatten_with_path(dict(variables))[0]
    return {tuple(str(step.key) for step in path): np.asarray(leaf) for path, leaf in leaves}


def fitted(model: str, name: str, value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A file's array as float32. Raises `UserError` where it has another shape or is not finite.

    Examples:
      >>> fitted("resnet18", "bn1.bias", np.ones(2), (2,)).dtype
      dtype('float32')
    """
    if value.shape != shape:
        raise UserError(f"{name}: shape {value.shape} in the file, {shape} in {model}; is it of another model?")
    value = value.astype(np.float32)
    if not np.isfinite(value).all():
        raise UserError(f"{name}: holds values that are not finite; the file is damaged")
    return value


def put(tree: dict[str, Any], path: Path, value: np.ndarray) -> None:
    """Sets the leaf at `path`, making the dicts on the way."""
    for step in path[:-1]:
        tree = tree.setdefault(step, {})
    tree[path[-1]] = value


def listed(names: Sequence[str]) -> str:
    """The first four, for a message.

    Examples:
      >>> listed(["a", "b"])
      'a, b'
    """
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
