"""Variables of rivals under the names of their authors' files, narrow: there and back, and what a file may lack."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np
import pytest

from benchmarks.lib.networks import random_variables
from jaxqc.errors import UserError
from jaxqc.models.arrays import Arrays, flatten
from jaxqc.models.corrnet_names import convert_corrnet, export_corrnet
from jaxqc.models.pp_liteseg_names import convert_pp_liteseg, export_pp_liteseg, size_of
from jaxqc.models.uctransnet_names import convert_uctransnet, export_uctransnet
from jaxqc.saliency.networks import build


class Names(NamedTuple):
    """A network's way there and back, an array of its file that a test takes away, and a bias before a batch norm."""

    export: Callable[[Any], dict[str, np.ndarray]]
    convert: Callable[[Arrays, nn.Module], Any]
    lacking: str
    bias: str
    behind: tuple[str, ...]
    """The running mean that the bias is taken off."""


CASES = {
    "corrnet": Names(
        export_corrnet, convert_corrnet, "Corr45.linear_e.weight", "vgg.conv2.conv2_1.bias", ("conv2_1", "bn", "mean")
    ),
    "uctransnet": Names(
        export_uctransnet, convert_uctransnet, "mtc.encoder.layer.2.channel_attn.query3.1.weight",
        "mtc.reconstruct_2.conv.bias", ("rebuild2", "bn", "mean"),
    ),
    "pp_liteseg_t": Names(
        partial(export_pp_liteseg, size="t"), partial(convert_pp_liteseg, "t"),
        "backbone.features.4.avd_layer.0.weight", "ppseg_head.cm.stages.1.1._conv.bias",
        ("context", "bins2", "bn", "mean"),
    ),
}  # fmt: skip


class Case:
    """A narrow network with variables of which none is neutral, and its authors' arrays."""

    def __init__(self, name: str) -> None:
        self.names, self.network = CASES[name], build(name, 1, 0.125)
        self.variables = random_variables(self.network, varied=True)
        self.arrays = self.names.export(self.variables)


@pytest.fixture(scope="module", params=sorted(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


def test_the_authors_names_and_back_are_bit_equal(case: Case) -> None:
    back, report = case.names.convert({**case.arrays, "stray.weight": np.ones(1)}, case.network)
    assert report.used == len(case.arrays)
    assert report.unused == ("stray.weight",)
    ours, theirs = flatten(case.variables), flatten(back)
    assert ours.keys() == theirs.keys()
    for path, value in ours.items():
        np.testing.assert_array_equal(theirs[path], value, err_msg="/".join(path))


def test_a_bias_before_a_batch_norm_is_taken_off_its_running_mean(case: Case) -> None:
    bias = np.linspace(-1, 1, len(case.arrays[case.names.bias]), dtype=np.float32)
    before = flatten(case.variables)
    after = flatten(case.names.convert({**case.arrays, case.names.bias: bias}, case.network)[0])
    path = ("batch_stats", *case.names.behind)
    np.testing.assert_allclose(after[path], before[path] - bias, rtol=1e-6)
    changed = [place for place in before if not np.array_equal(before[place], after[place])]
    assert changed == [path]


def test_an_array_that_does_not_fit_is_named(case: Case) -> None:
    lacking = {name: value for name, value in case.arrays.items() if name != case.names.lacking}
    with pytest.raises(UserError, match=rf"lacks 1 arrays .*{case.names.lacking}"):
        case.names.convert(lacking, case.network)
    other = {**case.arrays, case.names.bias: np.ones(3, np.float32)}
    with pytest.raises(UserError, match=rf"{case.names.bias}: shape \(3,\) in the file"):
        case.names.convert(other, case.network)
    broken = {**case.arrays, case.names.lacking: case.arrays[case.names.lacking] * np.nan}
    with pytest.raises(UserError, match=rf"{case.names.lacking}: holds values that are not finite"):
        case.names.convert(broken, case.network)


def test_corrnets_arrays_stand_where_the_published_module_has_them() -> None:
    """Names and layouts of the authors' code, read from its modules."""
    case = Case("corrnet")
    arrays, params = case.arrays, case.variables["params"]
    np.testing.assert_array_equal(arrays["Corr45.linear_e.weight"], params["correlation"]["alike"]["kernel"].T)
    np.testing.assert_array_equal(
        arrays["prediction_decoder.decoder2.1.stage32.conv.0.conv.0.weight"][:, 0],
        params["refine2"]["wide3"]["depthwise"]["kernel"].transpose(2, 0, 1),
    )
    np.testing.assert_array_equal(
        arrays["vgg.conv5.conv5_2.conv.1.conv.1.running_var"],
        case.variables["batch_stats"]["conv5_2"]["pointwise"]["bn"]["var"],
    )
    assert arrays["prediction_decoder.sa_x1.conv1.weight"].shape == (1, 1, 3, 3)


def test_uctransnets_first_kernel_reads_red_first() -> None:
    case = Case("uctransnet")
    kernel = case.variables["params"]["inc"]["kernel"]
    np.testing.assert_array_equal(case.arrays["inc.conv.weight"][:, ::-1], kernel.transpose(3, 2, 0, 1))
    key = case.variables["params"]["mixer"]["key"]["kernel"]
    side = key.shape[1]
    np.testing.assert_array_equal(
        case.arrays["mtc.encoder.layer.1.channel_attn.key.2.weight"], key[1, :, 2 * side : 3 * side].T
    )
    place = case.variables["params"]["embed1"]["position"]
    np.testing.assert_array_equal(case.arrays["mtc.embeddings_1.position_embeddings"][0, 15], place[1, 1])


def test_pp_litesegs_size_and_classes_are_the_files() -> None:
    case = Case("pp_liteseg_t")
    assert size_of(case.arrays) == "t"
    with pytest.raises(UserError, match="the file is of size t; name pp_liteseg_t"):
        convert_pp_liteseg("b", case.arrays)
    with pytest.raises(UserError, match=r"no blocks backbone\.features\.N of size b or t"):
        size_of({"features.0.weight": np.ones(1)})
    heads = [name for name in case.arrays if name.endswith("conv_out.weight") and name.startswith("seg_heads")]
    assert len(heads) == 3
    streets = {name: np.ones((19, *case.arrays[name].shape[1:]), np.float32) for name in heads}
    found, report = convert_pp_liteseg("t", {**case.arrays, **streets}, case.network)
    assert set(report.beyond) == set(heads)
    assert not {"out8", "out16", "out32"} & set(found["params"])
    assert len(flatten(found)) == len(flatten(case.variables)) - 3
