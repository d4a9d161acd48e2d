"""Adversarial noise on features (virtual adversarial training, as PS-MT uses it): what moves the teachers' answer most.

In float32 alone: the change that is differentiated is small. The authors take a step of 1e-6, at which it is lost in
rounding, and divide by the gradient's length plus 1e-8, beside which that is nothing; so their noise moves nothing.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Key


def unit_length(tree: Any) -> Any:
    """Each sample's values [b ...] over all arrays, brought to length 1; zeros stay zeros.

    Examples:
      >>> unit_length([jnp.array([[3e-30, 4e-30], [0.0, 0.0]])])[0].round(3).tolist()
      [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    leaves = [x.astype(jnp.float32) for x in jax.tree.leaves(tree)]
    per = lambda f: [f(x.reshape(len(x), -1)) for x in leaves]
    largest = jnp.stack(per(lambda x: jnp.abs(x).max(1))).max(0)
    scale = jnp.where(largest > 0, largest, 1.0)  # first to about 1, so that no square is lost
    wide = lambda values, x: values.reshape(-1, *[1] * (x.ndim - 1))
    leaves = [x / wide(scale, x) for x in leaves]
    length = jnp.sqrt(jnp.stack(per_sample(leaves)).sum(0))
    length = jnp.where(length > 0, length, 1.0)
    return jax.tree.unflatten(jax.tree.structure(tree), [x / wide(length, x) for x in leaves])


def per_sample(leaves: list[Array]) -> list[Float[Array, " b"]]:
    """The sum of each sample's squares, of each array."""
    return [jnp.square(x.reshape(len(x), -1)).sum(1) for x in leaves]


def adversarial(
    decode: Callable[[Any], Float[Array, "b h w k"]], features: Any, keys: Key[Array, " b"], xi: float, eps: float
) -> Any:
    """Noise of length `eps` a sample, along the gradient of KL(answer ‖ answer at a random step of length `xi`).

    decode: features → the teachers' logits. features: a pytree of [b ...]; no gradient passes. keys: one a sample.

    Examples:
      >>> x, keys = jnp.ones((1, 1, 1, 2)), jax.random.split(jax.random.key(0), 1)
      >>> noise = adversarial(lambda f: f * jnp.array([1.0, 0.0]), x, keys, xi=0.1, eps=2.0)
      >>> jnp.abs(noise).round(3).tolist()
      [[[[2.0, 0.0]]]]
    """
    features = jax.tree.map(lambda x: lax.stop_gradient(x).astype(jnp.float32), features)
    leaves, structure = jax.tree.flatten(features)
    draw = lambda i, x: jax.vmap(
        lambda key: jax.random.uniform(jax.random.fold_in(key, i), x.shape[1:], minval=-0.5, maxval=0.5)
    )(keys)
    start = unit_length(structure.unflatten([draw(i, x) for i, x in enumerate(leaves)]))
    answer = jax.nn.log_softmax(decode(features).astype(jnp.float32))

    def apart(step: Any) -> Float[Array, ""]:
        moved = decode(jax.tree.map(lambda x, d: x + xi * d, features, step)).astype(jnp.float32)
        return (jnp.exp(answer) * (answer - jax.nn.log_softmax(moved))).sum()

    return jax.tree.map(lambda g: lax.stop_gradient(eps * g), unit_length(jax.grad(apart)(start)))
