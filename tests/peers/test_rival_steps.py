"""One training step of each rival against PyTorch: loss, and gradient of every array."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the peers need PyTorch (extra: peers)")

from benchmarks.lib.networks import random_variables
from benchmarks.peers.rival_losses_torch import LOSSES
from benchmarks.peers.torch_gcranet import gcranet
from benchmarks.peers.torch_rivals import RIVALS
from jaxqc.models.arrays import flatten, put
from jaxqc.nn import depthwise
from jaxqc.nn.conv import Norm
from jaxqc.saliency.networks import NETWORKS, build

torch.set_num_threads(1)
PEERS = {**RIVALS, "gcranet": gcranet}
SIDE = 64


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PEERS))
def test_a_steps_loss_and_gradients_are_pytorchs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In double precision and without dropout: batch norm over a handful of values makes single-precision gradients
    differ by per cents even within PyTorch. Our depthwise gradients sum in float32 and are tested apart, so the
    library's stand in. Logits are float32 in any case: in arrays whose gradient is small that rounding is seen, at a
    millionth of the whole gradient's length."""
    monkeypatch.setattr(depthwise, "_choose", lambda implementation, shift, library: library)
    made = build(name, 3, 0.25)
    variables = jax.tree.map(np.float64, random_variables(made, 5, varied=True))
    double: dict[str, Any] = {"norm": Norm(dtype=np.float64)}
    if hasattr(made, "encoder"):
        double["encoder"] = made.encoder.clone(**double)
    network = made.clone(**double, **({"dropout": 0.0} if hasattr(made, "dropout") else {}))
    rng = np.random.default_rng(6)
    x, mask = rng.normal(size=(4, SIDE, SIDE, 3)), np.zeros((4, SIDE, SIDE))
    mask[:3, 5:40, 10:45] = 1  # the last has no defect at all
    label = np.array([0, 1, 2, -1], np.int32)
    state = {kind: tree for kind, tree in variables.items() if kind != "params"}

    def ours(params: Any) -> Any:
        out, _ = network.apply(
            {**state, "params": params}, x, train=True, aux=True, mutable=["batch_stats"],
            rngs={"dropout": jax.random.key(0)},
        )  # fmt: skip
        return NETWORKS[name].objective(out, jax.tree.map(jnp.asarray, {"mask": mask, "label": label}))[0]

    with jax.enable_x64(True):
        run = jax.jit(jax.value_and_grad(ours)).lower(variables["params"])
        value, gradient = run.compile({"xla_backend_optimization_level": 1})(variables["params"])
    leaves = {path: torch.tensor(leaf, requires_grad=True) for path, leaf in flatten(variables["params"]).items()}
    tree: dict[str, Any] = {"batch_stats": {}, "params": {}}
    for path, leaf in leaves.items():
        put(tree["params"], path, leaf)  # type: ignore[arg-type]
    out = PEERS[name](tree, torch.from_numpy(x).permute(0, 3, 1, 2))
    loss = LOSSES[name](out, torch.from_numpy(mask), torch.from_numpy(label).long())
    loss.backward()
    np.testing.assert_allclose(loss.item(), value, rtol=1e-5)
    whole = np.sqrt(sum(float(leaf.grad.norm()) ** 2 for leaf in leaves.values() if leaf.grad is not None))
    for path, ours_ in flatten(gradient).items():
        found = leaves[path].grad
        theirs = np.zeros(ours_.shape) if found is None else found.numpy()
        error = np.linalg.norm(ours_ - theirs)
        assert error <= 1e-3 * np.linalg.norm(theirs) + 1e-6 * whole, f"{'/'.join(path)}: apart by {error:.1e}"
