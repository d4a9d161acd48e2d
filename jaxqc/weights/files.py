"""Reading weight files of any kind as numpy arrays, and our own: one `.npz` of arrays and a JSON record."""

import json
import pickle
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from jaxqc.atomic import whole_file
from jaxqc.errors import UserError
from jaxqc.weights.legacy_torch import is_legacy, read_legacy
from jaxqc.weights.paddle import read_paddle

TORCH = (".pth", ".pt", ".bin", ".ckpt", ".tar")
PADDLE = ".pdparams"
KINDS = (".npz", ".safetensors", PADDLE, *TORCH)
META = "meta"
"""Name of the JSON record in a file of our own."""
TYPES = {
    **{"F64": np.dtype("f8"), "F32": np.dtype("f4"), "F16": np.dtype("f2")},
    **{f"{kind}{8 * n}": np.dtype(f"{kind.lower()}{n}") for kind in "IU" for n in (1, 2, 4, 8)},
    **{"BOOL": np.dtype("?"), "BF16": np.dtype(ml_dtypes.bfloat16)},
    **{"F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn), "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2)},
}
"""NumPy's type of each kind of number in .safetensors, those of a byte or two by JAX's own library."""


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any] | None]:
    """Arrays by name, and the record where the file is one of our own (`write_own`), else None.

    No pickle is ever executed: `.npz` is read without it, `.pth` by PyTorch's weights-only loading, or where it is of
    before 2020 without PyTorch, `.pdparams` by an unpickler that knows arrays alone. A number behind the ending, as in
    `net.pth.34`, is passed over.

    Raises:
      UserError: an unknown kind of file, a damaged one, one that holds more than arrays, or a library that is missing.

    Examples:
      >>> np.savez("weights.npz", kernel=np.ones((2, 3), np.float32))
      >>> arrays, meta = read_arrays(Path("weights.npz"))
      >>> arrays["kernel"].shape, meta
      ((2, 3), None)
    """
    kind = ending(path)
    if kind not in KINDS:
        raise UserError(f"{path}: kind {kind or 'without ending'!r} is not one of {', '.join(KINDS)}")
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if kind == ".npz":
        return _read_npz(path)
    if kind == PADDLE:
        with _mended(path, "file of PaddlePaddle's"):
            return {name: _numbers(path, name, array) for name, array in read_paddle(path).items()}, None
    return (_read_safetensors(path) if kind == ".safetensors" else _read_torch(path)), None


def ending(path: Path) -> str:
    """The ending that says a file's kind; a number of epochs behind it is passed over.

    Examples:
      >>> ending(Path("EORSSD_CorrNet.pth.34")), ending(Path("net.PTH"))
      ('.pth', '.pth')
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if len(suffixes) > 1 and suffixes[-1][1:].isdigit() and suffixes[-2] in KINDS:
        return suffixes[-2]
    return suffixes[-1] if suffixes else ""


def write_own(path: Path, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> None:
    """Writes our own format, at once and whole.

    Raises:
      UserError: it cannot be written.

    Examples:
      >>> write_own(Path("own.npz"), {"params/kernel": np.ones(2, np.float32)}, {"model": "resnet18"})
      >>> read_arrays(Path("own.npz"))[1]["model"]
      'resnet18'
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as part, part.open("wb") as file:
            np.savez(file, **{META: np.array(json.dumps(dict(meta)))}, **arrays)  # type: ignore[reportArgumentType]
    except OSError as e:
        raise UserError(f"{path}: cannot be written ({e.strerror or e}); make room there, or choose another") from e


