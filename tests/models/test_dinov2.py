"""DINOv2: published sizes, every feature equal to an independent PyTorch transformer, positions, attention, dtypes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.errors import UserError
from jaxqc.models.dinov2 import VITS, ViT, ViTSpec, attention_kernel, build_vit, paired_attention
from jaxqc.models.pretrained_vit import convert_vit
from jaxqc.nn.position import bicubic_matrix, resample_grid

# The publishers' counts with mask token: 22, 87, 304 and 1,136 million (arXiv 2304.07193, table 17, and the files).
COUNTS = {
    "dinov2_vits14": 22_056_576,
    "dinov2_vitb14": 86_580_480,
    "dinov2_vitl14": 304_368_640,
    "dinov2_vitg14": 1_136_480_768,
}
SMALL = ViTSpec(64, 5, 2, (0, 2, 3, 4), grid=9)
GATED = ViTSpec(64, 4, 2, (0, 1, 2, 3), grid=9, registers=4, swiglu=True)


def drawn(network: ViT, seed: int = 0) -> dict:
    """Variables drawn by numpy, kernels of variance 1 / fan-in."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros((1, 14, 14, 3))))

    def draw(path, leaf):
        if path[-1].key == "kernel":
            return (rng.normal(size=leaf.shape) / np.sqrt(np.prod(leaf.shape[:-1]))).astype(np.float32)
        return rng.uniform(0.2, 1.0, leaf.shape).astype(np.float32)

    return dict(jax.tree_util.tree_map_with_path(draw, shapes))


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts_are_the_published_ones(name: str) -> None:
    for model, registers in ((name, 0), (f"{name}_reg", 4)):
        network = build_vit(model)
        shapes = jax.eval_shape(lambda n=network: n.init(jax.random.key(0), jnp.zeros((1, 14, 14, 3))))["params"]
        count = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes))
        assert count == COUNTS[name] + registers * VITS[name].width
        assert shapes["pos_embed"].shape == (1, 1370, VITS[name].width)
        assert ("register_tokens" in shapes) == bool(registers)
        assert VITS[name].width // VITS[name].heads == 64
        assert VITS[name].taps[-1] == VITS[name].depth - 1


