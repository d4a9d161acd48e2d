"""Weights drawn for any backbone, under the names of a file, and an image for it."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxqc.models.backbones import build, family


def shapes(name: str, layers: tuple[int, ...] = (1, 2, 3, 4), side: int = 64) -> tuple[dict, dict]:
    """Layers and variables, as shapes."""
    network = build(name, layers)
    start = lambda: network.init_with_output(jax.random.key(0), jnp.zeros((1, side, side, 3)))
    return jax.eval_shape(start)


def drawn(name: str, layers: tuple[int, ...] = (1, 2, 3, 4), style: int = 0) -> dict[str, np.ndarray]:
    """A state dict under a style's names, drawn in the order of the first style's."""
    rng, arrays = np.random.default_rng(0), {}
    empty = jax.tree.map(lambda leaf: np.empty(leaf.shape, np.float32), dict(shapes(name, layers)[1]))
    files = family(name).export(empty, name)
    for key, value in sorted(files.items()):
        shape = value.shape
        if len(shape) == 4:
            arrays[key] = rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))
        else:
            low, high = {"weight": (0.5, 1.0), "running_var": (0.5, 1.5)}.get(key.rsplit(".", 1)[1], (-0.2, 0.2))
            arrays[key] = rng.uniform(low, high, shape)
    called = files if style == 0 else family(name).export(empty, name, style)
    return {to: arrays[key].astype(np.float32) for to, key in zip(called, files, strict=True)}


def image(side: tuple[int, int] = (70, 48), count: int = 2) -> np.ndarray:
    """Normalised pixels."""
    return np.random.default_rng(1).normal(size=(count, *side, 3)).astype(np.float32)
