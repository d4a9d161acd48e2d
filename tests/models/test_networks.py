"""Parameter counts of the specification, shapes, folding, width, classes, dtype and synchronised statistics."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.errors import UserError
from jaxqc.nn.conv import Norm
from jaxqc.nn.fold import fold_batch_norm
from jaxqc.saliency.networks import NETWORKS, build

# Counts from the layer tables (MINet: arXiv 2405.16096; TSCARNet: our reading of the paper's modules).
MINET = {"encoder": 216_512, "decoder": 60_736, "side": 229}
TSCARNET = {
    "encoder": 216_512, "d": 60_736, "bam3": 4_610, "bam2": 1_282, "bam1": 1_282, "case": 35_939, "msrm3": 15_909,
    "lateral2": 1_600, "msrm2": 15_909, "lateral1": 800, "msrm1": 5_141, "prior": 2_656, "pifm3": 1_184,
    "pifm2": 1_184, "pifm1": 336, "head": 728, "side": 228,
}  # fmt: skip
ENCODER = {"e1": 464, "e2": 8_816, "e3": 32_224, "e4": 92_288, "e5": 82_720}


@functools.cache
def shapes(name: str, **kwargs: Any) -> dict[str, Any]:
    module = build(name, **kwargs)
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(0)}
    return dict(jax.eval_shape(lambda: module.init(keys, jnp.zeros((1, 64, 64, 3)), aux=True)))


def random_variables(name: str, **kwargs: Any) -> dict[str, Any]:
    """Variables with every statistic, scale and bias away from its start, and signals that stay of order one."""
    rng = np.random.default_rng(0)

    def draw(path: Any, leaf: Any) -> np.ndarray:
        last = path[-1].key
        value = rng.uniform(0.5, 1.0, leaf.shape) if last in ("scale", "var") else rng.normal(size=leaf.shape) * 0.1
        if last == "kernel":
            value = rng.normal(size=leaf.shape) / np.sqrt(np.prod(leaf.shape[:-1]))
        return value.astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes(name, **kwargs))


def count(tree: Any) -> int:
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))


def grouped(params: dict[str, Any], groups: dict[str, int]) -> dict[str, int]:
    """Counts by the longest group name that a module's name is or starts with (`d1`..`d5` → `d`)."""
    found = dict.fromkeys(groups, 0)
    for name, tree in params.items():
        stem = name if name in groups else name.split("_")[0].rstrip("12345")
        found[{"d": "decoder"}.get(stem, stem) if "decoder" in groups else stem] += count(tree)
    return found


def test_minet_has_277477_parameters() -> None:
    params = shapes("minet")["params"]
    assert grouped(params, MINET) == MINET
    assert count(params) == 277_477


def test_tscarnet_has_366036_parameters_module_by_module() -> None:
    params = shapes("tscarnet")["params"]
    assert grouped(params, TSCARNET) == TSCARNET
    assert count(params) == 366_036
    stages: dict[str, int] = dict.fromkeys(ENCODER, 0)
    for name, tree in params["encoder"].items():
        stages[name[:2]] += count(tree)
    assert stages == ENCODER


def test_classes_and_width_change_what_they_should() -> None:
    base, five = shapes("tscarnet")["params"], shapes("tscarnet", classes=5)["params"]
    # Two more branches DS(32, 32) and two more outputs of the 64-unit layer.
    assert count(five) - count(base) == 2 * (1_440 + 65)
    assert count(shapes("tscarnet", width=2.0)["params"]) > 3 * count(base)
    assert count(shapes("minet", width=0.5)["params"]) < 0.4 * 277_477


def test_output_shapes() -> None:
    variables = shapes("tscarnet")
    apply = lambda aux: jax.eval_shape(
        lambda v: build("tscarnet").apply(v, jnp.zeros((2, 96, 64, 3)), aux=aux), variables
    )
    out = {name: value.shape for name, value in apply(True).items()}
    assert out == {
        "map": (2, 96, 64), "final": (2, 96, 64), "class": (2, 3),
        "m1": (2, 48, 32), "m2": (2, 24, 16), "m3": (2, 12, 8),
        "b1": (2, 48, 32), "b2": (2, 24, 16), "b3": (2, 12, 8),
        "r2": (2, 24, 16), "r3": (2, 12, 8), "d4": (2, 6, 4), "d5": (2, 3, 2),
    }  # fmt: skip
    assert set(apply(False)) == {"map", "final", "class", "m1", "m2", "m3"}


@pytest.mark.slow  # tests/saliency/test_every_network.py folds each network quickly, without what only training has
@pytest.mark.parametrize("name", ["minet", "tscarnet"])
def test_folded_gives_the_same_outputs(name: str) -> None:
    variables = random_variables(name)
    image = jax.random.normal(jax.random.key(1), (2, 64, 64, 3))
    plain = jax.jit(lambda v, x: build(name).apply(v, x, aux=True))(variables, image)
    folded = jax.jit(lambda v, x: build(name, folded=True).apply(v, x, aux=True))(fold_batch_norm(variables), image)
    for key, value in plain.items():
        assert np.std(value) > 3e-4, f"{key} says nothing: the test's signals died out"
        np.testing.assert_allclose(folded[key], value, rtol=1e-5, atol=1e-5 * max(1, np.abs(value).max()), err_msg=key)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["minet", "tscarnet"])
def test_folding_is_exact_but_for_rounding(name: str) -> None:
    """In float64 nothing is left of the difference but the rounding of the outputs, which stay float32."""
    network = lambda folded: NETWORKS[name].build(3, 1.0, Norm(folded, dtype=jnp.float64), 0.5)
    with jax.enable_x64(True):
        variables = jax.tree.map(np.float64, random_variables(name))
        image = jax.random.normal(jax.random.key(1), (1, 32, 32, 3), jnp.float64)
        plain, folded = (
            jax.jit(network(fold).apply)(fold_batch_norm(variables) if fold else variables, image)
            for fold in (False, True)
        )
    for key, value in plain.items():
        np.testing.assert_allclose(folded[key], value, rtol=2.5e-7, atol=1e-9, err_msg=key)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["minet", "tscarnet"])
def test_bfloat16_keeps_float32_parameters_and_outputs(name: str) -> None:
    variables = random_variables(name, dtype="bfloat16")
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype("float32")}
    image = jax.random.normal(jax.random.key(1), (1, 64, 64, 3))
    half = jax.jit(lambda v, x: build(name, dtype="bfloat16").apply(v, x))(variables, image)
    assert {value.dtype for value in half.values()} == {jnp.dtype("float32")}


def test_bad_arguments_are_named() -> None:
    with pytest.raises(UserError, match="did you mean 'tscarnet'"):
        build("tscarnett")
    with pytest.raises(UserError, match=r"model\.dtype"):
        build("minet", dtype="float16")
    with pytest.raises(UserError, match="multiples of 32"):
        jax.eval_shape(lambda v: build("minet").apply(v, jnp.zeros((1, 60, 64, 3))), shapes("minet"))
