"""Runtimes that run a graph in XLA's place: a file each in this package, and a line in `ENGINES`."""

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from jaxqc.errors import UserError, suggest
from jaxqc.lazy import Late

XLA = "xla"
Run = Callable[[np.ndarray], dict[str, np.ndarray]]
"""Images [n h w 3], as the graph takes them, → its outputs by name."""
ENGINES: Mapping[str, Callable[[Path], Run]] = {
    "openvino": Late("jaxqc.export.engines.openvino", "opened"),
    "onnxruntime": Late("jaxqc.export.engines.onnxruntime", "opened"),
}
"""By the name of its Python package, the faster one first: (ONNX file) → the run of its graph."""
EXTRAS = {"openvino": "openvino", "onnxruntime": "onnx"}
"""The extra of jaxqc that brings an engine."""


def checked(name: str) -> str:
    """An engine's name, once it is one and installed; `xla` always is.

    Raises:
      UserError: it is not.

    Examples:
      >>> checked("xla")
      'xla'
      >>> checked("openvine")
      Traceback (most recent call last):
      jaxqc.errors.UserError: --engine: 'openvine' is none (did you mean 'openvino'?)
    """
    if name == XLA:
        return name
    if name not in ENGINES:
        raise UserError(f"--engine: {name!r} is none{suggest(name, (XLA, *ENGINES))}")
    if not installed(name):
        raise UserError(f"--engine {name}: it is not installed; pip install 'jaxqc[{EXTRAS[name]}]'")
    return name


def installed(name: str) -> bool:
    """True where an engine's package is there.

    Examples:
      >>> installed("none_of_these")
      False
    """
    return importlib.util.find_spec(name) is not None
