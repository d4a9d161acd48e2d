"""PyTorch's files of before 2020: written here pickle by pickle, read without PyTorch, and nothing in them is run."""

import io
import os
import pickle
import sys
from collections import OrderedDict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from jaxqc.errors import UserError
from jaxqc.weights.files import read_arrays
from jaxqc.weights.legacy_torch import MAGIC, is_legacy, read_legacy


class Storage:
    """Stands for the storage of an array of that type in a pickle."""

    def __init__(self, kind: type, array: np.ndarray) -> None:
        self.kind, self.array = kind, array


class Tensor:
    """A view of a storage, pickled as PyTorch does."""

    def __init__(self, rebuild: Any, storage: Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]):
        self.rebuild, self.arguments = rebuild, (storage, offset, shape, strides, False, OrderedDict())

    def __reduce__(self):
        return self.rebuild, self.arguments


@pytest.fixture
def torch(monkeypatch) -> ModuleType:
    """Modules by the names that such pickles hold; they are gone when a file is read."""
    module, utils = ModuleType("torch"), ModuleType("torch._utils")

    def _rebuild_tensor_v2(*_: Any) -> None:
        raise AssertionError("run while reading")

    for thing in (_rebuild_tensor_v2, *(type(name, (), {}) for name in ("FloatStorage", "LongStorage"))):
        home = utils if thing is _rebuild_tensor_v2 else module
        thing.__module__, thing.__qualname__ = home.__name__, thing.__name__
        setattr(home, thing.__name__, thing)
    monkeypatch.setitem(sys.modules, "torch", module)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    return module


def write(path: Path, content: Any) -> None:
    """The five pickles and the storages."""
    stores: dict[str, Storage] = {}

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: Any) -> Any:
            if not isinstance(obj, Storage):
                return None
            stores[str(id(obj))] = obj
            return "storage", obj.kind, str(id(obj)), "cpu", obj.array.size, None

    out = io.BytesIO()
    for value in (MAGIC, 1001, {"little_endian": True}, content):
        Pickler(out, 2).dump(value)
    pickle.dump(list(stores), out, 2)
    for storage in stores.values():
        out.write(storage.array.size.to_bytes(8, "little") + storage.array.tobytes())
    path.write_bytes(out.getvalue())


def tensor(torch: Any, array: np.ndarray, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Tensor:
    kind = torch.FloatStorage if array.dtype == np.float32 else torch.LongStorage
    return Tensor(sys.modules["torch._utils"]._rebuild_tensor_v2, Storage(kind, array), offset, shape, strides)


@pytest.fixture
def file(torch, tmp_path: Path) -> Path:
    """A state dict with a turned view, a part of a storage and a counter."""
    values = np.arange(12, dtype=np.float32)
    content = OrderedDict(
        turned=tensor(torch, values, 0, (4, 3), (1, 4)),
        part={"tail": tensor(torch, values, 8, (2, 2), (2, 1))},
        counter=tensor(torch, np.array([7]), 0, (), ()),
    )
    write(tmp_path / "old.pth", content)
    return tmp_path / "old.pth"


def test_views_are_read_as_they_lie_in_their_storage(file: Path, monkeypatch) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.delitem(sys.modules, "torch._utils")
    values = np.arange(12, dtype=np.float32)
    assert is_legacy(file)
    found = read_legacy(file)
    np.testing.assert_array_equal(found["turned"], values.reshape(3, 4).T)
    np.testing.assert_array_equal(found["part.tail"], [[8, 9], [10, 11]])
    assert (found["counter"].dtype, found["counter"].tolist()) == (np.int64, 7)
    arrays, meta = read_arrays(file)
    assert (arrays["counter"].dtype, meta) == (np.float32, None)


def test_code_is_refused_and_never_run(torch, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'run'}",)

    write(tmp_path / "evil.pth", {"weight": Evil()})
    with pytest.raises(UserError, match=r"holds more than tensors \(posix.system\), which is never executed"):
        read_arrays(tmp_path / "evil.pth")
    assert not (tmp_path / "run").exists()


def test_damage_is_one_line(file: Path, torch, tmp_path: Path) -> None:
    whole = file.read_bytes()
    for size in range(20, len(whole), 7):
        file.write_bytes(whole[:size])
        with pytest.raises(UserError, match=r"old.pth: not a sound file of PyTorch's"):
            read_arrays(file)
    write(tmp_path / "far.pth", {"far": tensor(torch, np.zeros(4, np.float32), 2, (3,), (1,))})
    with pytest.raises(UserError, match="lies outside its storage"):
        read_arrays(tmp_path / "far.pth")
