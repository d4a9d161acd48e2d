"""EfficientNet-Lite: published sizes, every layer as timm has it, folding, names of files, the installed packages."""

import jax
import numpy as np
import pytest

from jaxqc.errors import UserError
from jaxqc.models.backbones import build, family
from jaxqc.models.efficientnet import EFFICIENTNETS
from jaxqc.models.efficientnet_names import port_name
from jaxqc.models.resnet import IMAGENET_MEAN, IMAGENET_STD
from jaxqc.nn.fold import fold_batch_norm
from jaxqc.weights.known import INSTALLED
from jaxqc.weights.load import load_weights, save_weights
from tests.support.drawn_backbones import drawn, image, shapes

NAME = "efficientnet_lite0"
LITE = family(NAME)
# Mean and mean magnitude of layers 1 to 4 in float64, by timm 1.0.31's tf_efficientnet_lite0(features_only=True) and
# PyTorch 2.13, with the arrays of `drawn` and the image of `image`.
TIMM = ((-0.0110062, 0.418155), (0.0153472, 0.444226), (0.067588, 0.551751), (0.0150868, 0.283513))


def normalised(values: np.ndarray) -> np.ndarray:
    return ((values / 2 + 0.5 - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)).astype(np.float32)


# timm's models have 4,652,008, 5,416,680 and 6,092,072; here without conv_head, its batch norm and the classifier.
@pytest.mark.parametrize(
    ("name", "parameters"),
    [("efficientnet_lite0", 2_958_848), ("efficientnet_lite1", 3_723_520), ("efficientnet_lite2", 4_357_952)],
)
def test_sizes_are_the_published_ones(name: str, parameters: int) -> None:
    leaves = jax.tree.leaves(shapes(name)[1]["params"])
    assert sum(int(np.prod(leaf.shape)) for leaf in leaves) == parameters
    assert EFFICIENTNETS[name].stages[0].blocks == EFFICIENTNETS[name].stages[-1].blocks == 1


def test_every_layer_is_timms_whole_and_folded() -> None:
    variables, report = LITE.convert(drawn(NAME), NAME)
    assert (report.layers, report.unused, report.beyond) == ((1, 2, 3, 4), (), ())
    for folded in (False, True):
        network = build(NAME, (1, 2, 3, 4), folded=folded)
        out = jax.jit(network.apply)(
            fold_batch_norm(variables, LITE.epsilon) if folded else variables, normalised(image())
        )
        for layer, (mean, magnitude) in enumerate(TIMM, 1):
            value = np.asarray(out[f"layer{layer}"], np.float64)
            np.testing.assert_allclose([value.mean(), np.abs(value).mean()], [mean, magnitude], rtol=2e-4, atol=2e-5)


def test_layers_asked_for_come_out_and_nothing_beyond_is_built() -> None:
    whole = drawn(NAME)
    variables, report = LITE.convert({f"module.{key}": value for key, value in whole.items()}, NAME, (1,))
    assert set(variables["params"]) == {"stem", "stage0_0", "stage1_0", "stage1_1"}
    assert (report.prefix, len(report.beyond)) == ("module.", len(whole) - report.used)
    blocks = [stage.blocks for stage in EFFICIENTNETS[NAME].stages]
    lacking = port_name(("params", "stage1_1", "project", "bn", "bias"), blocks)
    with pytest.raises(UserError, match=f"lacks 1 arrays .*{lacking}"):
        LITE.convert({key: value for key, value in whole.items() if key != lacking}, NAME, (1,))
    with pytest.raises(UserError, match="classifier is not built"):
        LITE.convert(whole, NAME, head=True)


def test_timms_names_and_our_own_file_give_the_same_values(tmp_path) -> None:
    whole, timm = drawn(NAME), drawn(NAME, style=1)
    assert len(timm) == len(whole)
    assert not timm.keys() & whole.keys()
    np.savez(tmp_path / "timm.npz", **timm)
    read = load_weights(tmp_path / "timm.npz", NAME)
    jax.tree.map(np.testing.assert_array_equal, read.variables, LITE.convert(whole, NAME)[0])
    save_weights(tmp_path / "own.npz", read)
    again = load_weights(tmp_path / "own.npz")
    assert (again.model, again.layers) == (NAME, (1, 2, 3, 4))
    jax.tree.map(np.testing.assert_array_equal, again.variables, read.variables)


def test_families_and_their_names() -> None:
    assert family("resnet18_cbam").epsilon == 1e-5
    with pytest.raises(UserError, match=r"'efficientnet_lite3' is not one.*efficientnet_lite"):
        build("efficientnet_lite3")


@pytest.mark.parametrize("name", INSTALLED)
def test_the_installed_package_is_read_without_importing_it(name: str) -> None:
    if INSTALLED[name].find() is None:
        pytest.skip(f"{INSTALLED[name].project} is not installed (extra: backbones)")
    weights = load_weights(name, layers=(1, 2))
    assert (weights.model, weights.sha256) == (name, INSTALLED[name].digest)
