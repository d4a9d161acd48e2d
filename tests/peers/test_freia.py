"""Couplings beside FrEIA's, with shared weights: output, log-determinant and inverse."""

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the peers need PyTorch (extra: peers)")
modules = pytest.importorskip("FrEIA.modules", reason="needs FrEIA (extra: peers)")

from jaxqc.anomaly.detectors.flow import FlowConfig
from jaxqc.anomaly.flow.coupling import order, rotation
from jaxqc.anomaly.flow.network import flow_of

torch.set_num_threads(1)


def subnet(kernel):
    """Two convolutions with ReLU between them, of twice as many channels."""
    conv = lambda a, b: torch.nn.Conv2d(a, b, kernel, padding=kernel // 2)
    return lambda a, b: torch.nn.Sequential(conv(a, 2 * a), torch.nn.ReLU(), conv(2 * a, b))


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("permutation", ["hard", "soft"])
def test_one_sided_is_the_all_in_one_block(kernel, permutation, rng):
    channels, clamp = 7, 1.7
    theirs = modules.AllInOneBlock([(channels, 4, 5)], [], subnet(kernel), clamp, permute_soft=permutation == "soft")
    config = FlowConfig(blocks=(1,), kernels=(kernel,), hidden=2.0, clamp=clamp, permutation=permutation)
    flow = flow_of(config, ((4, 5, channels),))
    x = rng.normal(size=(2, 4, 5, channels)).astype(np.float32)
    variables = flow.init(jax.random.key(0), (x,), ((),))
    varied = lambda leaf: leaf + 0.3 * rng.normal(size=leaf.shape).astype(np.float32)
    params = jax.tree.map(varied, variables["params"])["couplings_0"]
    tensor = lambda x: torch.from_numpy(np.asarray(x).copy())
    perm = rotation(channels, 0) if permutation == "soft" else np.eye(channels, dtype=np.float32)[order(channels, 0)]
    with torch.no_grad():
        theirs.global_scale.copy_(tensor(params["scale"]).reshape(1, -1, 1, 1))
        theirs.global_offset.copy_(tensor(params["offset"]).reshape(1, -1, 1, 1))
        theirs.w_perm.copy_(tensor(perm)[..., None, None])
        theirs.w_perm_inv.copy_(tensor(perm.T)[..., None, None])
        for place, name in ((0, "conv0"), (2, "conv1")):
            conv, own = theirs.subnet[place], params["net"][name]
            conv.weight.copy_(tensor(own["kernel"]).permute(3, 2, 0, 1))
            conv.bias.copy_(tensor(own["bias"]))
        (z,), det = theirs([tensor(x).permute(0, 3, 1, 2)])
        (back,), _ = theirs([z], rev=True)
    (ours,), (cells,) = flow.apply({"params": {"couplings_0": params}}, (x,), ((),))
    np.testing.assert_allclose(ours, z.permute(0, 2, 3, 1), atol=1e-5)
    np.testing.assert_allclose(cells.sum((1, 2)), det, rtol=1e-5)
    (again,) = flow.apply({"params": {"couplings_0": params}}, (ours,), ((),), method="inverse")
    np.testing.assert_allclose(again, back.permute(0, 2, 3, 1), atol=1e-4)


def test_two_sided_is_the_glow_block(rng):
    channels, clamp = 6, 2.5
    bound = lambda s: 0.636 * torch.atan(s / clamp)  # as DifferNet and CS-Flow have it; FrEIA's own divides by 1
    theirs = modules.GLOWCouplingBlock([(channels, 4, 5)], [], subnet(3), clamp, bound)
    config = FlowConfig("two_sided", blocks=(1,), hidden=2.0, clamp=clamp)
    flow = flow_of(config, ((4, 5, channels),))
    x = rng.normal(size=(2, 4, 5, channels)).astype(np.float32)
    variables = flow.init(jax.random.key(0), (x,), ((),))
    tensor = lambda x: torch.from_numpy(np.asarray(x).copy())
    params = variables["params"]["couplings_0"]
    with torch.no_grad():
        for net, name in ((theirs.subnet1, "by_first"), (theirs.subnet2, "by_second")):
            for place, layer in ((0, "conv0"), (2, "conv1")):
                net[place].weight.copy_(tensor(params[name][layer]["kernel"]).permute(3, 2, 0, 1))
                net[place].bias.copy_(tensor(params[name][layer]["bias"]))
        (z,), det = theirs([tensor(x[..., order(channels, 0)]).permute(0, 3, 1, 2)])
    (ours,), (cells,) = flow.apply(variables, (x,), ((),))
    np.testing.assert_allclose(ours, z.permute(0, 2, 3, 1), atol=1e-5)
    np.testing.assert_allclose(cells.sum((1, 2)), det, atol=1e-4)