@contextmanager
def _mended(path: Path, kind: str) -> Iterator[None]:
    """Whatever reading raises, as one `UserError`: on damaged bytes the libraries raise nearly anything."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old and foreign files: they are read, or reported below
            yield
    except UserError:
        raise
    except OSError as e:
        reason = f"cannot be read ({e.strerror})" if e.strerror else f"not a sound {kind} ({str(e).splitlines()[0]})"
        raise UserError(f"{path}: {reason}") from e
    except MemoryError as e:
        raise UserError(f"{path}: not a sound {kind}, or too large for this machine's memory") from e
    except Exception as e:  # a damaged archive or pickle raises nearly anything
        reason = (str(e) or type(e).__name__).splitlines()[0][:200]
        raise UserError(f"{path}: not a sound {kind} ({reason})") from e


def _read_npz(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any] | None]:
    with _mended(path, ".npz of plain arrays"):
        # Of a damaged file that it opened itself, NumPy leaves the handle open.
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        meta = json.loads(str(arrays.pop(META))) if META in arrays else None
        if not (meta is None or isinstance(meta, dict)):
            raise ValueError(f"its {META!r} is no record")
    return {name: _numbers(path, name, array) for name, array in arrays.items()}, meta


def _numbers(path: Path, name: str, array: Any) -> np.ndarray:
    """An array of numbers; one of the two bytes of bfloat16, which NumPy stores without a name, as these.

    Raises:
      UserError: text, dates, records, or anything but an array.
    """
    if isinstance(array, np.ndarray) and array.dtype == np.dtype("V2"):
        return array.view(ml_dtypes.bfloat16)
    if not isinstance(array, np.ndarray) or (array.dtype.kind not in "biuf" and array.dtype not in TYPES.values()):
        shown = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise UserError(f"{path}: {name!r} holds no numbers ({shown}); save the weights as float32")
    return array


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        from safetensors import deserialize
    except ImportError as e:
        raise UserError(f"{path}: reading .safetensors needs the extra `convert`: pip install 'jaxqc[convert]'") from e
    arrays = {}
    with _mended(path, ".safetensors"):
        for name, found in deserialize(path.read_bytes()):
            if found["dtype"] not in TYPES:
                raise UserError(f"{path}: {name!r} is of type {found['dtype']}, which NumPy lacks; save it as F32")
            # A copy: what deserialize gives may be read only.
            arrays[name] = np.frombuffer(bytearray(found["data"]), TYPES[found["dtype"]]).reshape(found["shape"])
    return arrays


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    if is_legacy(path):
        with _mended(path, "file of PyTorch's"):
            return {name: array.astype(np.float32) for name, array in read_legacy(path).items()}
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError as e:
        kind = path.suffix
        raise UserError(
            f"{path}: reading {kind} needs PyTorch, the extra `convert`: pip install 'jaxqc[convert]'"
        ) from e
    if is_program(path):
        raise UserError(f"{path}: is a program of TorchScript; take the model's model.safetensors in its place")
    with _mended(path, "file of PyTorch's"):
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as e:
            if "global" not in str(e).lower():
                raise
            raise UserError(
                f"{path}: holds more than tensors, which is never executed; save its state_dict alone"
            ) from e
        tensors = dict(_tensors(content, torch.Tensor))
        if not tensors:
            raise UserError(f"{path}: holds no state dict (tensors by name, perhaps in others: {{'state_dict': ...}})")
        return {name: _array(path, name, tensor, torch) for name, tensor in tensors.items()}


def is_program(path: Path) -> bool:
    """True of an archive of TorchScript, which holds code beside its tensors; CLIP's publishers give theirs out so."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def _array(path: Path, name: str, tensor: Any, torch: Any) -> np.ndarray:
    tensor = tensor.dequantize() if tensor.is_quantized else tensor
    if tensor.is_complex() or tensor.layout != torch.strided:
        raise UserError(f"{path}: {name!r} is complex or sparse ({tensor.dtype}, {tensor.layout}); save it as float32")
    return tensor.detach().to(torch.float32).numpy()


def _tensors(content: Any, kind: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every tensor in nested mappings by its dotted name, but for an optimizer's, which are no weights."""
    for name, value in content.items() if isinstance(content, Mapping) else ():
        if isinstance(value, kind):
            yield f"{prefix}{name}", value
        elif not str(name).startswith("optim"):
            yield from _tensors(value, kind, f"{prefix}{name}.")
