"""Transformers of patches: their sizes as published, and what a hidden patch is filled from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.anomaly.detectors.patches import AnoVit, InTra, VtAdl
from jaxqc.anomaly.patches.networks import network
from jaxqc.models.capsule_autoencoder import Mixture, transposed
from jaxqc.models.patch_transformer import PatchSpec, WindowFilling, patched, windows
from tests.support.drawn import drawn


def count(tree) -> int:
    return sum(x.size for x in jax.tree.leaves(tree))


def params(config, side: int):
    image = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    return jax.eval_shape(network(config).init, jax.random.key(0), image)["params"]


def test_intra_is_as_large_as_published():
    """But for a block that the published network copies and never runs, and positions in a window, never read."""
    own = params(InTra(), 256)
    assert count(own) + count(own["block0"]) + 49 * 512 == 59_780_352


def test_a_vit_is_as_large_as_published():
    assert count(params(AnoVit(), 384)["encoder"]) == 86_090_496


def test_vt_adl_is_as_large_as_published():
    """But for biases in front of its decoder's batch norms."""
    own = params(VtAdl(), 512)
    assert count(own["mixture"]) == 5_248_000
    biases = sum(own[f"decode{i}"]["bn"]["scale"].size for i in range(1, 6))
    assert count(own) - count(own["mixture"]) + biases == 35_852_563


def test_a_patch_is_filled_from_the_others_of_its_window_alone(rng):
    """Its own pixels change nothing of what is filled in there; those of others do where they lie in its window."""
    spec = PatchSpec(2, 8, 2, 3, 16, features=True)
    network, x = WindowFilling(spec, 3), rng.uniform(size=(1, 10, 8, 3)).astype(np.float32)
    variables, (rows, columns) = drawn(network, x), (5, 4)
    answer = jax.jit(lambda x: patched(network.apply(variables, x)["rebuilt"], 2)[0])
    moved = x.copy()
    moved[0, 4:6, 2:4] += 0.5  # the patch of the third row, second column
    changed = np.abs(np.asarray(answer(x)) - answer(moved)).max(-1) > 1e-6
    cells, _ = windows(rows, columns, 3)
    expected = [(9 in own) and at != 9 for at, own in enumerate(cells.tolist())]
    np.testing.assert_array_equal(changed, expected)


@pytest.mark.slow
def test_training_hides_a_patch_and_compares_with_it(rng):
    """The answer of training is that of scoring, where the window drawn is the one about the patch."""
    spec = PatchSpec(2, 8, 2, 3, 16, features=True)
    network, x = WindowFilling(spec, 3), rng.uniform(size=(40, 6, 6, 3)).astype(np.float32)
    variables, noise = drawn(network, x[:1]), rng.normal(size=(40, 3)).astype(np.float32)
    out = jax.jit(lambda x, noise: network.apply(variables, x, True, noise))(x, noise)
    whole = patched(jax.jit(lambda x: network.apply(variables, x)["rebuilt"])(x), 2)
    truth, hidden = np.asarray(patched(x, 2)), out["target"].reshape(40, 1, -1)
    at = np.abs(truth - hidden).max(-1).argmin(1)  # one window only: the grid has 3 x 3 patches
    assert set(at) == set(range(9))
    np.testing.assert_array_equal(truth[np.arange(40), at], hidden[:, 0])
    np.testing.assert_allclose(out["rebuilt"].reshape(40, -1), whole[np.arange(40), at], rtol=1e-4, atol=1e-5)


def test_the_mixture_is_a_likelihood(rng):
    """In one dimension it integrates to 1 for each way that the token names it."""
    mixture, tokens = Mixture(3), rng.uniform(0.5, 1.5, (1, 1, 4)).astype(np.float32)
    own = drawn(mixture, tokens)["params"]
    seen = tokens[0, 0].astype(np.float64)
    share = np.exp(seen @ own["share"]["kernel"])
    share /= share.sum()
    spread = np.log1p(np.exp(seen @ own["spread"]["kernel"])).reshape(4, 3)
    mean = (seen @ own["mean"]["kernel"]).reshape(4, 3)
    dense = np.exp(-0.5 * (np.log(2 * np.pi) + spread + np.square(seen[:, None] - mean) / np.exp(spread)).sum(0))
    found = jax.jit(mixture.apply)({"params": own}, tokens)
    assert float(found[0, 0]) == pytest.approx(-np.log(share @ dense) / 4, rel=1e-5)


def test_the_transposed_convolution_is_the_gradient_of_a_convolution(rng):
    """With kernel 9, stride 3, padding 1, as PyTorch defines it."""
    x, kernel = (rng.normal(size=shape).astype(np.float32) for shape in ((1, 4, 4, 2), (9, 9, 2, 3)))
    out = transposed(x, kernel, 3, 1)
    assert out.shape == (1, 16, 16, 3)
    back = lambda y: jax.lax.conv_general_dilated(
        y, kernel.swapaxes(2, 3), (3, 3), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    expected = jax.vjp(back, jnp.zeros((1, 16, 16, 3)))[1](x)[0]
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-4)
