"""The queue of past models: parameters with a leading axis, pushed first in first out, drawn and mixed inside jit.

MvpMatch, section 3.3, after PrevMatch (arXiv 2405.20610): at each step k ~ U{1..K} models, drawn without replacement,
label the weak view together, their outputs mixed with Dirichlet(1, ..., 1) weights.
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import struct
from jax import lax
from jaxtyping import Array, Bool, DTypeLike, Float, Int, Key

from jaxqc.types import Leaf

Mix = Literal["logits", "probabilities"]
BITS = jnp.uint16
"""The type that keeps bfloat16: XLA's CPU backend would slice it as float32 and convert the whole queue each step."""


@struct.dataclass
class History:
    """Up to N models. Part of the training state: donated, saved and restored with it.

    params: the student's parameters with a leading axis N, in the type they are kept in (bfloat16 as its bits).
    count: int32 scalar, models held. next: int32 scalar, where the next one goes.
    """

    params: Any
    count: Int[Leaf, "..."]
    next: Int[Leaf, "..."]

    @property
    def length(self) -> int:
        """N, the most models held."""
        return jax.tree.leaves(self.params)[0].shape[0]


def empty(params: Any, length: int, dtype: DTypeLike = jnp.bfloat16) -> History:
    """A queue without models for parameters of these shapes; floating point is kept as `dtype`.

    Examples:
      >>> queue = empty({"kernel": jnp.ones((2, 3))}, length=4)
      >>> queue.params["kernel"].shape, int(queue.count)
      ((4, 2, 3), 0)
    """
    kind = BITS if jnp.dtype(dtype) == jnp.bfloat16 else dtype
    kept = lambda x: kind if jnp.issubdtype(x.dtype, jnp.floating) else x.dtype
    none = [jnp.zeros((), jnp.int32) for _ in range(2)]  # two buffers: one could not be donated twice
    return History(jax.tree.map(lambda x: jnp.zeros((length, *x.shape), kept(x)), params), *none)


def push(history: History, params: Any, when: Bool[Array, ""] | bool = True) -> History:
    """The queue with one more model, the oldest overwritten once it is full; unchanged where `when` is false.

    Examples:
      >>> model = {"kernel": jnp.ones((2, 3))}
      >>> queue = push(empty(model, length=4), model)
      >>> int(queue.count), int(queue.next)
      (1, 1)
    """
    when, params = jnp.asarray(when), jax.tree.map(jnp.asarray, params)

    def put(queue: Array, x: Array) -> Array:
        new = lax.bitcast_convert_type(x.astype(jnp.bfloat16), BITS) if _as_bits(queue, x) else x.astype(queue.dtype)
        old = lax.dynamic_index_in_dim(queue, history.next, keepdims=False)
        return lax.dynamic_update_index_in_dim(queue, jnp.where(when, new, old), history.next, 0)

    more = when.astype(jnp.int32)
    return History(
        jax.tree.map(put, history.params, params),
        jnp.minimum(history.count + more, history.length),
        (history.next + more) % history.length,
    )


def draw(
    history: History, key: Key[Array, ""], most: int
) -> tuple[Int[Array, " m"], Float[Array, " m"], Int[Array, ""]]:
    """The models that take part in a step: their places, their weights, and their number k.

    k ~ U{1..most}, but no more than there are; the first k places are different and uniform over the models held, the
    first k weights are Dirichlet(1, ..., 1), and the others are 0. Of an empty queue k is 0. `most` is cut to N.

    Examples:
      >>> model = {"kernel": jnp.ones((2, 3))}
      >>> held = push(empty(model, length=4), model)
      >>> places, weights, k = jax.jit(draw, static_argnames="most")(held, jax.random.key(0), most=3)
      >>> weights.tolist(), int(k)  # one model is held
      ([1.0, 0.0, 0.0], 1)
    """
    most = min(most, history.length)
    how_many, which, how_much = jax.random.split(key, 3)
    k = jnp.minimum(jax.random.randint(how_many, (), 1, most + 1), history.count)
    places = jnp.arange(history.length)
    order = jnp.argsort(jnp.where(places < history.count, jax.random.uniform(which, places.shape), jnp.inf))
    # Exponential draws divided by their sum are Dirichlet(1, ..., 1).
    share = jnp.where(jnp.arange(most) < k, jax.random.exponential(how_much, (most,)), 0.0)
    return order[:most], share / jnp.maximum(share.sum(), jnp.finfo(jnp.float32).tiny), k


def model_at(history: History, place: Int[Array, ""], like: Any) -> Any:
    """The parameters at a place of the queue, in the types of `like`.

    Examples:
      >>> model = {"kernel": jnp.ones((1, 2))}
      >>> model_at(push(empty(model, length=4), model), jnp.int32(0), model)["kernel"].tolist()
      [[1.0, 1.0]]
    """

    def take(queue: Array, x: Any) -> Array:
        kept = lax.dynamic_index_in_dim(queue, place, keepdims=False)
        if _as_bits(queue, x):
            kept = lax.bitcast_convert_type(kept, jnp.bfloat16)
        return kept.astype(x.dtype)

    return jax.tree.map(take, history.params, like)


def _as_bits(queue: Array, x: Any) -> bool:
    return queue.dtype == BITS and jnp.issubdtype(x.dtype, jnp.floating)


def mixed_probability(
    history: History,
    forward: Callable[[Any], Float[Array, "*shape k"]],
    like: Any,
    key: Key[Array, ""],
    most: int,
    mix: Mix = "logits",
) -> tuple[Float[Array, "*shape k"], Int[Array, ""]]:
    """The drawn models' common answer: probabilities in float32, and the number of models that took part.

    An empty queue says nothing: all classes alike, and 0 models; what is made of it has to be multiplied by (k > 0).
    See `draw` and `mixture`.

    Examples:
      >>> model = {"bias": jnp.zeros(2)}
      >>> queue = push(empty(model, length=4), model)
      >>> mix = lambda queue: mixed_probability(queue, lambda p: p["bias"], model, jax.random.key(0), most=1)
      >>> mixed, k = jax.jit(mix)(queue)
      >>> mixed.tolist(), int(k)
      ([0.5, 0.5], 1)
    """
    places, weights, k = draw(history, key, most)
    return mixture(history, forward, like, places, weights, k, mix), k


def mixture(
    history: History,
    forward: Callable[[Any], Float[Array, "*shape k"]],
    like: Any,
    places: Int[Array, " m"],
    weights: Float[Array, " m"],
    k: Int[Array, ""],
    mix: Mix = "logits",
) -> Float[Array, "*shape k"]:
    """Softmax of the first k models' weighted logits, or their weighted probabilities; all classes alike if k is 0.

    forward: parameters → logits. like: parameters (or their shapes) in the types that `forward` takes. One model at a
    time, so that the cost grows with k and not with N or m (`benchmarks/history.py`). No gradient passes.
    """
    output = forward if mix == "logits" else lambda p: jax.nn.softmax(forward(p).astype(jnp.float32))
    shape = jax.eval_shape(forward, like)

    def add(i: Int[Array, ""], total: Array) -> Array:
        return total + weights[i] * output(model_at(history, places[i], like)).astype(jnp.float32)

    total = lax.stop_gradient(lax.fori_loop(jnp.zeros_like(k), k, add, jnp.zeros(shape.shape, jnp.float32)))
    probability = jax.nn.softmax(total) if mix == "logits" else total
    return jnp.where(k > 0, probability, 1 / shape.shape[-1])
