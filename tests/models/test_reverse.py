"""RD4AD's embedding and decoder: parameter counts as published, and sides, folding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.errors import UserError
from jaxqc.models.resnet import BACKBONES
from jaxqc.models.reverse import Levels, TransposedBN, build_reverse, check_side
from jaxqc.nn.fold import fold_batch_norm
from tests.support.drawn import drawn


def shapes_of(name, layers=(1, 2, 3), side=64):
    spec = BACKBONES[name]
    grids = [(side // 2 ** (layer + 1), spec.channels(layer)) for layer in layers]
    return [jax.ShapeDtypeStruct((1, n, n, c), jnp.float32) for n, c in grids]


@pytest.mark.parametrize(
    ("name", "embedding", "decoder"),
    [
        ("resnet18", 12_205_312, 3_703_168),
        ("resnet50", 39_222_272, 15_821_824),
        ("wide_resnet50_2", 67_277_824, 24_917_504),
    ],
)
def test_parameters_are_as_many_as_the_authors_have(name, embedding, decoder):
    """Theirs count a 1x1 convolution with its batch norm of the embedding, which is never called."""
    channels = [BACKBONES[name].channels(layer) for layer in (1, 2, 3)]
    network = build_reverse(name, (1, 2, 3), channels)
    params = jax.eval_shape(network.init, jax.random.key(0), tuple(shapes_of(name)))["params"]
    count = lambda own: sum(x.size for key in params if key.startswith("decoder") == own
                            for x in jax.tree.leaves(params[key]))  # fmt: skip
    half = 2 * channels[-1]
    assert count(False) == embedding - (2 * half * half + 2 * half)
    assert count(True) == decoder


def test_a_doubling_sets_each_pixel_of_a_cell_by_its_own_matrix(rng):
    x, layer = jnp.asarray(rng.normal(size=(2, 3, 4, 5)), jnp.float32), TransposedBN(6, act=None)
    variables = layer.init(jax.random.key(0), x)
    y, kernel = layer.apply(variables, x), np.asarray(variables["params"]["kernel"])
    for a in (0, 1):
        for b in (0, 1):
            expected = np.asarray(x) @ kernel[a, b] / np.sqrt(1 + 1e-5)
            np.testing.assert_allclose(y[:, a::2, b::2], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "layers"), [("resnet18", (1, 3)), ("resnet50", (2,)), ("efficientnet_lite0", (1, 2))])
def test_any_layers_come_back_in_their_own_shapes(name, layers):
    wanted = shapes_of(name if name in BACKBONES else "resnet18", layers)
    network = build_reverse(name, layers, [x.shape[-1] for x in wanted])
    variables = jax.eval_shape(network.init, jax.random.key(0), tuple(wanted))
    found = jax.eval_shape(network.apply, variables, tuple(wanted))
    assert [found[f"layer{layer}"].shape for layer in layers] == [x.shape for x in wanted]


def test_folded_it_gives_the_same(rng):
    layers = tuple(jnp.asarray(rng.normal(size=x.shape), jnp.float32) for x in shapes_of("resnet18", (1,), 32))
    network = build_reverse("resnet18", (1,), (64,))
    variables = drawn(network, layers)
    folded = build_reverse("resnet18", (1,), (64,), folded=True)
    found = jax.jit(folded.apply)(fold_batch_norm(variables), layers)["layer1"]
    expected = jax.jit(network.apply)(variables, layers)["layer1"]
    np.testing.assert_allclose(found, expected, atol=1e-5 * float(expected.max()))


@pytest.mark.misuse
def test_sides_that_do_not_come_out_are_named():
    check_side(48, Levels((1, 2), (64, 128)), "data.size")
    with pytest.raises(UserError, match=r"data\.size=224 must be a multiple of 64 for layers up to 4; take 256"):
        check_side(224, Levels((1, 4), (64, 512)), "data.size")
