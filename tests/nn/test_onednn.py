"""oneDNN's convolutions against float64 renderings and XLA's own; the way to them, and what happens without."""

import os
import threading
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export, lax

from jaxqc.errors import UserError
from jaxqc.nn import onednn
from jaxqc.nn.convolution import convolve
from jaxqc.nn.depthwise import depthwise_conv
from jaxqc.nn.onednn import build
from tests.support.convolutions import draw, gradients, plain


@pytest.fixture(autouse=True)
def insisting(monkeypatch):
    """oneDNN is in use, in spite of the simulated devices; programs traced before are not used again."""
    found = build._attempt()
    if isinstance(found, build.MissingError):
        pytest.skip(str(found))
    monkeypatch.setenv(build.VARIABLE, "onednn")
    onednn.implementation.cache_clear()
    jax.clear_caches()
    yield
    jax.clear_caches()


def calls(function, *arrays):
    return jax.jit(function).lower(*arrays).as_text().count("@Jaxqc")


@pytest.mark.parametrize(
    ("shape", "outputs", "taps", "stride", "padding", "forward", "backward"),
    [
        ((2, 9, 7, 8), 6, 3, 1, 1, 1, 2),
        ((1, 24, 23, 64), 64, 3, 1, 1, 0, 1),  # Winograd's way, but for the kernel's gradient
        ((2, 34, 32, 3), 32, 7, 2, 3, 1, 2),
        ((2, 14, 12, 16), 24, 3, 2, 1, 1, 2),
        ((2, 9, 7, 16), 24, 1, 2, 0, 1, 2),
        ((1, 24, 24, 20), 1, 5, 1, 2, 1, 2),
        ((2, 8, 8, 16), 32, 4, 2, 1, 1, 2),
    ],
)
def test_dense_value_and_gradients(shape, outputs, taps, stride, padding, forward, backward, rng):
    x, kernel = draw(rng, shape, outputs, taps)
    conv = partial(convolve, stride=stride, padding=padding)
    y = plain(x, kernel, stride, padding)
    g = rng.standard_normal(y.shape, np.float32)
    back = lambda x, kernel, g: jax.vjp(conv, x, kernel)[1](g)
    assert (calls(conv, x, kernel), calls(back, x, kernel, g)) == (forward, backward)
    ours = jax.jit(conv)(x, kernel), *jax.jit(back)(x, kernel, g)
    for one, expected in zip(ours, (y, *gradients(x, kernel, g, stride, padding)), strict=True):
        np.testing.assert_allclose(one, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(("padding", "stride", "size"), [("symmetric", 1, 11), ("symmetric", 2, 11), ("same", 2, 10)])
def test_depthwise_value_and_gradients_equal_the_librarys(padding, stride, size, rng):
    shapes = (2, size, size + 1, 24), (3, 3, 24)
    x, kernel = (jnp.asarray(rng.standard_normal(shape, np.float32)) for shape in shapes)
    conv = partial(depthwise_conv, stride=stride, padding=padding)
    library = partial(conv, implementation="library")
    y, back = jax.vjp(library, x, kernel)
    g = jnp.asarray(rng.standard_normal(y.shape, np.float32))
    ours, our_back = jax.vjp(conv, x, kernel)
    assert calls(lambda x, kernel, g: jax.vjp(conv, x, kernel)[1](g), x, kernel, g) == 2
    for one, expected in zip((ours, *our_back(g)), (y, *back(g)), strict=True):
        np.testing.assert_allclose(one, expected, atol=1e-5 * np.abs(expected).max())


def test_gradients_of_gradients_as_a_critics_penalty_takes_them(rng):
    x, kernel = draw(rng, (2, 8, 8, 8), 8, 3)
    names = ("NHWC", "HWIO", "NHWC")
    library = lambda x, k: lax.conv_general_dilated(x, k, (1, 1), "SAME", dimension_numbers=names)

    def penalty(conv, kernel):
        inner = jax.grad(lambda x: (conv(x, kernel) ** 3).sum())(jnp.asarray(x))
        return (inner**2).mean()

    ours, expected = (jax.grad(partial(penalty, conv))(jnp.asarray(kernel)) for conv in (convolve, library))
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_models_side_by_side_equal_one_after_another(rng):
    x, kernel = draw(rng, (3, 2, 8, 8, 8), 8, 3)
    kernels = np.stack([kernel, 2 * kernel, -kernel])
    together = jax.jit(jax.vmap(convolve))(x, kernels)
    for one, each, its in zip(together, x, kernels, strict=True):
        np.testing.assert_array_equal(one, jax.jit(convolve)(each, its))


def test_an_image_alone_and_in_a_batch(rng):
    x, kernel = draw(rng, (8, 16, 16, 32), 32, 3)
    several = np.asarray(jax.jit(partial(convolve, stride=2))(x, kernel))
    alone = np.asarray(jax.jit(partial(convolve, stride=2))(x[3:4], kernel))
    np.testing.assert_allclose(several[3:4], alone, atol=1e-6 * np.abs(alone).max())


def test_calls_of_several_threads(rng):
    x, kernel = draw(rng, (2, 16, 16, 16), 24, 3)
    conv, found = jax.jit(convolve), [None] * 6
    expected = np.asarray(conv(x, kernel))

    def call(i):
        found[i] = [np.asarray(conv(x, kernel)) for _ in range(20)]

    threads = [threading.Thread(target=call, args=(i,)) for i in range(len(found))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(one, expected) for each in found for one in each)


def test_other_numbers_open_sizes_and_exports_are_left_to_xla(rng):
    x, kernel = draw(rng, (2, 8, 8, 8), 8, 3)
    half = jnp.asarray(x, jnp.bfloat16), jnp.asarray(kernel, jnp.bfloat16)
    assert calls(convolve, *half) == 0
    with onednn.on(False):
        assert calls(convolve, x, kernel) == 0
    assert calls(convolve, x, kernel) == 1
    open_size = jax.ShapeDtypeStruct(export.symbolic_shape("n, 8, 8, 8"), np.float32)
    lowered = export.export(jax.jit(convolve), platforms=["cpu"])(open_size, kernel)
    assert "@Jaxqc" not in lowered.mlir_module()


@pytest.mark.slow
def test_a_networks_gradients_are_those_of_xla(rng):
    from jaxqc.models.tscarnet import TSCARNet

    network, x = TSCARNet(), rng.standard_normal((2, 64, 64, 3), np.float32)
    variables = jax.jit(network.init)(jax.random.key(0), x)

    def loss(params):
        # Without statistics of the batch, which an untrained network's gradients of rounding errors grow by.
        outputs = network.apply({**variables, "params": params}, x)
        return sum((leaf.astype(jnp.float32) ** 2).mean() for leaf in jax.tree.leaves(outputs))

    step = jax.jit(jax.value_and_grad(loss))
    ours = step(variables["params"])
    with onednn.on(False):
        expected = step(variables["params"])
    np.testing.assert_allclose(ours[0], expected[0], rtol=1e-5)
    flat = lambda tree: np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])
    a, b = flat(ours[1]), flat(expected[1])
    assert np.linalg.norm(a - b) < 1e-4 * np.linalg.norm(b)