def assert_equals_pytorch(name: str, height: int, width: int, monkeypatch, spec: ViTSpec | None = None) -> None:
    torch = pytest.importorskip("torch", reason="the peer needs PyTorch (extra: peers)")
    from benchmarks.peers.torch_dinov2 import peer_vit, randomized

    torch.set_num_threads(1)
    if spec:
        monkeypatch.setitem(VITS, name, spec)
    peer = randomized(peer_vit(name))
    variables, report = convert_vit({key: value.numpy() for key, value in peer.state_dict().items()}, name)
    assert (report.unused, report.missing) == ((), ())
    image = np.random.default_rng(0).normal(size=(2, height, width, 3)).astype(np.float32)
    with torch.no_grad():
        expected = [m.permute(0, 2, 3, 1).numpy() for m in peer(torch.from_numpy(image).permute(0, 3, 1, 2))]
    found = jax.jit(build_vit(name).apply)(variables, image)
    for tap, value in zip(VITS[name].taps, expected, strict=True):
        assert value.shape == (2, height // 14, width // 14, VITS[name].width)
        assert value.std((1, 2)).mean() > 0.1, "all places say the same: the test's signals died out"
        np.testing.assert_allclose(found[f"block{tap}"], value, atol=1e-4, rtol=1e-4, err_msg=f"block {tap}")


@pytest.mark.parametrize(
    ("spec", "height", "width"),
    [(SMALL, 224, 224), (SMALL, 126, 126), (SMALL, 126, 154), (GATED, 224, 98), (GATED, 126, 126)],
)
def test_features_equal_pytorchs(spec: ViTSpec, height: int, width: int, monkeypatch) -> None:
    assert_equals_pytorch("vit_test14", height, width, monkeypatch, spec)


@pytest.mark.slow
@pytest.mark.parametrize("size", [224, 378, 518])
@pytest.mark.parametrize("name", ["dinov2_vits14", "dinov2_vitb14_reg"])
def test_published_sizes_equal_pytorchs(name: str, size: int, monkeypatch) -> None:
    assert_equals_pytorch(name, size, size, monkeypatch)


@pytest.mark.parametrize("offset", [0.1, 0.0])
@pytest.mark.parametrize(("height", "width"), [(16, 16), (27, 27), (28, 13), (37, 40), (57, 57), (1, 2)])
def test_positions_equal_pytorchs_bicubic(height: int, width: int, offset: float) -> None:
    torch = pytest.importorskip("torch", reason="the oracle is PyTorch (extra: peers)")
    table = np.random.default_rng(0).normal(size=(37, 37, 5)).astype(np.float32)
    tensor = torch.from_numpy(table).permute(2, 0, 1)[None]
    factors = ((height + offset) / 37, (width + offset) / 37)
    expected = torch.nn.functional.interpolate(tensor, scale_factor=factors, mode="bicubic")
    assert expected.shape[2:] == (height, width)
    # PyTorch computes positions in float32, we in float64.
    np.testing.assert_allclose(
        resample_grid(jnp.asarray(table), height, width, offset), expected[0].permute(1, 2, 0), atol=4e-5
    )
    if not offset:
        smooth = torch.nn.functional.interpolate(tensor, (height, width), mode="bicubic", antialias=True)
        np.testing.assert_allclose(
            resample_grid(jnp.asarray(table), height, width, antialias=True), smooth[0].permute(1, 2, 0), atol=4e-5
        )


def test_antialiased_positions_are_jaxs_own_cubic() -> None:
    table = jax.random.normal(jax.random.key(0), (37, 37, 3))
    for size in (16, 27, 50):
        expected = jax.image.resize(table, (size, size, 3), "cubic", antialias=True)
        np.testing.assert_allclose(resample_grid(table, size, size, antialias=True), expected, atol=2e-5)


def test_position_matrices_keep_constants_and_lines_and_their_own_size() -> None:
    for n_out, antialias in ((16, False), (16, True), (53, False), (53, True)):
        matrix = bicubic_matrix(37, n_out, n_out / 37, antialias)
        np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-6)
        line = (np.arange(n_out) + 0.5) * 37 / n_out - 0.5
        inner = slice(n_out // 4, -n_out // 4)
        # Keys' kernel reproduces lines at a = -1/2 alone, and only where it is not stretched.
        np.testing.assert_allclose((matrix @ np.arange(37))[inner], line[inner], atol=0.02 if antialias else 0.2)
    np.testing.assert_allclose(bicubic_matrix(5, 5, 1.0), np.eye(5), atol=1e-7)
    table = jnp.ones((3, 3, 2))
    assert resample_grid(table, 3, 3, 0.1) is table


def test_an_image_does_not_depend_on_its_batch() -> None:
    network = ViT(SMALL)
    variables = drawn(network)
    images = np.random.default_rng(1).normal(size=(3, 42, 28, 3)).astype(np.float32)
    run = jax.jit(network.apply)
    whole, alone = run(variables, images), run(variables, images[1:2])
    assert list(whole) == sorted(whole, key=lambda name: int(name[5:]))
    for name, value in alone.items():
        assert value.shape == (1, 3, 2, 64)
        np.testing.assert_allclose(whole[name][1:2], value, atol=2e-5)


def test_bfloat16_computes_in_it_over_float32_parameters() -> None:
    image = np.random.default_rng(1).normal(size=(1, 126, 126, 3)).astype(np.float32)
    exact, half = ViT(SMALL), ViT(SMALL, dtype=jnp.bfloat16)
    variables = drawn(exact)
    shapes = jax.eval_shape(lambda: half.init(jax.random.key(0), jnp.zeros((1, 14, 14, 3))))
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype("float32")}
    expected, found = (jax.jit(network.apply)(variables, image) for network in (exact, half))
    for name, value in found.items():
        assert value.dtype == jnp.bfloat16
        error = np.abs(np.asarray(value, np.float32) - expected[name])
        assert 0 < error.mean() < 0.05, name


