"""The inference pass of a saliency network: normalised images in, probabilities out."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.export import is_symbolic_dim
from jaxtyping import Array, Float

from jaxqc.types import Variables

CHUNK = 4
"""Images that go through the network together on a CPU."""


def brightest(image: Float[Array, "n h w c"]) -> Float[Array, "n 1 1 1"]:
    """The largest value of each image in [0, 1], at least that of one grey level.

    Examples:
      >>> brightest(jnp.array([[[[0.5], [0.25]]], [[[0.25], [0.125]]]])).ravel().tolist()
      [0.5, 0.25]
    """
    return jnp.maximum(image.max((1, 2, 3), keepdims=True), 1 / 255)


def infer(
    network: nn.Module, variables: Variables, image: Float[Array, "n s t 3"], maps: tuple[str, ...] = ()
) -> dict[str, Float[Array, "n ..."]]:
    """`map` [n s s] in [0, 1], the logits `maps` as probabilities and, where the network has it, `class` [n k].

    On CPU a batch passes in chunks of `CHUNK` inside the compiled program: their activations stay in the cache, and a
    call touches a quarter of the memory (a fifth more images/s at batch 16; docs/throughput). An exported graph
    takes a batch that is left open whole.
    """

    def whole(variables: Variables, image: jax.Array) -> dict[str, jax.Array]:
        out: Any = network.apply(variables, image, train=False)
        result = {"map": out["map"]}
        result |= {name: nn.sigmoid(out[name]) for name in maps}
        return result | ({"class": nn.softmax(out["class"])} if "class" in out else {})

    def chunked(variables: Variables, image: jax.Array) -> dict[str, jax.Array]:
        parts = image.reshape(-1, CHUNK, *image.shape[1:])
        out = lax.map(lambda part: whole(variables, part), parts)
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), out)

    n = image.shape[0]
    if is_symbolic_dim(n) or n <= CHUNK or n % CHUNK:
        return whole(variables, image)
    return lax.platform_dependent(variables, image, cpu=chunked, default=whole)
