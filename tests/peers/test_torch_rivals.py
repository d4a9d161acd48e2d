"""The rivals of TSCARNet against PyTorch's renderings, with shared random weights."""

from functools import partial
from typing import Any

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the peers need PyTorch (extra: peers)")

from benchmarks.lib.networks import random_variables
from benchmarks.peers.torch_gcranet import gcranet
from benchmarks.peers.torch_rivals import RIVALS
from jaxqc.models import corrnet_names, uctransnet_names
from jaxqc.models.arrays import flatten, put
from jaxqc.models.corrnet_names import convert_corrnet, export_corrnet
from jaxqc.models.pp_liteseg_names import convert_pp_liteseg, export_pp_liteseg
from jaxqc.models.pp_liteseg_names import places as pp_places
from jaxqc.models.uctransnet_names import convert_uctransnet, export_uctransnet
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


PUBLISHED = {
    "corrnet": (export_corrnet, convert_corrnet),
    "pp_liteseg_t": (partial(export_pp_liteseg, size="t"), partial(convert_pp_liteseg, "t")),
    "uctransnet": (export_uctransnet, convert_uctransnet),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_a_published_state_dict_gives_pytorchs_map(name: str) -> None:
    """With the biases before batch norms that a file has: PyTorch adds them, ours take them off the running means."""
    network, (export, convert) = build(name, 1, 0.25), PUBLISHED[name]
    variables, rng = random_variables(network, 1, varied=True), np.random.default_rng(3)
    arrays = export(variables)
    biased = {kind: dict(tree) for kind, tree in variables.items()}
    flat = flatten(variables)
    added = 0
    for path, value in flat.items():
        if path[-1] != "mean":
            continue
        # The bias's name is that which the variable's own bias would have: the module before the batch norm.
        names = [part.less for part in places_of(name)(path, value.shape) if part.less]
        if names:
            bias = rng.normal(size=value.shape).astype(np.float32)
            arrays[names[0]] = bias
            put(biased, ("params", *path[1:-2], "bias"), bias)
            added += 1
    assert added == {"corrnet": 7, "pp_liteseg_t": 4, "uctransnet": 21}[name]
    found, _ = convert(arrays, network)
    image = rng.normal(size=(2, 96, 64, 3)).astype(np.float32)
    run = jax.jit(lambda v, x: network.apply(v, x)["map"]).lower(found, image)
    ours = run.compile({"xla_backend_optimization_level": 1})(found, image)
    with torch.no_grad():
        theirs = PEERS[name](biased, torch.from_numpy(image).permute(0, 3, 1, 2))["map"]
    assert np.std(ours) > 1e-4
    np.testing.assert_allclose(theirs.numpy(), ours, atol=1e-4, rtol=1e-4)


def places_of(name: str) -> Any:
    return {"corrnet": corrnet_names.places, "uctransnet": uctransnet_names.places}.get(name) or pp_places("t")
