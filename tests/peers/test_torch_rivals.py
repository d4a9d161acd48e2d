"""The rivals of TSCARNet against PyTorch's renderings, with shared random weights."""

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the peers need PyTorch (extra: peers)")

from benchmarks.lib.networks import random_variables
from benchmarks.peers.torch_gcranet import gcranet
from benchmarks.peers.torch_rivals import RIVALS
from jaxqc.saliency.networks import build

torch.set_num_threads(1)
PEERS = {**RIVALS, "gcranet": gcranet}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PEERS))
def test_all_outputs_are_pytorchs(name: str) -> None:
    network = build(name, 3, 0.5)
    variables = random_variables(network, 1, varied=True)
    image = np.random.default_rng(2).normal(size=(2, 96, 64, 3)).astype(np.float32)
    run = jax.jit(lambda v, x: network.apply(v, x, aux=True)).lower(variables, image)
    ours = run.compile({"xla_backend_optimization_level": 1})(variables, image)
    with torch.no_grad():
        theirs = PEERS[name]({"batch_stats": {}, **variables}, torch.from_numpy(image).permute(0, 3, 1, 2))
    assert set(ours) == set(theirs)
    for key, value in ours.items():
        assert np.std(value) > 1e-4, f"{key} says nothing"
        np.testing.assert_allclose(theirs[key].numpy(), value, atol=1e-4, rtol=1e-4, err_msg=key)
