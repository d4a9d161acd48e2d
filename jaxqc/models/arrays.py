"""Arrays of weight files and the trees of variables that they become, whatever the network."""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
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


def variable_shapes(network: nn.Module, side: int = 64) -> dict[Path, tuple[int, ...]]:
    """Every variable's place and shape; nothing is computed. side: of the square image [1 side side 3] it is made for.

    Examples:
      >>> list(variable_shapes(nn.Conv(4, (1, 1), use_bias=False)).items())
      [(('params', 'kernel'), (1, 1, 3, 4))]
    """
    shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros((1, side, side, 3))))
    leaves = jax.tree_util.tree_flatten_with_path(dict(shapes))[0]
    return {tuple(str(step.key) for step in path): leaf.shape for path, leaf in leaves}


def layer_shapes(network: nn.Module, height: int, width: int) -> dict[str, tuple[int, ...]]:
    """Shape of each layer that a network gives of an image [1 height width 3], by name; nothing is computed.

    Examples:
      >>> class Halved(nn.Module):
      ...     def __call__(self, image):
      ...         return {"layer1": image[:, ::2, ::2]}
      >>> layer_shapes(Halved(), 8, 6)
      {'layer1': (1, 4, 3, 3)}
    """
    start = lambda: network.init_with_output(jax.random.key(0), jnp.zeros((1, height, width, 3)))[0]
    return {name: layer.shape for name, layer in jax.eval_shape(start).items()}


def counted_out(arrays: Arrays) -> dict[str, np.ndarray]:
    """All but PyTorch's counters of batches, which no variable of ours holds.

    Examples:
      >>> list(counted_out({"bn1.bias": np.zeros(2), "bn1.num_batches_tracked": np.array(7)}))
      ['bn1.bias']
    """
    return {name: array for name, array in arrays.items() if not name.endswith("num_batches_tracked")}


def refuse_lacking(model: str, lacking: Sequence[str], prefix: str) -> None:
    """Raises `UserError` where a file lacks arrays. prefix: below which it was read; "" = of all.

    Examples:
      >>> refuse_lacking("resnet18", [], "")
    """
    if lacking:
        below = f" below {prefix!r}" if prefix else ""
        raise UserError(f"{model}: the file lacks {len(lacking)} arrays that are needed{below}: {listed(lacking)}")


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
