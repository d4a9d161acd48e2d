"""MINet's variables under its authors' names, narrow: there and back, and what a file may lack."""

import numpy as np
import pytest

from benchmarks.lib.networks import random_variables
from jaxqc.errors import UserError
from jaxqc.models.arrays import flatten
from jaxqc.models.minet import MINet, scaled
from jaxqc.models.minet_names import convert_minet, export_minet

WIDTHS = scaled(0.125)


@pytest.fixture(scope="module")
def variables():
    return random_variables(MINet(WIDTHS), varied=True)


def test_the_authors_names_and_back_are_bit_equal(variables):
    arrays = export_minet(variables)
    counters = {name.replace("running_mean", "num_batches_tracked"): np.int64(7) for name in arrays if "mean" in name}
    back, report = convert_minet({**arrays, **counters, "head.weight": np.ones(1)}, WIDTHS)
    assert report.used == len(arrays)
    assert report.unused == ("head.weight",)
    ours, theirs = flatten(variables), flatten(back)
    assert ours.keys() == theirs.keys()
    for path, value in ours.items():
        np.testing.assert_array_equal(theirs[path], value, err_msg="/".join(path))


def test_each_array_stands_where_the_published_module_has_it(variables):
    """Names and layouts of the authors' code, read from its modules."""
    arrays, encoder = export_minet(variables), variables["params"]["encoder"]
    third, (_, *middle, last) = encoder["e3_mi"], WIDTHS
    assert len(middle) == 3
    assert arrays["encoder3.4.Dconv.2.conv.0.weight"].shape == (WIDTHS[2], 1, 3, 3)
    np.testing.assert_array_equal(
        arrays["encoder3.4.Dconv.2.conv.0.weight"][1, 0], third["dilation4"]["kernel"][3, ..., 1]
    )
    mixing = arrays["encoder3.2.Pconv.3.conv.0.weight"]
    assert mixing.shape == (1, 4, 1, 1)
    np.testing.assert_array_equal(mixing.ravel(), third["mix"]["kernel"][1, :, 3])
    assert (
        arrays["encoder3.2.Pconv.3.conv.1.running_var"]
        == variables["batch_stats"]["encoder"]["e3_mi"]["mix"]["bn"]["var"][1, 3]
    )
    np.testing.assert_array_equal(
        arrays["encoder5.0.conv.1.conv.0.weight"][..., 0, 0], encoder["e5_down"]["pointwise"]["kernel"].T
    )
    assert arrays["conv_out5.conv.1.bias"].shape == (1,)
    assert arrays["decoder5.0.conv.1.conv.0.weight"].shape == (last, last, 1, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("encoder1.conv.0.weight"), r"lacks 1 arrays .*encoder1\.conv\.0\.weight"),
        (
            lambda a: a.update({"conv_out1.conv.1.bias": np.ones(2)}),
            r"conv_out1\.conv\.1\.bias: shape \(2,\) in the file",
        ),
    ],
)
def test_an_array_that_does_not_fit_is_named(variables, change, message):
    arrays = export_minet(variables)
    change(arrays)
    with pytest.raises(UserError, match=message):
        convert_minet(arrays, WIDTHS)
