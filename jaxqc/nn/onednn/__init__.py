"""Convolutions of oneDNN on CPU, where the extra `onednn` and a C++ compiler are installed (docs/guide/devices)."""

from jaxqc.nn.onednn.calls import Geometry, convolve, has, implementation, input_gradient, kernel_gradient, on

__all__ = ["Geometry", "convolve", "has", "implementation", "input_gradient", "kernel_gradient", "on"]
