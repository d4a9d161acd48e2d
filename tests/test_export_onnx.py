"""ONNX exports in onnxruntime: equal to the checkpoint, or refused with the reason and nothing written."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from jaxqc.errors import UserError
from jaxqc.export.graph import graph_of
from jaxqc.export.onnx import run_onnx
from jaxqc.export.writing import write
from jaxqc.training.checksums import check_sums
from tests.support.tiny_models import SIDE, pictures, tiny_detector, tiny_saliency, tiny_segmentation

for package in ("onnx", "onnxruntime", "jax2onnx"):
    pytest.importorskip(package, reason="ONNX export needs the extra `onnx`", exc_type=ImportError)

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def exports(tmp_path_factory) -> Any:
    """Folder and model of each kind; the batch is left open."""
    folder = tmp_path_factory.mktemp("onnx")
    with pytest.MonkeyPatch.context() as patch:
        models = {
            "saliency": tiny_saliency(patch),
            "gaussian": tiny_detector(patch),
            "segmentation": tiny_segmentation(patch),
        }
        for kind, model in models.items():
            size = {"height": SIDE, "width": SIDE} if kind == "segmentation" else {}
            write(model, folder / kind, "onnx", **size)
        yield {kind: (folder / kind, model) for kind, model in models.items()}


@pytest.mark.parametrize("kind", ["saliency", "gaussian", "segmentation"])
def test_equal_for_every_batch(kind, exports):
    folder, model = exports[kind]
    graph = graph_of(model, SIDE, SIDE)
    for n in (1, 4):
        images = pictures(n, seed=n)
        found = run_onnx(folder / "model.onnx", images, 0)
        expected = jax.jit(graph.run)(graph.weights, images)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape)
            atol = 0 if value.dtype.kind in "ub" else 1e-5 * max(1, float(np.abs(value).max()))
            np.testing.assert_allclose(found[name] * 1.0, np.asarray(value) * 1.0, atol=atol)


def test_the_record_tells_the_parity(exports):
    folder, _ = exports["saliency"]
    meta = json.loads((folder / "meta.json").read_text())
    assert meta["input"]["shape"] == ["b", SIDE, SIDE, 3]
    assert set(meta["parity"]["differences"]) == {"map", "class"}
    assert 0 < max(meta["parity"]["differences"].values()) <= 1e-5
    check_sums(folder)


def test_the_example_needs_neither_jax_nor_jaxqc(exports):
    code = f"""
import runpy, sys
sys.argv = ["use_onnx.py", {str(exports["gaussian"][0])!r}]
runpy.run_path({str(ROOT / "examples/use_onnx.py")!r}, run_name="__main__")
assert not {{"jax", "jaxqc"}} & set(sys.modules)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "largest difference from the golden output" in done.stdout


def test_the_example_takes_a_picture(exports, tmp_path, monkeypatch, capsys):
    from PIL import Image

    Image.fromarray(pictures(1, 50, 40)[0]).save(tmp_path / "x.png")
    monkeypatch.setattr(sys, "argv", ["use_onnx.py", str(exports["gaussian"][0]), str(tmp_path / "x.png")])
    runpy.run_path(str(ROOT / "examples/use_onnx.py"), run_name="__main__")
    assert f"map            float32 [1, {SIDE}, {SIDE}]" in capsys.readouterr().out


def test_a_graph_that_differs_is_not_written(exports, tmp_path, monkeypatch):
    _, model = exports["gaussian"]
    monkeypatch.setattr("jaxqc.export.onnx.run_onnx", lambda file, images, batch: {
        name: np.asarray(value) + (name == "map") * np.float32(2e-4)
        for name, value in (lambda g: jax.jit(g.run)(g.weights, images))(graph_of(model)).items()
    })  # fmt: skip
    with pytest.raises(UserError, match=r"--format onnx: differs from the checkpoint \(map: 2.0e-04 > 1e-04\)"):
        write(model, tmp_path / "out", "onnx")
    assert not os.listdir(tmp_path)


def test_an_operator_that_cannot_be_converted_is_named(exports, tmp_path, monkeypatch):
    _, model = exports["saliency"]
    monkeypatch.setattr("jax2onnx.to_onnx", _unknown)
    with pytest.raises(UserError, match=r"operator 'eigh' cannot be converted; .*--format stablehlo"):
        write(model, tmp_path / "out", "onnx")
    assert not os.listdir(tmp_path)


def _unknown(*_: Any, **__: Any) -> None:
    raise NotImplementedError("[converter] No plugins registered for primitive 'eigh'")
