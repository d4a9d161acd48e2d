"""Reading traced programs: the body of a call, the branch of a platform, the FLOPs of products and convolutions."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.extend.core import Jaxpr, JaxprEqn, Literal

_CALLS = ("jit", "pjit", "closed_call", "core_call", "remat2", "checkpoint", "custom_jvp_call", "custom_vjp_call")
_BODIES = ("jaxpr", "call_jaxpr", "fun_jaxpr")


def called(equation: JaxprEqn) -> tuple[Jaxpr, Sequence[Any]] | None:
    """The body of an equation that only calls something, and its constants; None for every other equation."""
    if equation.primitive.name not in _CALLS:
        return None
    body: Any = next(equation.params[key] for key in _BODIES if key in equation.params)
    return getattr(body, "jaxpr", body), getattr(body, "consts", ())


def default_platform(equation: JaxprEqn) -> int | None:
    """The branch that `lax.platform_dependent` takes on platforms it does not name; None for every other equation."""
    if equation.primitive.name != "platform_index":
        return None
    return equation.params["platforms"].index(None)


def product_flops(function: Callable[..., Any], *shapes: Any) -> float:
    """FLOPs of the products and convolutions in a call of `function`, 2 a multiply-add, without running it.

    Model FLOPs: an operation counts if both its operands depend on an argument, so that a product with a constant
    matrix, as resizing is one, does not. Of `lax.platform_dependent` the default branch counts, of another condition
    the dearest; a `scan` as often as it passes, the body of a `while` once, and within a loop everything that depends
    on whatever goes into it. cuDNN's attention counts as its two products. Pixels that a convolution reads beyond the
    border count, those between dilated ones do not.
    """
    closed = jax.make_jaxpr(function)(*shapes)
    return _counted(closed.jaxpr, [True] * len(closed.jaxpr.invars))[0]


def _counted(jaxpr: Jaxpr, given: Sequence[bool]) -> tuple[float, list[bool]]:
    """FLOPs, and which results depend on an argument; `given` marks the inputs that do."""
    known: dict[Any, bool] = dict(zip(jaxpr.invars, given, strict=True))
    chosen: dict[Any, int] = {}
    read = lambda atom: not isinstance(atom, Literal) and known.get(atom, False)
    total = 0.0
    for equation in jaxpr.eqns:
        flags, params, name = [read(v) for v in equation.invars], equation.params, equation.primitive.name
        out = [any(flags)] * len(equation.outvars)
        call, branch = called(equation), default_platform(equation)
        if branch is not None:
            chosen[equation.outvars[0]] = branch
        elif call is not None:
            flops, out = _counted(call[0], flags)
            total += flops
        elif name == "cond":
            branches = params["branches"]
            default = None if isinstance(equation.invars[0], Literal) else chosen.get(equation.invars[0])
            taken = branches if default is None else branches[default : default + 1]
            counts = [_counted(b.jaxpr, flags[1:]) for b in taken]
            total += max(flops for flops, _ in counts)
            chance = default is None and flags[0]
            out = [chance or any(each) for each in zip(*(found for _, found in counts), strict=True)]
        elif name in ("scan", "while"):
            body = params["jaxpr"] if name == "scan" else params["body_jaxpr"]
            inner = flags[params["cond_nconsts"] :] if name == "while" else flags
            total += params.get("length", 1) * _counted(body.jaxpr, [f or any(inner) for f in inner])[0]
        elif all(flags[:2]):  # of more operands than two, as cuDNN's attention has them, the first are the factors
            total += _own(equation)
        known.update(zip(equation.outvars, out, strict=True))
    return total, [read(v) for v in jaxpr.outvars]


def _own(equation: JaxprEqn) -> float:
    """FLOPs of a product or a convolution; 0 of every other equation."""
    shape: Callable[[Any], tuple[int, ...]] = lambda atom: atom.aval.shape
    size, params = math.prod(shape(equation.outvars[0])), equation.params
    if equation.primitive.name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        return 2.0 * size * math.prod(shape(equation.invars[0])[axis] for axis in contracted)
    if equation.primitive.name == "conv_general_dilated":
        kernel, outputs = shape(equation.invars[1]), params["dimension_numbers"].rhs_spec[0]
        return 2.0 * size * math.prod(kernel) / kernel[outputs] / math.prod(params["lhs_dilation"])
    if equation.primitive.name.startswith("dot_product_attention_fwd"):  # [n t h d] of queries, [n s h d] of keys
        return 4.0 * math.prod(shape(equation.invars[0])) * shape(equation.invars[1])[1]
    return 0.0
