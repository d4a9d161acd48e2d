"""State dicts of ResNets → variables and reports: parts of them, other prefixes, folded ones, gates, wrong arrays."""

import jax
import numpy as np
import pytest

from jaxqc.errors import UserError
from jaxqc.models.pretrained import convert_state
from jaxqc.models.resnet import build_backbone
from jaxqc.nn.fold import fold_batch_norm
from tests.support.resnet_states import state, whole  # noqa: F401 - a fixture


def folded_by_hand(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every batch norm multiplied into its convolution, as the shared ResNet-18 has it."""
    out = {}
    for key, value in arrays.items():
        if value.ndim != 4:
            continue
        stem = key.removesuffix(".weight")
        bn = stem.replace("conv", "bn").replace("downsample.0", "downsample.1")
        factor = arrays[f"{bn}.weight"] / np.sqrt(arrays[f"{bn}.running_var"] + 1e-5)
        out[key] = value * factor[:, None, None, None]
        out[f"{stem}.bias"] = arrays[f"{bn}.bias"] - arrays[f"{bn}.running_mean"] * factor
    return out


def test_whole_and_prefix_files_report_what_they_hold(whole) -> None:
    variables, report = convert_state(whole, "resnet18", head=True)
    assert (report.layers, report.classes, report.used) == ((1, 2, 3, 4), 7, len(whole))
    assert (report.missing, report.unused, report.beyond) == ((), (), ())
    assert variables["params"]["fc"]["kernel"].shape == (512, 7)

    variables, report = convert_state(whole, "resnet18", layers=(2,))
    assert not any(name.startswith(("layer3", "fc")) for name in variables["params"])
    assert report.layers == (2,)
    assert {name.split(".")[0] for name in report.beyond} == {"layer3", "layer4", "fc"}
    assert report.unused == ()

    prefix = {key: value for key, value in whole.items() if not key.startswith(("layer3", "layer4", "fc"))}
    assert convert_state(prefix, "resnet18")[1].layers == (1, 2)
    with pytest.raises(UserError, match=r"lacks 25 arrays that are needed: layer3\.0\.bn1\."):
        convert_state(prefix, "resnet18", layers=(1, 3))
    with pytest.raises(UserError, match=r"lacks 52 arrays .*layer3"):
        convert_state(prefix, "resnet18", head=True)

    part = {key: value for key, value in whole.items() if key != "layer3.1.bn2.running_var"}
    report = convert_state(part, "resnet18")[1]
    assert (report.layers, report.missing) == ((1, 2), ("layer3.1.bn2.running_var",))
    assert "missing: 1: layer3.1.bn2.running_var" in report.lines()


def test_prefixes_counters_and_strangers(whole) -> None:
    wrapped = {f"module.{key}": value for key, value in whole.items()}
    wrapped |= {"module.bn1.num_batches_tracked": np.array(3), "module.bam1.weight": np.ones(3, np.float32)}
    variables, report = convert_state(wrapped, "resnet18", head=True)
    assert report.unused == ("bam1.weight",)
    plain = convert_state(whole, "resnet18", head=True)[0]
    jax.tree.map(np.testing.assert_array_equal, variables, plain)


def test_files_with_batch_norm_folded_give_the_same_features(whole) -> None:
    variables, report = convert_state(whole, "resnet18", layers=(1, 2))
    neutral, of_folded = convert_state(folded_by_hand(whole), "resnet18", layers=(1, 2))
    assert (report.folded, of_folded.folded) == (False, True)
    assert of_folded.unused == ()
    assert "ours is neutral" in of_folded.lines()[1]
    expected, found = fold_batch_norm(variables), fold_batch_norm(neutral)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), found, expected)
    # A neutral batch norm changes no kernel at all.
    kernel = folded_by_hand(whole)["conv1.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(found["params"]["conv1"]["kernel"], kernel)


def test_cbam_files_and_plain_ones_in_a_cbam_network() -> None:
    gated = state("resnet18_cbam", (1,))
    assert "layer1.1.cbam.ChannelGate.mlp.3.bias" in gated
    variables, report = convert_state(gated, "resnet18_cbam")
    assert not report.identity
    block = variables["params"]["layer1_0"]["cbam"]
    np.testing.assert_array_equal(block["strength"], [1, 1])
    np.testing.assert_array_equal(
        block["channel"]["squeeze"]["kernel"], gated["layer1.0.cbam.ChannelGate.mlp.1.weight"].T
    )
    np.testing.assert_array_equal(
        variables["batch_stats"]["layer1_0"]["cbam"]["spatial"]["bn"]["var"],
        gated["layer1.0.cbam.SpatialGate.spatial.bn.running_var"],
    )
    with pytest.raises(UserError, match="use resnet18_cbam"):
        convert_state(gated, "resnet18")
    broken = {key: value for key, value in gated.items() if "layer1.1.cbam.SpatialGate.spatial.conv" not in key}
    with pytest.raises(UserError, match=r"lacks 1 arrays .*layer1\.1\.cbam\.SpatialGate\.spatial\.conv\.weight"):
        convert_state(broken, "resnet18_cbam", layers=(1,))

    plain = {key: value for key, value in gated.items() if "cbam" not in key}
    variables, report = convert_state(plain, "resnet18_cbam")
    assert report.identity
    np.testing.assert_array_equal(variables["params"]["layer1_0"]["cbam"]["strength"], [0, 0])
    x = np.random.default_rng(0).normal(size=(1, 32, 32, 3)).astype(np.float32)
    with_gates = jax.jit(build_backbone("resnet18_cbam", (1,)).apply)(variables, x)["layer1"]
    without = jax.jit(build_backbone("resnet18", (1,)).apply)(convert_state(plain, "resnet18")[0], x)["layer1"]
    np.testing.assert_array_equal(with_gates, without)


def test_wrong_arrays_are_named(whole) -> None:
    grey = {**whole, "conv1.weight": whole["conv1.weight"][:, :1]}
    with pytest.raises(
        UserError, match=r"conv1\.weight: shape \(64, 1, 7, 7\) in the file, \(64, 3, 7, 7\) in resnet18"
    ):
        convert_state(grey, "resnet18")
    narrow = {**whole, "layer2.0.downsample.0.weight": whole["layer2.0.downsample.0.weight"][..., 0]}
    with pytest.raises(UserError, match=r"shape \(128, 64, 1\) in the file, \(128, 64, 1, 1\)"):
        convert_state(narrow, "resnet18")
    with pytest.raises(UserError, match=r"resnet50: the file lacks 30 arrays .*layer1\.0\.bn3"):
        convert_state(whole, "resnet50")
    damaged = {**whole, "layer1.0.bn1.bias": np.full(64, np.nan, np.float32)}
    with pytest.raises(UserError, match=r"layer1\.0\.bn1\.bias: holds values that are not finite"):
        convert_state(damaged, "resnet18", layers=(1,))
    with pytest.raises(UserError, match=r"lacks .* needed: bn1\.running_mean"):
        convert_state({}, "resnet18")
