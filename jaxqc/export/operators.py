"""The operations of the plain form as ONNX nodes: a plugin of jax2onnx.

Each works on NCHW, with a transpose on each side that `jaxqc.export.fusing` takes away where neighbours agree.
"""

import importlib
from functools import cache
from typing import Any

import numpy as np
from jax.export import is_symbolic_dim

from jaxqc.export.inline import WINDOWS, operation_p

RESIZES: dict[str, dict[str, str]] = {
    "resize_half_pixel": {"mode": "linear", "coordinate_transformation_mode": "half_pixel"},
    "resize_align_corners": {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
    "resize_nearest": {
        "mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"
    },
}  # fmt: skip
"""Attributes of `Resize` by the operation's name."""
POOLS: dict[str, tuple[str, dict[str, Any]]] = {
    "max3x3": ("MaxPool", {"strides": (1, 1)}),
    "max3x3_halved": ("MaxPool", {"strides": (2, 2)}),
    "avg3x3": ("AveragePool", {"strides": (1, 1), "count_include_pad": 0}),
}
"""Operator and attributes of a 3x3 pooling by the operation's name."""

TRANSPOSED = {"transposed4x4": {"strides": (2, 2), "pads": (1, 1, 1, 1)}}
"""Attributes of a transposed convolution by the operation's name. The converter's own takes no strides."""
GATHERS = frozenset({"channels"})
"""Operations that take channels by their numbers, the second operand."""
NAMES = frozenset({*RESIZES, *POOLS, *WINDOWS, *TRANSPOSED, *GATHERS, "softmax"})


@cache
def register() -> None:
    """Makes the operations known to jax2onnx. Needs the extra `onnx`."""
    system = importlib.import_module("jax2onnx.plugins.plugin_system")

    stamp = importlib.import_module("jax2onnx.plugins._ir_shapes")._stamp_type_and_shape

    def lower(self: Any, ctx: Any, equation: Any) -> None:
        name, (given, *more), (out,) = equation.params["name"], equation.invars, equation.outvars
        if name not in NAMES:
            raise NotImplementedError(f"primitive '{operation_p.name}' {name}")
        value = ctx.get_value_for_var(given)
        if given.aval.ndim == 2 and name == "softmax":
            found = ctx.builder.Softmax(value, _outputs=[ctx.fresh_name(name)], axis=1)
            found.type = value.type
            stamp(found, given.aval.shape)
            ctx.bind_value_for_var(out, found)
            return
        n, height, width, c = given.aval.shape
        rows, columns, channels = out.aval.shape[1:]

        def typed(result: Any, *shape: Any) -> Any:
            result.type = value.type
            stamp(result, shape)
            return result

        x = ctx.builder.Transpose(value, _outputs=[ctx.fresh_name("first")], perm=(0, 3, 1, 2))
        x = typed(x, n, c, height, width)
        if name in RESIZES:
            x = _resized(ctx, x, name, (n, c, rows, columns))
        elif name in POOLS:
            x = _pooled(ctx, x, name)
        elif name in WINDOWS:
            x = _windowed(ctx, x, typed, (n, c, rows, columns), name, equation.params["settings"])
        elif name == "softmax":
            x = ctx.builder.Softmax(x, _outputs=[ctx.fresh_name(name)], axis=1)
        elif name in GATHERS:
            x = ctx.builder.Gather(x, ctx.get_value_for_var(more[0]), _outputs=[ctx.fresh_name(name)], axis=1)
        else:
            sides, kernel = more[0].aval.shape, ctx.get_value_for_var(more[0])
            kernel = ctx.builder.Transpose(kernel, _outputs=[ctx.fresh_name("kernel")], perm=(2, 3, 0, 1))
            kernel = typed(kernel, *sides[2:], *sides[:2])
            x = ctx.builder.ConvTranspose(x, kernel, _outputs=[ctx.fresh_name(name)], **TRANSPOSED[name])
        x = typed(x, n, channels, rows, columns)
        x = ctx.builder.Transpose(x, _outputs=[ctx.fresh_name("last")], perm=(0, 2, 3, 1))
        ctx.bind_value_for_var(out, typed(x, n, rows, columns, channels))

    plugin = type("OperationPlugin", (system.PrimitiveLeafPlugin,), {"lower": lower})
    system.register_primitive(jaxpr_primitive=operation_p.name, context="jaxqc", component="operation")(plugin)


def _resized(ctx: Any, x: Any, name: str, shape: tuple[Any, ...]) -> Any:
    """shape: of the result. Its number of images, where it is open, is that of x. Sizes of rows and columns alone would
    do by the standard, but onnxruntime's moving of transposes takes them for those of all axes."""
    array = lambda values: ctx.builder.add_initializer_from_array(
        name=ctx.fresh_name("sizes"), array=np.array([int(n) for n in values], np.int64)
    )
    if is_symbolic_dim(shape[0]):
        images = ctx.builder.Shape(x, _outputs=[ctx.fresh_name("images")], start=0, end=1)
        images.type = importlib.import_module("onnx_ir").TensorType(array([0]).type.dtype)
        sizes = ctx.builder.Concat(images, array(shape[1:]), _outputs=[ctx.fresh_name("sizes")], axis=0)
        sizes.type = images.type
    else:
        sizes = array(shape)
    return ctx.builder.Resize(x, None, None, sizes, _outputs=[ctx.fresh_name(name)], **RESIZES[name])


def _pooled(ctx: Any, x: Any, name: str) -> Any:
    kind, more = POOLS[name]
    make = getattr(ctx.builder, kind)
    return make(x, _outputs=[ctx.fresh_name(name)], kernel_shape=(3, 3), pads=(1, 1, 1, 1), **more)


def _windowed(ctx: Any, x: Any, typed: Any, shape: tuple[Any, ...], name: str, settings: tuple[Any, ...]) -> Any:
    """A sum over windows is their mean, zeros around included, times their size."""
    window, strides, before, behind = settings
    own: dict[str, Any] = {"kernel_shape": window, "strides": strides, "pads": (*before, *behind)}
    if name == "reduce_window_max":
        return ctx.builder.MaxPool(x, _outputs=[ctx.fresh_name(name)], **own)
    mean = typed(ctx.builder.AveragePool(x, _outputs=[ctx.fresh_name(name)], count_include_pad=1, **own), *shape)
    count = ctx.builder.add_initializer_from_array(
        name=ctx.fresh_name("count"), array=np.array(window[0] * window[1], np.float32)
    )
    return ctx.builder.Mul(mean, count, _outputs=[ctx.fresh_name("sum")])
