"""PaddlePaddle's files of weights: arrays and nothing else."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from jaxqc.errors import UserError
from jaxqc.weights.files import read_arrays

KERNEL = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.mark.parametrize("protocol", [2, 4])
def test_arrays_are_read_by_name(tmp_path: Path, protocol: int) -> None:
    """As of before 2.1, where a value is an array, and since, where it has its inner name beside it."""
    content = {"conv.weight": KERNEL, "conv.bias": ("conv2d_0.b_0", KERNEL[0].astype(np.float16))}
    content["StructuredToParameterName@@"] = {"conv.weight": "conv2d_0.w_0"}  # type: ignore[assignment]
    path = tmp_path / "model.pdparams"
    path.write_bytes(pickle.dumps(content, protocol))
    arrays, meta = read_arrays(path)
    assert (sorted(arrays), meta) == (["conv.bias", "conv.weight"], None)
    np.testing.assert_array_equal(arrays["conv.weight"], KERNEL)
    np.testing.assert_array_equal(arrays["conv.bias"], KERNEL[0])


class Bad:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_nothing_of_a_file_is_run(tmp_path: Path) -> None:
    path, made = tmp_path / "model.pdparams", tmp_path / "made"
    for content in ({"a": Bad(made)}, {"a": np.array([Bad(made)], dtype=object)}):
        path.write_bytes(pickle.dumps(content))
        with pytest.raises(UserError, match=r"model\.pdparams: holds more than arrays .*never executed"):
            read_arrays(path)
    assert not made.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps([1]), "holds no mapping of arrays"),
        (pickle.dumps({"a": 1}), "holds no arrays by name"),
        (pickle.dumps({"a": np.array(["x"])}), "'a' holds no numbers"),
        (pickle.dumps({"a": KERNEL})[:-9], "not a sound file of PaddlePaddle's"),
    ],
)
def test_what_holds_no_weights_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "model.pdparams"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_arrays(path)
