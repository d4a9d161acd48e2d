"""Annotations that are wrong are found: by `make test-shapes` in jaxqc, and in any module by the same hook."""

import importlib
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from jaxqc.metrics.regions import disk
from jaxqc.nn.resizing import resize, upsample2x
from tests.support.shapes import check_annotations

checked = pytest.mark.skipif(not os.environ.get("JAXQC_SHAPES"), reason="annotations are checked by make test-shapes")

MODULE = """
from jaxtyping import Array, Float

def sides(x: Float[Array, "n h w"]) -> Float[Array, "n w h"]:
    return x

def doubled(x: Float[Array, "n"], size: int) -> Float[Array, "{size}"]:
    return x

def counted(x: Float[Array, "n"]) -> int:
    return x.shape
"""


@checked
@pytest.mark.parametrize("image", [np.zeros((1, 4, 4), np.float32), np.zeros((1, 4, 4, 3), np.uint8)])
def test_jaxqc_refuses_another_shape_or_dtype(image: np.ndarray) -> None:
    with pytest.raises(TypeCheckError, match="parameters of jaxqc"):
        resize(jnp.asarray(image), 8, 8)


@checked
def test_jaxqc_is_checked_within_compiled_functions_too() -> None:
    with pytest.raises(TypeCheckError, match="parameters of jaxqc"):
        jax.jit(jax.vmap(upsample2x))(jnp.zeros((2, 4, 4, 3)))


@checked
def test_jaxqc_refuses_another_type() -> None:
    with pytest.raises(TypeCheckError, match="parameters of jaxqc"):
        disk("3")  # type: ignore[arg-type]


def test_a_wrong_annotation_of_a_result_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wrong_shapes.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    check_annotations("wrong_shapes")
    wrong = importlib.import_module("wrong_shapes")
    assert wrong.sides(jnp.zeros((1, 4, 4))).shape == (1, 4, 4)  # a square hides the fault
    with pytest.raises(TypeCheckError, match="return value"):
        wrong.sides(jnp.zeros((1, 4, 5)))
    with pytest.raises(TypeCheckError, match="return value"):
        wrong.doubled(jnp.zeros(3), 6)
    with pytest.raises(TypeCheckError, match="return value"):
        wrong.counted(jnp.zeros(3))
