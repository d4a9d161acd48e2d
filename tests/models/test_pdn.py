"""Networks of descriptions: parameter counts as published, files there and back, what is not padded, thinned grids."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.errors import UserError
from jaxqc.models.backbones import build, family
from jaxqc.models.pdn import PDNS, POOL, Pdn, PdnSpec
from tests.support.drawn import drawn


@pytest.mark.parametrize(
    ("name", "teacher", "student"), [("pdn_small", 2_694_144, 4_267_392), ("pdn_medium", 8_026_624, 11_615_488)]
)
def test_parameters_are_as_many_as_published(name, teacher, student):
    image = jax.ShapeDtypeStruct((1, 256, 256, 3), jnp.float32)
    for spec, expected in ((PDNS[name], teacher), (PDNS[name].doubled(), student)):
        shapes = jax.eval_shape(Pdn(spec).init, jax.random.key(0), image)
        assert sum(x.size for x in jax.tree.leaves(shapes)) == expected
        assert jax.eval_shape(Pdn(spec).apply, shapes, image)["layer1"].shape == (1, 56, 56, spec.channels)


@pytest.mark.parametrize(("name", "count"), [("pdn_17", 2_996_480), ("pdn_33", 1_609_856), ("pdn_65", 1_386_624)])
def test_those_of_uninformed_students_are_as_large_as_published_and_cover_the_image(name, count):
    network, image = build(name, (1,)), jax.ShapeDtypeStruct((1, 256, 256, 3), jnp.float32)
    shapes = jax.eval_shape(network.init, jax.random.key(0), image)
    assert sum(x.size for x in jax.tree.leaves(shapes)) == count
    assert jax.eval_shape(network.apply, shapes, image)["layer1"].shape == (1, 64, 64, 128)


@pytest.mark.parametrize("pool", ["max", "mean"])
def test_a_cell_of_any_stride_is_the_description_of_its_patch_alone(rng, pool):
    """Alone, a patch passes poolings of stride 2 and no dilation."""
    spec = PdnSpec(((4, 3), POOL, (5, 3), POOL, (6, 2), POOL, (3, 2)), slope=5e-3, pool=pool, stride=8)
    image = jnp.asarray(rng.normal(size=(1, 48, 48, 3)), jnp.float32)
    variables, run = (
        drawn(Pdn(spec), image),
        jax.jit(lambda spec, v, x: Pdn(spec).apply(v, x)["layer1"], static_argnums=0),
    )
    for stride in (1, 2, 4, 8):
        grid = run(replace(spec, stride=stride), variables, image)
        for i, j in ((0, 0), (1, 2), (grid.shape[1] - 1, 0)):
            top, left = stride * i, stride * j
            patch = image[:, top : top + spec.field, left : left + spec.field]
            np.testing.assert_allclose(grid[0, i, j], run(spec, variables, patch)[0, 0, 0], atol=1e-5)
    before, total = (spec.field - 4) // 2, spec.field - 4
    padded = np.pad(image, ((0, 0), (before, total - before), (before, total - before), (0, 0)))
    whole, four = run(replace(spec, stride=4, padded=True), variables, image), replace(spec, stride=4)
    assert whole.shape == (1, 12, 12, 3)
    np.testing.assert_allclose(whole, run(four, variables, jnp.asarray(padded)), atol=1e-5)


def test_files_come_back_and_other_models_are_named():
    network = build("pdn_tiny", (1,))
    variables = drawn(network, jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32))
    arrays = family("pdn_tiny").export(variables, "pdn_tiny")
    assert arrays["conv2.weight"].shape == (64, 32, 4, 4)
    again, report = family("pdn_tiny").convert(arrays, "pdn_tiny", (1,))
    jax.tree.map(np.testing.assert_array_equal, again, dict(variables))
    assert report.used == 8
    with pytest.raises(UserError, match=r"conv1\.bias: shape \(32,\) in the file, \(128,\) in pdn_small"):
        family("pdn_small").convert(arrays, "pdn_small")
    with pytest.raises(UserError, match=r"the file lacks 1 arrays that are needed: conv4\.bias"):
        family("pdn_tiny").convert({k: v for k, v in arrays.items() if k != "conv4.bias"}, "pdn_tiny")
    with pytest.raises(UserError, match="layers: 2; take 1, the only one"):
        build("pdn_tiny", (2,))


def test_a_description_sees_33_pixels_and_nothing_else(rng):
    network = build("pdn_tiny", (1,))
    image = jnp.asarray(rng.normal(size=(1, 64, 64, 3)), jnp.float32)
    variables = drawn(network, image)
    at = lambda x: network.apply(variables, x)["layer1"][0, 4, 4].sum()
    seen = np.flatnonzero(np.abs(jax.jit(jax.grad(at))(image)[0]).sum((1, 2)))
    assert (seen[0], seen[-1]) == (16, 48)
