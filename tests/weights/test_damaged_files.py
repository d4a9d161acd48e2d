"""Weight files that are damaged, or hold numbers that NumPy lacks: read, or one line."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.errors import UserError
from jaxqc.weights.files import TYPES, read_arrays


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """A few bytes changed, a piece cut out, or the end cut off."""
    changed, at = bytearray(data), int(rng.integers(len(data)))
    kind = rng.integers(3)
    if kind == 0:
        for i in rng.integers(len(data), size=rng.integers(1, 6)):
            changed[i] = rng.integers(256)
    else:
        del changed[at : None if kind == 1 else at + int(rng.integers(1, 40))]
    return bytes(changed)


def refusal(path: Path) -> str:
    try:
        read_arrays(path)
    except UserError as e:
        return str(e)
    return ""


@pytest.mark.parametrize("kind", ["npz", "compressed", "safetensors", "pth"])
def test_damage_of_any_file_is_one_line(kind, tmp_path) -> None:
    """Random damages either leave arrays, or end in a `UserError` of one line that names the file."""
    rng = np.random.default_rng(7)
    arrays = {f"layer{i}.weight": rng.normal(size=(3, 4, 2)).astype(np.float32) for i in range(4)}
    path = tmp_path / f"whole.{'npz' if kind == 'compressed' else kind}"
    if kind == "safetensors":
        pytest.importorskip("safetensors.numpy", reason="extra: convert").save_file(arrays, path)
    elif kind == "pth":
        torch = pytest.importorskip("torch", reason="extra: convert")
        torch.save({key: torch.from_numpy(value) for key, value in arrays.items()}, path)
    else:
        (np.savez_compressed if kind == "compressed" else np.savez)(path, **arrays)
    data, refused = path.read_bytes(), 0
    for _ in range(150):
        path.write_bytes(damaged(data, rng))
        message = refusal(path)
        refused += bool(message)
        assert not message or message.startswith(str(path))
        assert len(message.splitlines()) < 2
    assert refused > 50


def test_numbers_that_numpy_lacks_are_read_or_named(tmp_path) -> None:
    values = np.array([[0.5, -2.0, 1.0]], np.float32)
    for kind in ("F8_E4M3", "F8_E5M2", "BF16", "F16", "F64"):
        pytest.importorskip("safetensors", reason="extra: convert")
        data = values.astype(TYPES[kind]).tobytes()
        head = json.dumps({"w": {"dtype": kind, "shape": [1, 3], "data_offsets": [0, len(data)]}}).encode()
        (tmp_path / "w.safetensors").write_bytes(len(head).to_bytes(8, "little") + head + data)
        np.testing.assert_array_equal(read_arrays(tmp_path / "w.safetensors")[0]["w"].astype(np.float32), values)
    np.savez(tmp_path / "w.npz", w=values.astype(jnp.bfloat16))
    np.testing.assert_array_equal(read_arrays(tmp_path / "w.npz")[0]["w"].astype(np.float32), values)
    for wrong in (np.array(["a"]), np.array(["2020-01-01"], "M8[D]"), np.zeros(2, "V3")):
        np.savez(tmp_path / "t.npz", w=wrong)
        with pytest.raises(UserError, match=r"t\.npz: 'w' holds no numbers"):
            read_arrays(tmp_path / "t.npz")
