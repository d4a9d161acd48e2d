"""Networks of descriptions: parameter counts as published, files there and back, what is not padded."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.errors import UserError
from jaxqc.models.backbones import build, family
from jaxqc.models.pdn import PDNS, Pdn
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
