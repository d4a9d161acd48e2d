"""The distance between two runs of one model, and the one allowed."""

from collections.abc import Mapping

import numpy as np

from jaxqc.errors import UserError

TOLERANCE = {"float32": 1e-4, "bfloat16": 3e-2}
"""Largest difference by compute dtype: of values in [0, 1] absolute, of others (distances, scores) relative to the
largest one. Sums of another order explain some 1e-6; a twentieth of a grey level (1e-4) is below what any threshold on
8-bit maps can show."""
SHARE = 1e-3
"""Largest share of pixels whose label or mask differs. A value at the threshold may fall to either side, and the
opening of a mask passes that on to its neighbours."""


def differences(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> dict[str, float]:
    """By output: the largest difference of numbers (NaN where one is), or the share of labels that differ.

    Raises:
      ValueError: outputs or shapes that are not the same.

    Examples:
      >>> found = {"map": np.array([0.5, 0.75]), "label": np.array([1, 2])}
      >>> differences(found, {"map": np.array([0.5, 0.5]), "label": np.array([1, 1])})
      {'map': 0.25, 'label': 0.5}
    """
    if found.keys() != expected.keys():
        raise ValueError(f"outputs {sorted(found)}, expected {sorted(expected)}")
    for name, value in expected.items():
        if found[name].shape != value.shape:
            raise ValueError(f"{name} is {found[name].shape}, expected {value.shape}")
    return {name: _difference(found[name], value) for name, value in expected.items()}


def outside(apart: Mapping[str, float], expected: Mapping[str, np.ndarray], tolerance: float) -> list[str]:
    """Outputs too far apart, a line each; empty where all is well. A NaN is never well.

    Examples:
      >>> outside({"map": 0.0}, {"map": np.zeros(2, np.float32)}, tolerance=1e-3)
      []
    """
    limits = {name: tolerance if value.dtype.kind == "f" else SHARE for name, value in expected.items()}
    return [f"{name}: {apart[name]:.1e} > {limit:.0e}" for name, limit in limits.items() if not apart[name] <= limit]


def _difference(found: np.ndarray, expected: np.ndarray) -> float:
    if not expected.size:
        return 0.0
    if expected.dtype.kind != "f":
        return float(np.mean(found != expected))
    scale = max(1.0, float(np.abs(expected).max()))
    return float(np.abs(found.astype(np.float64) - expected).max() / scale)


def compare(
    name: str, found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], dtype: str = "float32"
) -> None:
    """Raises UserError where an engine's outputs are further from XLA's than `TOLERANCE` allows.

    Examples:
      >>> compare("openvino", {"map": np.ones(1, np.float32)}, {"map": np.zeros(1, np.float32)})
      Traceback (most recent call last):
      jaxqc.errors.UserError: --engine openvino: differs from XLA (map: 1.0e+00 > 1e-04); leave --engine out
    """
    if far := outside(differences(found, expected), expected, TOLERANCE[dtype]):
        raise UserError(f"--engine {name}: differs from XLA ({'; '.join(far)}); leave --engine out")
