"""Segmenters small enough for a test, with weights and images that numpy draws."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxqc.models.dinov2 import ViT, ViTSpec
from jaxqc.models.dpt import DPT
from jaxqc.models.resnet import LAYERS, ResNet, Spec
from jaxqc.models.segmenter import Segmenter
from jaxqc.nn.conv import Norm

TINY = ViTSpec(64, 4, 2, (0, 1, 2, 3), grid=5)


def tiny(**head) -> Segmenter:
    return Segmenter(ViT(TINY), DPT(5, 16, (8, 16, 24, 32), **head))


def small_resnet(folded: bool = False) -> Segmenter:
    spec = Spec((1, 1, 1, 1), False, base=8)
    return Segmenter(ResNet(spec, LAYERS, norm=Norm(folded)), DPT(5, 16, ()))


def drawn(network: Segmenter, seed: int = 0) -> dict:
    """Variables drawn by numpy: an initialisation would compile for longer."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros((1, 28, 28, 3))))

    def draw(path, leaf):
        last = path[-1].key
        if last == "kernel":
            return (rng.normal(size=leaf.shape) * np.sqrt(1 / np.prod(leaf.shape[:-1]))).astype(np.float32)
        low, high = {"scale": (0.4, 0.8), "gamma": (0.4, 0.8), "var": (0.5, 1.5)}.get(last, (-0.2, 0.2))
        return rng.uniform(low, high, leaf.shape).astype(np.float32)

    return dict(jax.tree_util.tree_map_with_path(draw, shapes))


def picture(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).normal(size=(*shape, 3)).astype(np.float32)
