"""The PyTorch peers compute what ours compute: same parameter counts, same outputs with shared weights, same loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the peers need PyTorch (extra: peers)")

from benchmarks.lib.networks import random_variables
from benchmarks.peers.convert import convert, peer
from benchmarks.peers.losses_torch import LOSSES
from benchmarks.peers.torch_minet import ScaleMix, count_parameters, fold, set_mixing
from jaxqc.models.tscarnet import TSCARNet
from jaxqc.nn import depthwise
from jaxqc.nn.conv import Norm
from jaxqc.saliency.networks import build
from jaxqc.saliency.objectives.minet import MINetObjective
from jaxqc.saliency.objectives.tscarnet import TSCARNetObjective

torch.set_num_threads(1)  # the networks are small here, and other test processes share the cores
COUNTS = {"minet": 277_477, "tscarnet": 366_036}
MODULES = {
    "encoder": 216_512, "bam3": 4_610, "bam2": 1_282, "bam1": 1_282, "case": 35_939, "msrm3": 15_909, "msrm2": 15_909,
    "msrm1": 5_141, "lateral2": 1_600, "lateral1": 800, "prior": 2_656, "pifm3": 1_184, "pifm2": 1_184, "pifm1": 336,
    "head": 728,
}  # fmt: skip


@pytest.fixture(scope="module", params=sorted(COUNTS))
def pair(request):
    """(name, our module, variables, peer with the same weights)."""
    name = request.param
    module = build(name, 3)
    variables = random_variables(module, 1, varied=True)
    return name, module, variables, convert(variables, peer(name, 3))


def assert_outputs_agree(pair, shape, tolerance=1e-4):
    _, module, variables, network = pair
    x = np.random.default_rng(2).normal(size=(*shape, 3)).astype(np.float32)
    run = jax.jit(lambda v, x: module.apply(v, x, aux=True)).lower(variables, x)
    ours = run.compile({"xla_backend_optimization_level": 1})(variables, x)  # compiles faster, computes the same
    with torch.no_grad():
        theirs = network(torch.from_numpy(x).permute(0, 3, 1, 2), aux=True)
    assert set(ours) == set(theirs)
    for key, value in ours.items():
        np.testing.assert_allclose(theirs[key].numpy(), value, atol=tolerance, rtol=tolerance, err_msg=key)
        assert np.std(value) > 1e-6, f"{key} is constant: nothing was compared"


def test_parameter_counts(pair):
    name, _, variables, network = pair
    assert count_parameters(network) == COUNTS[name]
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == COUNTS[name]


def test_tscarnet_counts_of_each_module():
    network = peer("tscarnet", 3)
    counts = {name: count_parameters(child) for name, child in network.named_children()}
    assert {name: counts[name] for name in MODULES} == MODULES
    assert sum(counts[f"d{k}"] for k in range(1, 6)) == 60_736
    assert sum(n for name, n in counts.items() if name.startswith("side_")) == 228


def test_outputs_equal_ours(pair):
    assert_outputs_agree(pair, (2, 64, 96))


@pytest.mark.slow
def test_outputs_equal_ours_at_full_size(pair):
    assert_outputs_agree(pair, (1, 224, 224))


@pytest.mark.parametrize("mixing", ["loop", "grouped", "sum"])
def test_folded_equals_unfolded_in_every_mixing(pair, mixing):
    network = pair[3]
    x = torch.from_numpy(np.random.default_rng(3).normal(size=(1, 3, 64, 64)).astype(np.float32))
    folded = set_mixing(fold(network), mixing)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded.modules())
    assert any(isinstance(m, ScaleMix) and m.mixing == mixing for m in folded.modules())
    with torch.no_grad():
        whole, bare = network(x, aux=True), folded(x, aux=True)
    for key, value in whole.items():
        np.testing.assert_allclose(bare[key].numpy(), value.numpy(), atol=1e-4, rtol=1e-4, err_msg=key)


@pytest.mark.parametrize("name", sorted(COUNTS))
def test_losses_and_their_gradients_equal_ours(name):
    rng = np.random.default_rng(4)
    mask = np.zeros((3, 64, 64), np.float32)
    mask[0, 5:30, 20:50] = 1
    mask[1, 40:43, :] = 1  # the third has no defect at all
    label = np.array([2, 0, -1], np.int32)
    batch = {"mask": jnp.asarray(mask), "label": jnp.asarray(label)}
    if name == "minet":
        out = {key: rng.uniform(0, 1, mask.shape) for key in ("map", "map2", "map3", "map4", "map5")}
        ours = lambda out: MINetObjective()(out, batch)[0]
    else:
        sides = {
            "final": 64,
            "m1": 32,
            "b1": 32,
            "m2": 16,
            "b2": 16,
            "r2": 16,
            "m3": 8,
            "b3": 8,
            "r3": 8,
            "d4": 4,
            "d5": 2,
        }
        out = {key: rng.normal(0, 2, (3, side, side)) for key, side in sides.items()} | {
            "class": rng.normal(0, 2, (3, 3))
        }
        ours = lambda out: TSCARNetObjective()({**out, "map": jax.nn.sigmoid(out["final"])}, batch)[0]
    out = {key: value.astype(np.float32) for key, value in out.items()}
    value, gradient = jax.jit(jax.value_and_grad(ours))(out)
    theirs = {key: torch.tensor(v, requires_grad=True) for key, v in out.items()}
    loss = LOSSES[name](theirs, torch.from_numpy(mask), torch.from_numpy(label).long())
    loss.backward()
    np.testing.assert_allclose(loss.item(), value, rtol=1e-5)
    for key, leaf in theirs.items():
        np.testing.assert_allclose(leaf.grad.numpy(), gradient[key], atol=1e-6, rtol=1e-3, err_msg=key)


def test_other_class_counts():
    module = build("tscarnet", 5)
    assert convert(random_variables(module, 1, varied=True), peer("tscarnet", 5))(torch.zeros(1, 3, 32, 32))[
        "class"
    ].shape == (1, 5)


def test_conversion_refuses_what_does_not_fit(pair):
    name, _, variables, _ = pair
    other = {"params": {**variables["params"], "stray": np.ones(3)}, "batch_stats": variables["batch_stats"]}
    with pytest.raises(ValueError, match="stray"):
        convert(other, peer(name, 3))
    lacking = {k: v for k, v in variables["params"].items() if k != "d3"}
    with pytest.raises(ValueError, match="d3"):
        convert({"params": lacking, "batch_stats": variables["batch_stats"]}, peer(name, 3))


@pytest.mark.slow
def test_the_training_step_has_our_loss_and_gradient(monkeypatch):
    # In double precision: batch norm over a handful of values makes single-precision gradients differ by per cents
    # even within PyTorch. Our own depthwise gradients sum in float32 and are tested apart, so the library's stand in.
    monkeypatch.setattr(depthwise, "_choose", lambda implementation, shift, library: library)
    variables = jax.tree.map(np.float64, random_variables(build("tscarnet", 3), 5, varied=True))
    module = TSCARNet(3, norm=Norm(dtype=np.float64))
    rng = np.random.default_rng(6)
    x, mask = rng.normal(size=(4, 32, 32, 3)), np.zeros((4, 32, 32))
    mask[:, 5:20, 10:25] = 1
    label = np.array([0, 1, 2, -1], np.int32)
    batch = {"mask": mask, "label": label}

    def ours(params):
        out, state = module.apply({**variables, "params": params}, x, train=True, aux=True, mutable=["batch_stats"])
        return TSCARNetObjective()(out, jax.tree.map(jnp.asarray, batch))[0], state["batch_stats"]

    with jax.enable_x64(True):
        run = jax.jit(jax.value_and_grad(ours, has_aux=True)).lower(variables["params"])
        (value, stats), gradient = run.compile({"xla_backend_optimization_level": 1})(variables["params"])
    network = convert(variables, peer("tscarnet", 3)).train().double()
    out = network(torch.from_numpy(x).permute(0, 3, 1, 2), aux=True)
    loss = LOSSES["tscarnet"](out, torch.from_numpy(mask), torch.from_numpy(label).long())
    loss.backward()
    np.testing.assert_allclose(loss.item(), value, rtol=1e-6)
    wanted = dict(convert({"params": gradient, "batch_stats": stats}, peer("tscarnet", 3)).named_parameters())
    for name, p in network.named_parameters():
        error = (p.grad - wanted[name]).norm() / p.grad.norm()
        assert error < 1e-4, f"{name}: gradients differ by {error:.1e}"
