"""A convolution and its two gradients as calls of oneDNN. All are linear in both arrays, and each other's gradients.

y = convolve(x, kernel)          dx = input_gradient(kernel, dy)          dkernel = kernel_gradient(x, dy)
"""

import ctypes
import functools
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxqc.nn.onednn.build import library

WORKS = ("convolve", "input_gradient", "kernel_gradient")
_TARGETS: dict[str, str] = dict(zip(WORKS, ("JaxqcConvolve", "JaxqcInputGradient", "JaxqcKernelGradient"), strict=True))
_NAME_ROOM, _FEW_TAPS = 64, 9
_GENERATED, _DEPTHWISE = ("jit", "br"), "_dw"
"""Parts of the names of oneDNN's implementations. Others are its reference, or go by columns and a matrix product."""

on = jax.make_user_context(default_value=True)
"""`with on(False)`: what is traced within has no call of oneDNN, such as a model that is exported."""


class Geometry(NamedTuple):
    """The sizes of a convolution: images [n h w i], kernel [kh kw i/groups o], outputs [n oh ow o].

    top, left: rows and columns of zeros before an image; those behind follow from the size of the output.
    """

    image: tuple[int, ...]
    kernel: tuple[int, ...]
    output: tuple[int, ...]
    stride: int
    dilation: int
    groups: int
    top: int
    left: int


def has(work: str, geometry: Geometry) -> bool:
    """True where oneDNN is in use and has fast code for that: generated, and for a channel a group made for such.

    work: one of `WORKS`.
    """
    if not on.value or library() is None:
        return False
    name, taps = implementation(work, geometry), geometry.kernel[0] * geometry.kernel[1]
    # Dilated, a channel a group goes by code for all groups: slow, but for gradients of few taps faster than a loop.
    made = geometry.groups == 1 or _DEPTHWISE in name or (work == "kernel_gradient" and taps <= _FEW_TAPS)
    return name.startswith(_GENERATED) and made


@functools.cache
def implementation(work: str, geometry: Geometry) -> str:
    """The name of oneDNN's kernel; "" where it has none, or is not in use."""
    kernels = library()
    if kernels is None:
        return ""
    image, kernel, output, *steps = geometry
    sizes = (*image, *kernel[:2], *output[1:], *steps)
    name = ctypes.create_string_buffer(_NAME_ROOM)
    kernels.JaxqcImplementation(
        ctypes.c_int64(WORKS.index(work)), (ctypes.c_int64 * len(sizes))(*sizes), name, ctypes.c_int64(_NAME_ROOM)
    )
    return name.value.decode()


def _call(work: str, shape: Sequence[int], a: jax.Array, b: jax.Array, geometry: Geometry) -> jax.Array:
    steps = ("stride", "dilation", "groups", "top", "left")
    options: dict[str, Any] = {name: np.int64(getattr(geometry, name)) for name in steps}
    result = jax.ShapeDtypeStruct(tuple(shape), a.dtype)
    return jax.ffi.ffi_call(_TARGETS[work], result, vmap_method="sequential")(a, b, **options)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def convolve(x: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    """The outputs [n oh ow o] of images [n h w i] and a kernel [kh kw i/groups o], float32."""
    return _call("convolve", geometry.output, x, kernel, geometry)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def input_gradient(kernel: jax.Array, dy: jax.Array, geometry: Geometry) -> jax.Array:
    """The gradient [n h w i] for the images, from that of the outputs."""
    return _call("input_gradient", geometry.image, kernel, dy, geometry)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def kernel_gradient(x: jax.Array, dy: jax.Array, geometry: Geometry) -> jax.Array:
    """The gradient [kh kw i/groups o] for the kernel, from that of the outputs."""
    return _call("kernel_gradient", geometry.kernel, x, dy, geometry)


def _kept(function: Any) -> Any:
    return lambda a, b, geometry: (function(a, b, geometry), (a, b))


convolve.defvjp(
    _kept(convolve),
    lambda geometry, kept, dy: (input_gradient(kept[1], dy, geometry), kernel_gradient(kept[0], dy, geometry)),
)
input_gradient.defvjp(
    _kept(input_gradient),
    lambda geometry, kept, dx: (kernel_gradient(dx, kept[1], geometry), convolve(dx, kept[0], geometry)),
)
kernel_gradient.defvjp(
    _kept(kernel_gradient),
    lambda geometry, kept, dk: (input_gradient(dk, kept[1], geometry), convolve(kept[0], dk, geometry)),
)