def test_choice_by_the_environment(monkeypatch, rng):
    x, kernel = draw(rng, (1, 8, 8, 8), 8, 3)
    monkeypatch.setenv(build.VARIABLE, "auto")  # eight devices are simulated
    assert calls(convolve, x, kernel) == (jax.device_count() == 1)
    monkeypatch.setenv(build.VARIABLE, "xla")
    assert build.library() is None
    monkeypatch.setenv(build.VARIABLE, "onedn")
    with pytest.raises(UserError, match=r"JAXQC_CPU_KERNELS: 'onedn' is none \(did you mean 'onednn'\?\)"):
        build.library()


def test_compiled_once_and_kept(monkeypatch, tmp_path):
    installed = build._installed()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    file = build._compiled(*installed)
    stamp = file.stat().st_mtime_ns
    assert [*file.parent.iterdir()] == [file]
    assert (build._compiled(*installed), file.stat().st_mtime_ns) == (file, stamp)


def test_each_reason_has_its_way_out(monkeypatch, tmp_path):
    installed = build._installed()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UserError, match=r"'no-such-compiler' is not on the path \(Debian's package g\+\+"):
        build._compiled(*installed)
    monkeypatch.setenv("CXX", "false")
    with pytest.raises(UserError, match="false failed"):
        build._compiled(*installed)
    assert not [*tmp_path.rglob("*.so")]
    monkeypatch.setattr(build, "LIBRARY", "no-such-package")
    with pytest.raises(UserError, match="the package no-such-package is missing: install the extra `onednn`"):
        build._installed()


@pytest.mark.parametrize("before", [None, "active"])
def test_threads_wait_asleep_unless_the_user_says_otherwise(monkeypatch, before):
    monkeypatch.delenv(build.WAITING, raising=False)
    if before:
        monkeypatch.setenv(build.WAITING, before)
    with build._patient():
        assert os.environ[build.WAITING] == (before or "passive")
    assert os.environ.get(build.WAITING) == before
