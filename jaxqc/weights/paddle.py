"""PaddlePaddle's files of weights, read as NumPy arrays without Paddle and without running what a pickle asks for.

Such a file is one pickle of a mapping from names to arrays, or to pairs of an inner name and an array, beside a table
of inner names. The unpickler here makes arrays of plain numbers and tuples, and nothing else.
"""

import pickle
from codecs import encode
from pathlib import Path
from typing import Any

import numpy as np
from numpy._core.multiarray import _reconstruct  # pyright: ignore[reportPrivateUsage]

from jaxqc.errors import UserError

_GLOBALS: dict[tuple[str, str], Any] = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): encode,
    **{(module, "tuple"): tuple for module in ("builtins", "__builtin__")},
}
"""All that a file of arrays asks for, by either name of NumPy's core and of Python's built-in module."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """One of `_GLOBALS`."""
        if (module, name) not in _GLOBALS:
            raise UserError(f"holds more than arrays ({module}.{name}), which is never executed; save its state alone")
        return _GLOBALS[module, name]


def read_paddle(path: Path) -> dict[str, np.ndarray]:
    """Every array by its name.

    Raises:
      UserError: the content is more than arrays: nothing of it was run.
      ValueError: no mapping, or one without arrays.
    """
    with path.open("rb") as file:
        try:
            # Files of Python 2 have their strings' bytes as text of this encoding.
            content = _Unpickler(file, encoding="latin1").load()
        except UserError as e:
            raise UserError(f"{path}: {e}") from e
    if not isinstance(content, dict):
        raise ValueError("holds no mapping of arrays")
    found = {str(name): value[1] if isinstance(value, tuple) and len(value) == 2 else value
             for name, value in content.items()}  # fmt: skip
    arrays = {name: value for name, value in found.items() if isinstance(value, np.ndarray)}
    if not arrays:
        raise ValueError("holds no arrays by name")
    return arrays