def test_attention_kernel_follows_device_and_dtype(monkeypatch) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    assert attention_kernel("auto", jnp.bfloat16) == "xla"
    assert attention_kernel("auto", jnp.float32) == "cpu"
    assert attention_kernel("cudnn", jnp.float32) == "cudnn"
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert attention_kernel("auto", jnp.bfloat16) == "cudnn"
    assert attention_kernel("auto", jnp.float32) == "xla"
    assert attention_kernel("xla", jnp.bfloat16) == "xla"


@pytest.mark.parametrize("t", [5, 6])
def test_one_more_token_changes_nothing(t: int) -> None:
    q, k, v, weight = np.random.default_rng(1).normal(size=(4, 2, t, 3, 8)).astype(np.float32)
    found, expected = (
        jax.jit(jax.value_and_grad(lambda *x, f=f: (f(*x) * weight).sum(), argnums=(0, 1, 2)))(q, k, v)
        for f in (lambda *x: paired_attention(*x, "xla"), jax.nn.dot_product_attention)
    )
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("t", [257, 1370])
def test_cudnn_says_what_xla_says(t: int) -> None:
    if jax.default_backend() != "gpu":
        pytest.skip("cuDNN needs a GPU")
    q, k, v, weight = jax.random.normal(jax.random.key(0), (4, 2, t, 6, 64), jnp.bfloat16)
    gradient = lambda kernel: jax.grad(lambda *x: (paired_attention(*x, kernel) * weight).sum(), (0, 1, 2))
    found, expected = (jax.jit(gradient(kernel))(q, k, v) for kernel in ("cudnn", "xla"))
    for one, other in zip(found, expected, strict=True):
        scale = float(jnp.abs(other).max())
        np.testing.assert_allclose(np.float32(one), np.float32(other), atol=0.02 * scale)


@pytest.mark.parametrize(("side", "registers"), [(28, 0), (42, 0), (28, 4)])
def test_gradients_lower_to_cudnn_on_a_gpu(side: int, registers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """For odd and even numbers of tokens; no GPU is needed for lowering, but JAX asks for cuDNN's version."""
    monkeypatch.setattr("jax._src.cudnn.fused_attention_stablehlo.check_cudnn_version", lambda: 91000)
    network = ViT(dataclasses.replace(SMALL, registers=registers), attention="cudnn", dtype=jnp.bfloat16)
    image = jnp.zeros((1, side, side, 3))
    variables = jax.eval_shape(lambda: ViT(network.spec).init(jax.random.key(0), image))
    loss = lambda v, x: sum(f.astype(jnp.float32).sum() for f in network.apply(v, x).values())
    text = jax.jit(jax.grad(loss)).trace(variables, image).lower(lowering_platforms=("cuda",)).as_text()
    assert text.count("@__cudnn$fmhaSoftmax(") == text.count("@__cudnn$fmhaSoftmaxBackward(") == SMALL.depth


def test_every_used_parameter_learns() -> None:
    """No gradient is zero but the mask token's, and that of the last tokens that nothing reads."""
    network = ViT(GATED)
    variables = drawn(network)
    image = np.random.default_rng(1).normal(size=(1, 28, 42, 3)).astype(np.float32)
    loss = lambda v: sum((f * jnp.cos(jnp.arange(64))).sum() for f in network.apply(v, image).values())
    gradient = jax.jit(jax.grad(loss))(variables)["params"]
    assert np.abs(gradient.pop("mask_token")).max() == 0
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        assert np.abs(leaf).max() > 0, jax.tree_util.keystr(path)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: build_vit("dinov2_vits16"), "did you mean 'dinov2_vits14'"),
        (lambda: build_vit("vit_tiny14", "float16"), "dtype 'float16'"),
        (lambda: build_vit("vit_tiny14", attention="flash"), "attention 'flash'"),
        (lambda: jax.eval_shape(ViT(SMALL).init, jax.random.key(0), jnp.zeros((1, 28, 32, 3))), "image of 28x32"),
        (lambda: jax.eval_shape(ViT(SMALL).init, jax.random.key(0), jnp.zeros((1, 0, 14, 3))), "multiples of 14"),
    ],
)
def test_mistakes_are_named(call, message: str) -> None:
    with pytest.raises(UserError, match=message):
        call()
