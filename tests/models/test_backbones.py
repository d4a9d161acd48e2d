"""Backbones beside the ResNets: published sizes and layers, names of files, and the reading of parts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.errors import UserError
from jaxqc.models.backbones import backbone_names, build, family
from jaxqc.nn.conv import Norm, NormAct
from jaxqc.nn.fold import fold_batch_norm
from jaxqc.weights.known import KNOWN
from jaxqc.weights.load import load_weights, save_weights
from tests.support.drawn_backbones import drawn, shapes

SIZED = ("efficientnet_b0", "efficientnet_b4", "efficientnet_b5")
NAMES = (
    "vgg11_bn",
    "vgg16",
    "alexnet",
    "densenet201",
    "hrnet_w32",
    "wide_resnet101_2",
    *SIZED,
    *(f"tf_{name}" for name in SIZED),
)
# Parameters by torchvision 0.24.1 and timm 1.0.31, summed over the modules that the layers need; channels of these.
SIZES = {
    ("vgg11_bn", (2,)): (962_304, (256,)),
    ("vgg16", (1, 2, 3, 4)): (14_714_688, (128, 256, 512, 512)),
    ("alexnet", (1, 2, 3, 4)): (2_469_696, (64, 192, 256, 256)),
    ("densenet201", (1, 2)): (1_297_536, (256, 512)),
    ("hrnet_w32", (1, 2, 3)): (28_732_352, (32, 64, 128)),
    ("tf_efficientnet_b5", (4,)): (17_543_204, (304,)),
    ("efficientnet_b0", (1, 2, 3)): (851_808, (24, 40, 112)),
}


@pytest.mark.parametrize(
    ("name", "layers"), [pytest.param(*k, marks=pytest.mark.slow) if "efficientnet" in k[0] else k for k in SIZES]
)
def test_sizes_channels_and_strides_are_the_published_ones(name: str, layers: tuple[int, ...]) -> None:
    out, variables = shapes(name, layers, 64 if name != "alexnet" else 63)
    parameters, channels = SIZES[name, layers]
    assert sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(variables["params"])) == parameters
    assert [out[f"layer{layer}"].shape[-1] for layer in layers] == list(channels)
    if name != "alexnet":  # whose sides round down at each of its strides of 2
        assert [out[f"layer{layer}"].shape[1] for layer in layers] == [64 // 2 ** (layer + 1) for layer in layers]


@pytest.mark.parametrize("name", NAMES)
def test_each_has_a_known_file_and_refuses_unknown_layers_and_types(name: str) -> None:
    assert name in backbone_names()
    assert KNOWN[name].model == name
    with pytest.raises(UserError, match="layers: 0,5; choose one or more of 1,2,3,4"):
        build(name, (0, 5))
    with pytest.raises(UserError, match="dtype 'float16' is neither"):
        build(name, dtype="float16")


def test_files_of_parts_are_read_to_their_last_whole_layer(tmp_path) -> None:
    whole, one = drawn("alexnet"), family("alexnet")
    part = {name: value for name, value in whole.items() if int(name.split(".")[1]) < 6}
    variables, report = one.convert(part | {"classifier.1.weight": np.zeros((2, 2))}, "alexnet")
    assert (report.layers, report.used, report.unused) == ((1, 2), 4, ("classifier.1.weight",))
    for name, value in one.export(variables, "alexnet").items():
        np.testing.assert_array_equal(value, whole[name])
    np.savez(tmp_path / "part.npz", **part)
    save_weights(tmp_path / "own.npz", load_weights(tmp_path / "part.npz", "alexnet"))
    again = load_weights(tmp_path / "own.npz")
    jax.tree.map(np.testing.assert_array_equal, again.variables, variables)
    with pytest.raises(UserError, match=r"alexnet: the file lacks 6 arrays .*features\.6\.bias"):
        one.convert(part, "alexnet", (3,))
    with pytest.raises(UserError, match="classifier is not built here"):
        one.convert(whole, "alexnet", head=True)


@pytest.mark.slow
def test_densenets_published_files_have_a_dot_in_their_norms() -> None:
    old = drawn("densenet201", (1,), style=1)
    assert "features.denseblock1.denselayer6.norm.2.running_var" in old
    assert "features.norm0.weight" in old
    variables, report = family("densenet201").convert(old, "densenet201", (1,))
    assert (report.layers, report.used) == ((1,), len(old))
    new = family("densenet201").export(variables, "densenet201")
    np.testing.assert_array_equal(
        new["features.denseblock1.denselayer3.conv1.weight"], old["features.denseblock1.denselayer3.conv.1.weight"]
    )


def test_a_batch_norm_of_its_own_folds_to_scale_and_bias() -> None:
    rng, x = np.random.default_rng(0), np.random.default_rng(1).normal(size=(2, 3, 3, 4)).astype(np.float32)
    draw = lambda low, high: rng.uniform(low, high, 4).astype(np.float32)
    scale, bias, mean, var = draw(0.5, 1), draw(-1, 1), draw(-1, 1), draw(0.5, 2)
    statistics = {"norm1": {"bn": {"mean": mean, "var": var}}}
    whole = {"params": {"norm1": {"bn": {"scale": scale, "bias": bias}}}, "batch_stats": statistics}
    folded = fold_batch_norm(whole)["params"]["norm1"]
    expected = np.maximum((x - mean) / np.sqrt(var + 1e-5) * scale + bias, 0)
    for norm, variables in (
        (Norm(), {"params": whole["params"]["norm1"], "batch_stats": statistics["norm1"]}),
        (Norm(folded=True), {"params": folded}),
    ):
        np.testing.assert_allclose(NormAct(norm).apply(variables, jnp.asarray(x)), expected, atol=1e-6)
