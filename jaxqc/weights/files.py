"""Reading weight files of any kind as numpy arrays, and our own: one `.npz` of arrays and a JSON record."""

import json
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxqc.atomic import whole_file
from jaxqc.errors import UserError

TORCH = (".pth", ".pt", ".bin", ".ckpt", ".tar")
KINDS = (".npz", ".safetensors", *TORCH)
META = "meta"
"""Name of the JSON record in a file of our own."""
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "ema")


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any] | None]:
    """Arrays by name, and the record where the file is one of our own (`write_own`), else None.

    No pickle is ever executed: `.npz` is read without it, `.pth` by PyTorch's weights-only loading.

    Raises:
      UserError: an unknown kind of file, a damaged one, one that holds more than arrays, or a library that is missing.

    Examples:
      >>> np.savez("weights.npz", kernel=np.ones((2, 3), np.float32))
      >>> arrays, meta = read_arrays(Path("weights.npz"))
      >>> arrays["kernel"].shape, meta
      ((2, 3), None)
    """
    kind = path.suffix.lower()
    if kind not in KINDS:
        raise UserError(f"{path}: kind {kind or 'without ending'!r} is not one of {', '.join(KINDS)}")
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if kind == ".npz":
        return _read_npz(path)
    return (_read_safetensors(path) if kind == ".safetensors" else _read_torch(path)), None


def write_own(path: Path, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> None:
    """Writes our own format, at once and whole.

    Examples:
      >>> write_own(Path("own.npz"), {"params/kernel": np.ones(2, np.float32)}, {"model": "resnet18"})
      >>> read_arrays(Path("own.npz"))[1]["model"]
      'resnet18'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part, part.open("wb") as file:
        np.savez(file, **{META: np.array(json.dumps(dict(meta)))}, **arrays)  # type: ignore[reportArgumentType]


def _read_npz(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any] | None]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        meta = json.loads(str(arrays.pop(META))) if META in arrays else None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as e:
        raise UserError(f"{path}: not a sound .npz of plain arrays ({e})") from e
    return arrays, meta


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    except ImportError as e:
        raise UserError(f"{path}: reading .safetensors needs the extra `convert`: pip install 'jaxqc[convert]'") from e
    try:
        return load_file(path)
    except (SafetensorError, OSError, KeyError, ValueError) as e:
        raise UserError(f"{path}: not a sound .safetensors ({e})") from e


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError as e:
        kind = path.suffix
        raise UserError(
            f"{path}: reading {kind} needs PyTorch, the extra `convert`: pip install 'jaxqc[convert]'"
        ) from e
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old and foreign files: they are read, or reported below
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as e:
        raise UserError(f"{path}: holds more than tensors, which is never executed; save its state_dict alone") from e
    except (OSError, RuntimeError, EOFError, ValueError) as e:
        raise UserError(f"{path}: not a sound file of PyTorch's ({str(e).splitlines()[0]})") from e
    tensors = _tensors(content, torch.Tensor)
    if not tensors:
        raise UserError(f"{path}: holds no state dict (tensors by name, or those under one of {', '.join(_WRAPPERS)})")
    return {name: tensor.detach().to(torch.float32).numpy() for name, tensor in tensors.items()}


def _tensors(content: Any, kind: type) -> dict[str, Any]:
    """The mapping of names to tensors: what the content holds under a usual name, or the content itself."""
    if not isinstance(content, Mapping):
        return {}
    for name in _WRAPPERS:
        if inner := _tensors(content.get(name), kind):
            return inner
    return {str(name): value for name, value in content.items() if isinstance(value, kind)}
