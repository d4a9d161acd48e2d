"""Products of whole maps, with their gradients, in float64."""

import jax
import numpy as np
import pytest

from jaxqc.nn.whole import back_to_map, to_map, to_numbers

WAYS = {
    "to_numbers": (to_numbers, "nhwi,hwio->no", (2, 3, 4, 5), (3, 4, 5, 6)),
    "to_map": (to_map, "nz,zhwo->nhwo", (2, 6), (6, 3, 4, 5)),
    "back_to_map": (back_to_map, "nz,hwoz->nhwo", (2, 6), (3, 4, 5, 6)),
}


@pytest.mark.parametrize("name", WAYS)
def test_a_product_is_that_of_its_sum_and_so_are_its_gradients(name, rng):
    way, said, *shapes = WAYS[name]
    (first, second), third = said.split("->")[0].split(","), said.split("->")[1]
    x, kernel = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
    y = np.einsum(said, x.astype(np.float64), kernel)
    g = rng.normal(size=y.shape).astype(np.float32)
    expected = (
        y,
        np.einsum(f"{third},{second}->{first}", g.astype(np.float64), kernel),
        np.einsum(f"{first},{third}->{second}", x.astype(np.float64), g),
    )
    value, pull = jax.vjp(jax.jit(way), x, kernel)
    for found, one in zip((value, *pull(g)), expected, strict=True):
        np.testing.assert_allclose(found, one, atol=1e-5)
