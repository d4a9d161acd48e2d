"""The chunked inference pass: the same result as the whole batch, on either form of the network."""

import jax
import numpy as np
import pytest

from benchmarks.lib.networks import random_variables
from jaxqc.saliency.forward import CHUNK, infer
from jaxqc.saliency.networks import build
from tests.support.tiny_run import TinyNet

SIDE = 32


@pytest.fixture(scope="module", params=["tiny", pytest.param("tscarnet", marks=pytest.mark.slow)])
def network_and_variables(request):
    network = TinyNet(3) if request.param == "tiny" else build("tscarnet", 3, 0.25)
    return network, random_variables(network, varied=True)


@pytest.mark.parametrize("n", [CHUNK - 1, 2 * CHUNK, 2 * CHUNK + 1])
def test_chunks_equal_single_images(network_and_variables, n):
    network, variables = network_and_variables
    image = jax.random.normal(jax.random.key(2), (n, SIDE, SIDE, 3))
    run = jax.jit(lambda v, x: infer(network, v, x, ("m1", "m2", "m3")))
    found = run(variables, image)
    assert {k: v.shape[0] for k, v in found.items()} == dict.fromkeys(("map", "m1", "m2", "m3", "class"), n)
    one = [run(variables, image[i : i + 1]) for i in range(n)]
    for name, value in found.items():
        np.testing.assert_allclose(value, np.concatenate([o[name] for o in one]), atol=1e-5)
