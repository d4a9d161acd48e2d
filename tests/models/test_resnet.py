"""Backbones: published sizes, every layer equal to an independent PyTorch ResNet, folding, CBAM's exact identity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.errors import UserError
from jaxqc.models.pretrained import convert_state, export_state
from jaxqc.models.resnet import BACKBONES, build_backbone
from jaxqc.nn.attention import CBAM
from jaxqc.nn.conv import Norm
from jaxqc.nn.fold import fold_batch_norm
from jaxqc.types import AXIS

# torchvision's documented counts with 1,000 classes.
PLAIN = {
    "resnet18": 11_689_512, "resnet34": 21_797_672, "resnet50": 25_557_032, "resnet101": 44_549_160,
    "resnet152": 60_192_808, "wide_resnet50_2": 68_883_240, "wide_resnet101_2": 126_886_696,
}  # fmt: skip
# The authors publish 11.78 M, 21.96 M, 28.09 M and 49.33 M (arXiv 1807.06521, table 4); two strengths a block are ours.
# Without a head; the deep stem's are the page's of UniMatch and U2PL.
DEEP = {"resnet50s": 23_631_808, "resnet101s": 42_623_936}
CBAM_MILLIONS = {"resnet18_cbam": 11.78, "resnet34_cbam": 21.96, "resnet50_cbam": 28.09, "resnet101_cbam": 49.33}
QUICK = ("resnet18", "resnet50_cbam")


def count(name: str) -> tuple[int, int]:
    """(parameters, of them strengths)."""
    shapes = jax.eval_shape(
        lambda: build_backbone(name, (4,), 1000).init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    )["params"]
    leaves = jax.tree_util.tree_flatten_with_path(shapes)[0]
    sizes = [(path[-1].key == "strength", int(np.prod(leaf.shape))) for path, leaf in leaves]
    return sum(n for _, n in sizes), sum(n for ours, n in sizes if ours)


@pytest.mark.parametrize("name", PLAIN)
def test_parameter_counts_are_the_published_ones(name: str) -> None:
    assert count(name) == (PLAIN[name], 0)


@pytest.mark.parametrize("name", DEEP)
def test_a_deep_stem_has_its_parameters(name: str) -> None:
    assert count(name)[0] - 2048 * 1000 - 1000 == DEEP[name]


@pytest.mark.parametrize("name", CBAM_MILLIONS)
def test_cbam_parameter_counts_are_the_published_ones(name: str) -> None:
    total, ours = count(name)
    assert (total - ours) / 1e6 == pytest.approx(CBAM_MILLIONS[name], abs=0.006)
    assert ours == 2 * sum(BACKBONES[name].blocks)


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in BACKBONES])
def test_every_layer_equals_pytorchs_whole_and_folded(name: str) -> None:
    torch = pytest.importorskip("torch", reason="the peer needs PyTorch (extra: peers)")
    from benchmarks.peers.torch_resnet import ResNet, randomized

    torch.set_num_threads(1)
    peer = randomized(ResNet(name, classes=10))
    state = {key: value.numpy() for key, value in peer.state_dict().items()}
    variables, report = convert_state(state, name, head=True)
    assert (report.layers, report.unused, report.missing, report.beyond) == ((1, 2, 3, 4), (), (), ())
    x = np.random.default_rng(0).normal(size=(2, 70, 48, 3)).astype(np.float32)
    with torch.no_grad():
        expected = {k: v.numpy() for k, v in peer(torch.from_numpy(x).permute(0, 3, 1, 2)).items()}
    for folded in (False, True):
        network = build_backbone(name, (1, 2, 3, 4), 10, folded=folded)
        out = network.apply(fold_batch_norm(variables) if folded else variables, x)
        assert set(out) == set(expected)
        for key, value in expected.items():
            value = np.moveaxis(value, 1, -1)
            assert np.std(value) > 0.05, f"{key} says nothing: the test's signals died out"
            np.testing.assert_allclose(out[key], value, atol=1e-4, rtol=1e-4, err_msg=f"{key}, folded {folded}")


@pytest.mark.parametrize(
    ("name", "stride", "grids"), [("resnet18", 8, ()), pytest.param("resnet50s", 8, (2, 2, 4), marks=pytest.mark.slow)]
)
def test_dilated_layers_equal_pytorchs(name: str, stride: int, grids: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch", reason="the peer needs PyTorch (extra: peers)")
    from benchmarks.peers.torch_resnet import ResNet, randomized

    peer = randomized(ResNet(name, 10, stride, grids))
    variables, _ = convert_state({key: value.numpy() for key, value in peer.state_dict().items()}, name)
    x = np.random.default_rng(0).normal(size=(1, 70, 48, 3)).astype(np.float32)
    with torch.no_grad():
        expected = peer(torch.from_numpy(x).permute(0, 3, 1, 2))
    found = build_backbone(name, (1, 2, 3, 4)).clone(stride=stride, grids=grids).apply(variables, x)
    sizes = [found[f"layer{i}"].shape[1:3] for i in (1, 2, 3, 4)]
    assert sizes == [(18, 12), (9, 6), (9, 6), (9, 6)]
    for key, value in found.items():
        np.testing.assert_allclose(value, expected[key].permute(0, 2, 3, 1), atol=1e-4, rtol=1e-4, err_msg=key)


def random_variables(name: str, layers: tuple[int, ...], **kwargs) -> dict:
    """Drawn by numpy: an initialisation would compile for longer."""
    rng = np.random.default_rng(0)
    network = build_backbone(name, layers, **kwargs)

    def draw(path, leaf):
        last = path[-1].key
        if last == "kernel":
            return (rng.normal(size=leaf.shape) * np.sqrt(2 / np.prod(leaf.shape[:-1]))).astype(np.float32)
        if last == "strength":
            return np.full(leaf.shape, kwargs.get("gates", 1.0), np.float32)
        low, high = {"scale": (0.4, 0.8), "var": (0.5, 1.5)}.get(last, (-0.2, 0.2))
        return rng.uniform(low, high, leaf.shape).astype(np.float32)

    shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3))))
    return dict(jax.tree_util.tree_map_with_path(draw, shapes))


def test_layers_asked_for_come_out_and_nothing_beyond_is_built() -> None:
    variables = random_variables("resnet18", (1, 3))
    assert {name[:6] for name in variables["params"]} == {"conv1", "layer1", "layer2", "layer3"}
    image = jnp.ones((1, 33, 64, 3))
    out = jax.jit(build_backbone("resnet18", (3, 1)).apply)(variables, image)
    assert {name: x.shape for name, x in out.items()} == {"layer1": (1, 9, 16, 64), "layer3": (1, 3, 4, 256)}
    assert BACKBONES["resnet18"].channels(3) == 256
    assert BACKBONES["wide_resnet50_2"].channels(3) == 1024
    first = jax.jit(build_backbone("resnet18", (1,)).apply)(variables, image)
    np.testing.assert_allclose(first["layer1"], out["layer1"], rtol=1e-5)


def test_cbam_at_strength_zero_is_the_plain_network_bit_for_bit() -> None:
    gated = random_variables("resnet18_cbam", (1,), gates=0.0)
    plain = {
        kind: {block: {k: v for k, v in tree.items() if k != "cbam"} for block, tree in gated[kind].items()}
        for kind in gated
    }
    image = np.random.default_rng(1).normal(size=(2, 32, 32, 3)).astype(np.float32)
    run = lambda name, variables: jax.jit(build_backbone(name, (1,)).apply)(variables, image)["layer1"]
    np.testing.assert_array_equal(run("resnet18_cbam", gated), run("resnet18", plain))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("compiled", [True, False])
def test_a_cbam_block_at_strength_zero_is_the_exact_identity(dtype, compiled: bool) -> None:
    x = 5 * jax.random.normal(jax.random.key(0), (2, 6, 6, 32), dtype)
    block = CBAM(Norm(dtype=dtype), strength=0.0)
    variables = jax.jit(block.init)(jax.random.key(1), x)
    y = (jax.jit(block.apply) if compiled else block.apply)(variables, x)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, x)
    open_gates = {**variables, "params": {**variables["params"], "strength": jnp.ones(2)}}
    assert np.abs(np.asarray(block.apply(open_gates, x) - x, np.float32)).max() > 0.5


def test_identity_gates_learn() -> None:
    """Every gradient is away from 0 once the strength moves, which gates held open by a saturated sigmoid prevent."""
    block = CBAM(strength=0.0)
    x = jax.random.normal(jax.random.key(0), (2, 6, 6, 32))
    variables = jax.jit(block.init)(jax.random.key(1), x)
    gradient = jax.jit(jax.grad(lambda params: (block.apply({**variables, "params": params}, x) * x).mean()))
    moved = {**variables["params"], "strength": jnp.full((2,), 0.1)}
    assert np.abs(gradient(variables["params"])["strength"]).min() > 1e-3
    assert all(np.abs(g).max() > 0 for g in jax.tree.leaves(gradient(moved)))


def test_cbam_training_moves_its_statistics_by_a_hundredth() -> None:
    x = jax.random.normal(jax.random.key(0), (2, 6, 6, 32))
    block = CBAM()
    variables = jax.jit(block.init)(jax.random.key(1), x)
    _, new = jax.jit(lambda v, x: block.apply(v, x, train=True, mutable=["batch_stats"]))(variables, x)
    unit = variables["params"]["spatial"]["kernel"]
    assert unit.shape == (7, 7, 2, 1)
    moved = float(new["batch_stats"]["spatial"]["bn"]["var"][0])
    assert 0.99 < moved < 1.5
    assert moved != 1.0


def test_training_statistics_are_those_of_the_global_batch() -> None:
    variables = random_variables("resnet18_cbam", (1,))
    image = np.random.default_rng(2).normal(size=(8, 32, 32, 3)).astype(np.float32)
    alone = build_backbone("resnet18_cbam", (1,))
    whole, state = jax.jit(lambda v, x: alone.apply(v, x, True, mutable=["batch_stats"]))(variables, image)
    network = build_backbone("resnet18_cbam", (1,), axis_name=AXIS)
    run = jax.pmap(lambda x: network.apply(variables, x, True, mutable=["batch_stats"]), AXIS)
    parts, states = run(image.reshape(8, 1, 32, 32, 3))
    np.testing.assert_allclose(parts["layer1"][:, 0], whole["layer1"], atol=1e-4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[3], b, atol=1e-5), states, state)


def test_export_is_the_inverse_of_conversion() -> None:
    variables = random_variables("resnet18_cbam", (1, 2))
    state = export_state(variables)
    assert state["layer1.0.cbam.ChannelGate.mlp.1.weight"].shape == (4, 64)
    assert state["layer2.0.downsample.0.weight"].shape == (128, 64, 1, 1)
    back, report = convert_state(state, "resnet18_cbam")
    assert report.layers == (1, 2)
    jax.tree.map(np.testing.assert_array_equal, back, variables)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("resnet51",), "did you mean 'resnet50'"),
        (("resnet50", (0, 1)), "layers: 0,1"),
        (("resnet50", ()), "layers: none"),
        (("resnet50", (1,), 0, "float16"), "dtype 'float16'"),
    ],
)
def test_bad_arguments_are_named(arguments: tuple, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_backbone(*arguments)
