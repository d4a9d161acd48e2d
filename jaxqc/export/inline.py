"""A traced function written out flat: calls inlined, what depends on the platform decided, constants computed."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import Tracer
from jax.export import is_symbolic_dim
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Primitive, jaxpr_as_fun

from jaxqc.jaxprs import called, default_platform
from jaxqc.nn.plain import OPERATIONS, form

LONGEST = 16
"""Passes of a loop that are written out: networks loop over layers of one shape."""


MOST = 2
"""Axes up to which a constant is spread out beforehand; a bias spread over a map would only fill the file."""

WINDOWS = ("reduce_window_max", "reduce_window_sum")
"""Primitives that are poolings, over rows and columns of [n h w c]."""

operation_p = Primitive("jaxqc_operation")
"""An operation of the plain form (`jaxqc.nn.plain.operation`) by its `name`; `body`: the function that it is;
`settings`: of a pooling, rows and columns of window and strides, and rows and columns of padding before and behind."""
operation_p.multiple_results = True
operation_p.def_impl(lambda *arrays, name, body, settings: jaxpr_as_fun(body)(*arrays))
operation_p.def_abstract_eval(lambda *avals, name, body, settings: body.out_avals)


def _stack(*arrays: Any, axis: int) -> jax.Array:
    return lax.concatenate([lax.expand_dims(x, [axis]) for x in arrays], axis)


def _unstack(array: Any, *, axis: int) -> list[jax.Array]:
    return [lax.index_in_dim(array, i, axis, keepdims=False) for i in range(array.shape[axis])]


def _tile(array: Any, *, reps: Sequence[int]) -> jax.Array:
    for axis, count in enumerate(reps):
        array = lax.concatenate([array] * count, axis) if count > 1 else array
    return array


def _pad(array: Any, value: Any, *, padding_config: Sequence[tuple[int, int, int]]) -> jax.Array:
    if any(min(padding) < 0 or padding[2] for padding in padding_config):
        return lax.pad(array, value, padding_config)
    for axis, (low, high, _) in enumerate(padding_config):
        sides = lambda n, axis=axis, array=array: (
            [lax.broadcast(value, (*array.shape[:axis], n, *array.shape[axis + 1 :]))] if n else []
        )
        array = lax.concatenate([*sides(low), array, *sides(high)], axis) if low or high else array
    return array


def _empty(*, dtype: Any, **_: Any) -> jax.Array:
    """A branch's stand-in for another's residuals; nobody reads it."""
    return jnp.zeros((), dtype)


_WRITTEN_OUT: dict[str, Callable[..., Any]] = {
    "stack": _stack, "unstack": _unstack, "tile": _tile, "pad": _pad, "empty2": _empty
}  # fmt: skip
"""Primitives that converters do not know yet, or not where a size is open, by those that they are made of."""


def inlined(function: Callable[..., Any], *shapes: jax.ShapeDtypeStruct) -> Callable[..., Any]:
    """`function` of arrays of these shapes, without inner calls and custom derivatives; of `lax.platform_dependent` the
    default branch is kept (a depthwise convolution is then one, not the shifts that are quick where XLA compiles for
    CPU), and layers take their plain form (`jaxqc.nn.plain`). A loop of at most `LONGEST` passes becomes its passes;
    the bodies of longer ones stay as they are. What depends on no argument is computed here and now."""
    with form(True):
        closed, shape = jax.make_jaxpr(function, return_shape=True)(*shapes)
    structure = jax.tree.structure(shape)
    return lambda *arrays: jax.tree.unflatten(structure, _evaluated(closed.jaxpr, closed.consts, arrays))


def _evaluated(jaxpr: Jaxpr, constants: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
    values: dict[Any, Any] = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*constants, *arguments], strict=True))
    read = lambda atom: atom.val if isinstance(atom, Literal) else values[atom]
    for equation in jaxpr.eqns:
        inputs, name, params = [read(v) for v in equation.invars], equation.primitive.name, equation.params
        call, default = called(equation), default_platform(equation)
        if default is not None:
            results = [_Default(default)]
        elif call is not None and str(params.get("name", "")).startswith(OPERATIONS):
            body = ClosedJaxpr(call[0], call[1])
            results = operation_p.bind(*inputs, name=params["name"].removeprefix(OPERATIONS), body=body, settings=())
        elif name in WINDOWS and (settings := _window(equation)):
            body = jax.make_jaxpr(lambda *x, bind=equation.primitive.bind, params=params: bind(*x, **params))(*inputs)
            results = operation_p.bind(*inputs, name=name, body=body, settings=settings)
        elif name == "cond" and isinstance(inputs[0], _Default):
            branch = params["branches"][inputs[0]]
            results = _evaluated(branch.jaxpr, branch.consts, inputs[1:])
        elif call is not None:
            results = _evaluated(*call, inputs)
        elif name == "scan" and not is_symbolic_dim(params["length"]) and params["length"] <= LONGEST:
            results = _unrolled(equation, inputs)
        else:
            with _at_once(equation, inputs):
                results = _WRITTEN_OUT.get(name, equation.primitive.bind)(*inputs, **params)
            results = results if equation.primitive.multiple_results else [results]
        values.update(zip(equation.outvars, results, strict=True))
    return [read(v) for v in jaxpr.outvars]


def _at_once(equation: JaxprEqn, inputs: Sequence[Any]) -> contextlib.AbstractContextManager[Any]:
    """Within it, an equation of constants alone is computed while the rest is traced."""
    avals: list[Any] = [v.aval for v in equation.outvars]
    shapes = [aval.shape for aval in avals]
    spread = equation.primitive.name == "broadcast_in_dim" and len(shapes[0]) > MOST
    constant = bool(inputs) and not any(isinstance(x, Tracer) for x in inputs)
    left_open = any(is_symbolic_dim(n) for shape in shapes for n in shape)
    return jax.ensure_compile_time_eval() if constant and not spread and not left_open else contextlib.nullcontext()


def _window(equation: JaxprEqn) -> tuple[tuple[int, int], ...]:
    """The settings of a pooling as `operation_p` has them; () of another window."""
    params = equation.params
    window, strides, padding = (params[key] for key in ("window_dimensions", "window_strides", "padding"))
    spread = any(step != 1 for key in ("base_dilation", "window_dilation") for step in params[key])
    ends = window[0] == window[-1] == strides[0] == strides[-1] == 1 and not any((*padding[0], *padding[-1]))
    if len(window) != 4 or spread or not ends:
        return ()
    return tuple(window[1:3]), tuple(strides[1:3]), *zip(*padding[1:3], strict=True)


def _unrolled(equation: JaxprEqn, inputs: Sequence[Any]) -> list[Any]:
    """A loop's passes one after another, each written out flat."""
    length, reverse, jaxpr = (equation.params[key] for key in ("length", "reverse", "jaxpr"))
    # Constants, carried, scanned: JAX's versions name their numbers differently, but what is scanned has an axis more.
    same = lambda outer, inner: [v.aval.ndim == w.aval.ndim for v, w in zip(outer, inner, strict=True)]
    num_carry = sum(same(equation.outvars, jaxpr.jaxpr.outvars))
    first = sum(same(equation.invars, jaxpr.jaxpr.invars))
    consts, carry, over = inputs[: first - num_carry], inputs[first - num_carry : first], inputs[first:]
    stacked: list[list[Any]] = [[] for _ in jaxpr.jaxpr.outvars[num_carry:]]
    for i in reversed(range(length)) if reverse else range(length):
        at = [_taken(x, i) for x in over]
        results = _evaluated(jaxpr.jaxpr, jaxpr.consts, [*consts, *carry, *at])
        carry = results[:num_carry]
        for kept, value in zip(stacked, results[num_carry:], strict=True):
            kept.append(value)
    return [*carry, *(_stack(*(reversed(kept) if reverse else kept), axis=0) for kept in stacked)]


def _taken(array: Any, i: int) -> Any:
    constant = not isinstance(array, Tracer)
    with jax.ensure_compile_time_eval() if constant else contextlib.nullcontext():
        return lax.index_in_dim(array, i, 0, keepdims=False)


class _Default(int):
    """Number of the branch for all platforms that are not named."""
