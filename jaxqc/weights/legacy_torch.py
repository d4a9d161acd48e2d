"""PyTorch's files of before 2020, read as NumPy arrays without PyTorch and without running what a pickle asks for.

Such a file is five pickles, one after another (a magic number, the protocol, facts on the machine, the content, the
storages' keys), and then each storage: its number of elements and their bytes. The unpickler here knows mappings and
tensors alone, and makes plain descriptions of these.
"""

import pickle
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from jaxqc.errors import UserError

MAGIC = 0x1950A86A20F9469CFC6C
"""The number that such a file begins with."""
_TYPES = {
    "FloatStorage": np.dtype("<f4"), "DoubleStorage": np.dtype("<f8"), "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16), "LongStorage": np.dtype("<i8"), "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"), "CharStorage": np.dtype("i1"), "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}  # fmt: skip


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: np.dtype[Any]
    elements: int


@dataclass(frozen=True)
class _Tensor:
    """A view of a storage; offset and strides in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def of(self, values: np.ndarray) -> np.ndarray:
        """A copy of its elements. Raises ValueError where they lie outside the storage."""
        steps = sum((n - 1) * step for n, step in zip(self.shape, self.strides, strict=True))
        last = self.offset + steps if 0 not in self.shape else 0
        if min(self.offset, *self.shape, *self.strides, 0) < 0 or last >= max(len(values), 1):
            raise ValueError(f"a tensor of shape {self.shape} lies outside its storage")
        sizes = tuple(step * values.itemsize for step in self.strides)
        return np.lib.stride_tricks.as_strided(values[self.offset :], self.shape, sizes).copy()


def is_legacy(path: Path) -> bool:
    """True where a file begins as one of before 2020 does.

    Examples:
      >>> Path("new.pth").write_bytes(b"PK")
      2
      >>> is_legacy(Path("new.pth"))
      False
    """
    with path.open("rb") as file:
        return file.read(15) == pickle.dumps(MAGIC, 2)


def read_legacy(path: Path) -> dict[str, np.ndarray]:
    """Every tensor in the file's nested mappings by its dotted name, as stored.

    Raises:
      UserError: the content is more than mappings and tensors: nothing of it was run.
      ValueError: the file is cut off, or no such file.
    """
    with path.open("rb") as file:
        if _load(path, file) != MAGIC or _load(path, file) != 1001 or not isinstance(_load(path, file), dict):
            raise ValueError("not a file of PyTorch's old kind")
        content, keys = _load(path, file), _load(path, file)
        wanted = {tensor.storage.key: tensor.storage for _, tensor in _tensors(content)}
        storages = {key: _values(file, wanted.get(key)) for key in keys}
    return {name: tensor.of(storages[tensor.storage.key]) for name, tensor in _tensors(content)}


def _values(file: BinaryIO, storage: _Storage | None) -> np.ndarray:
    if storage is None:
        raise ValueError("a storage belongs to no tensor")
    count = int.from_bytes(file.read(8), "little", signed=True)
    if count != storage.elements:
        raise ValueError(f"a storage has {count} elements, {storage.elements} were said")
    data = file.read(count * storage.dtype.itemsize)
    return np.frombuffer(data, storage.dtype, count)


def _tensors(content: Any, prefix: str = "") -> Iterator[tuple[str, _Tensor]]:
    for name, value in content.items() if isinstance(content, Mapping) else ():
        if isinstance(value, _Tensor):
            yield f"{prefix}{name}", value
        else:
            yield from _tensors(value, f"{prefix}{name}.")


def _load(path: Path, file: BinaryIO) -> Any:
    return _Unpickler(path, file).load()


class _Unpickler(pickle.Unpickler):
    """An unpickler that knows no code but what stands here."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        super().__init__(file)
        self.path = path

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if (module_name, global_name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module_name, global_name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module_name, global_name) == ("torch._utils", "_rebuild_parameter"):
            return lambda tensor, *_: tensor
        if module_name == "torch" and global_name in _TYPES:
            return _TYPES[global_name]
        raise UserError(
            f"{self.path}: holds more than tensors ({module_name}.{global_name}), which is never executed; save its"
            " state_dict alone"
        )

    def persistent_load(self, pid: Any, /) -> _Storage:
        kind, dtype, key, _, elements, view = pid
        if kind != "storage" or view is not None or not isinstance(dtype, np.dtype):
            raise ValueError("a storage of an unknown kind")
        return _Storage(str(key), dtype, int(elements))


def _tensor(storage: Any, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any) -> _Tensor:
    if not isinstance(storage, _Storage):
        raise ValueError("a tensor without a storage")
    return _Tensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))
