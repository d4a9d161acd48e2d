"""A Gaussian pyramid's steps against SciPy's filters."""

import numpy as np
import pytest
from scipy.ndimage import correlate1d

from jaxqc.nn.pyramid import along_both, doubling, halving

BINOMIAL = np.array([1, 4, 6, 4, 1]) / 16
SCIPY = {"reflect": "mirror", "symmetric": "reflect"}


@pytest.mark.parametrize("edge", SCIPY)
@pytest.mark.parametrize("side", [2, 8, 12])
def test_a_half_is_the_blurred_images_every_second_pixel(rng, side, edge):
    x = rng.uniform(size=(2, side, 6, 3)).astype(np.float32)
    wanted = x.astype(np.float64)
    for axis in (1, 2):
        wanted = correlate1d(wanted, BINOMIAL, axis, mode=SCIPY[edge])
    found = along_both(x, halving(side, edge), halving(6, edge))
    np.testing.assert_allclose(found, wanted[:, ::2, ::2], atol=1e-6)


def test_a_double_is_the_blur_of_values_with_zeros_between(rng):
    x, apart = rng.uniform(size=5), np.zeros(10)
    apart[::2] = x
    np.testing.assert_allclose(doubling(10) @ x, correlate1d(apart, 2 * BINOMIAL, mode="mirror"), atol=1e-12)
