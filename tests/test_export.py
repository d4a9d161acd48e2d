"""StableHLO exports: equal to the checkpoint for any batch, without flax; written whole or not at all, and checked."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import jaxqc
from jaxqc.cli import main
from jaxqc.errors import UserError
from jaxqc.export.exported import Exported, load
from jaxqc.export.folder import FORMAT, landing, save_arrays
from jaxqc.export.writing import write
from jaxqc.training.checksums import SUMS, write_sums
from jaxqc.verify import verify
from tests.support.tiny_models import SIDE, pictures, tiny_detector, tiny_saliency, tiny_segmentation

KINDS = ("saliency", "anomaly", "segmentation")
SIZE = {"saliency": {}, "anomaly": {}, "segmentation": {"height": SIDE, "width": SIDE}}


@pytest.fixture(scope="module")
def models() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        yield {
            "saliency": tiny_saliency(patch),
            "anomaly": tiny_detector(patch),
            "segmentation": tiny_segmentation(patch),
        }


@pytest.fixture(scope="module")
def exports(models, tmp_path_factory) -> dict[str, Path]:
    """One export of each kind, its batch left open. Read only."""
    folder = tmp_path_factory.mktemp("exports")
    for kind, model in models.items():
        write(model, folder / kind, **SIZE[kind], platforms=("cpu", "cuda"))
    return {kind: folder / kind for kind in models}


@pytest.fixture(scope="module")
def opened(exports) -> dict[str, Exported]:
    return {kind: load(path) for kind, path in exports.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_one_export_serves_every_batch(kind, models, opened):
    assert opened[kind].predict(pictures(0)).shape == (0, SIDE, SIDE)
    for n in (1, 3):
        images = pictures(n, seed=n)
        found, expected = opened[kind].predict(images), models[kind].predict(images)
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, atol=1e-6)
    grey = pictures(1, channels=1)[0, ..., 0]
    np.testing.assert_allclose(opened[kind].predict(grey), models[kind].predict(grey), atol=1e-6)


@pytest.mark.parametrize("kind", ["saliency", "anomaly"])
def test_images_of_any_size(kind, models, opened):
    images = [pictures(1, h, w, c)[0] for h, w, c in ((40, 33, 3), (SIDE, SIDE, 1), (40, 33, 3))]
    found, expected = opened[kind].predict(images), models[kind].predict(images)
    assert [x.shape for x in found] == [(40, 33), (SIDE, SIDE), (40, 33)]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert opened[kind].predict([]) == []


def test_all_outputs(models, opened):
    images = pictures(4, 40, 33)
    maps, classes = opened["saliency"].predict(images, classes=True)
    wanted = models["saliency"].predict(images, classes=True)
    np.testing.assert_allclose(maps, wanted[0], atol=1e-6)
    np.testing.assert_allclose(classes, wanted[1], atol=1e-6)
    found, expected = opened["anomaly"].predict_full(list(images)), models["anomaly"].inspect(list(images))
    np.testing.assert_array_equal(found["mask"], [x.mask for x in expected])
    np.testing.assert_allclose(found["score"], [x.score for x in expected], rtol=1e-6)
    np.testing.assert_array_equal(found["defective"], [x.defective for x in expected])
    images = pictures(2)
    full, wanted = opened["segmentation"].predict_full(images), models["segmentation"].predict_full(images)
    np.testing.assert_allclose(full["probabilities"], wanted["map"], atol=1e-6)
    np.testing.assert_allclose(full["confidence"], wanted["confidence"], atol=1e-6)
    with pytest.raises(UserError, match="has no 'class'"):
        opened["anomaly"].predict(images, classes=True)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["patchcore", "spade"])
def test_neighbours_take_an_open_batch(method, tmp_path, monkeypatch):
    model = tiny_detector(monkeypatch, method)
    write(model, tmp_path / "out", platforms=("cpu",))
    exported = load(tmp_path / "out")
    np.testing.assert_allclose(exported.predict(pictures(3)), model.predict(pictures(3)), atol=1e-5)


def test_no_network_code_in_a_fresh_process(models, exports, tmp_path):
    for kind, model in models.items():
        np.savez(tmp_path / f"{kind}.npz", images=pictures(3), expected=model.predict(pictures(3)))
    code = """
import sys, numpy as np, jaxqc
for folder, values in zip(sys.argv[1::2], sys.argv[2::2]):
    kept = np.load(values)
    assert np.abs(jaxqc.load(folder).predict(kept["images"]) * 1.0 - kept["expected"]).max() <= 1e-6, folder
foreign = {"flax", "optax", "orbax", "grain", "jaxqc.api", "jaxqc.models"} & set(sys.modules)
assert not foreign, foreign"""
    arguments = [str(x) for kind, path in exports.items() for x in (path, tmp_path / f"{kind}.npz")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_fixed_batch_and_size(models, tmp_path):
    write(models["saliency"], tmp_path / "out", height=40, width=33, batch=2, platforms=("cpu",))
    exported = load(tmp_path / "out")
    assert exported.meta["input"]["shape"] == [2, 40, 33, 3]
    for n in (1, 3):
        images = pictures(n, 40, 33)
        np.testing.assert_allclose(exported.predict(images), models["saliency"].predict(images), atol=1e-6)
    with pytest.raises(UserError, match="33 x 41 pixels, this export takes 33 x 40"):
        exported.predict(pictures(1, 41, 33))


def test_the_record(exports, models):
    meta = json.loads((exports["anomaly"] / "meta.json").read_text())
    assert meta["export_format"] == FORMAT
    assert meta["input"] == {"name": "image", "dtype": "uint8", "shape": ["b", SIDE, SIDE, 3]}
    assert meta["outputs"]["map"]["shape"] == ["b", SIDE, SIDE]
    assert meta["thresholds"]["pixel"] == models["anomaly"].thresholds.pixel
    assert meta["versions"]["jax"] == jax.__version__
    assert meta["platforms"] == ["cpu", "cuda"]
    assert max(meta["parity"]["differences"].values()) <= 1e-6
    meta = json.loads((exports["saliency"] / "meta.json").read_text())
    assert meta["input"]["shape"] == ["b", "h", "w", 3]
    assert (meta["classes"], meta["mean"], meta["checkpoint"]["step"]) == (["In", "Pa", "Sc"], 0.44, 7)
    names = set(np.load(exports["saliency"] / "weights.npz").files)
    assert "params/class/kernel" in names
    assert len(meta["weights"]["digest"]) == 64


@pytest.fixture
def copy(exports, tmp_path) -> Path:
    """A copy that a test may spoil."""
    return shutil.copytree(exports["saliency"], tmp_path / "copy")


@pytest.mark.parametrize("name", ["model.stablehlo", "weights.npz", "golden.npz", "meta.json", SUMS])
def test_a_missing_or_shortened_file_is_told(copy, name):
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="damaged"):
        load(copy)
    (copy / name).unlink()
    with pytest.raises(UserError, match="damaged"):
        load(copy)


def test_one_altered_bit_is_told(copy):
    content = bytearray((copy / "weights.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (copy / "weights.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"damaged \(weights.npz is not as it was saved"):
        load(copy)


def test_a_newer_format_is_refused(copy):
    meta = json.loads((copy / "meta.json").read_text())
    (copy / "meta.json").write_text(json.dumps(meta | {"export_format": FORMAT + 1}))
    with pytest.raises(UserError, match=f"export_format {FORMAT + 1}; this jaxqc reads up to {FORMAT}"):
        load(copy)


def test_a_graph_that_this_jax_cannot_read_is_told(copy):
    (copy / "model.stablehlo").write_bytes(b"of some later version")
    write_sums(copy)
    with pytest.raises(UserError, match=f"written by jax {jax.__version__}, which jax"):
        load(copy)


def test_a_run_is_no_export_and_an_export_no_run(tmp_path, copy):
    with pytest.raises(UserError, match="no export there"):
        load(tmp_path)
    with pytest.raises(UserError, match="an export already"):
        write(copy, tmp_path / "out")
    assert isinstance(jaxqc.load(copy), Exported)
    assert jaxqc.export.is_export(copy)
    with pytest.raises(UserError, match="an export already"):
        jaxqc.evaluate(copy, tmp_path)


def test_verify_proves_an_export(copy, capsys):
    assert main(["verify", str(copy)]) == 0
    assert "OK: within the tolerance" in capsys.readouterr().out
    golden = dict(np.load(copy / "golden.npz"))
    save_arrays(copy / "golden.npz", {**golden, "map": golden["map"] + np.float32(0.01)})
    write_sums(copy)
    assert verify(copy).difference == pytest.approx(0.01, rel=1e-2)
    assert not verify(copy).ok


def test_nothing_half_is_left(models, tmp_path, monkeypatch):
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    with pytest.raises(UserError, match="there already"), landing(tmp_path / "taken"):
        pass
    monkeypatch.setattr("jaxqc.export.writing.save_json", full)
    with pytest.raises(UserError, match="No space left"):
        write(models["anomaly"], tmp_path / "out", platforms=("cpu",))
    assert os.listdir(tmp_path) == ["taken"]


def test_a_graph_that_differs_is_not_written(models, tmp_path, monkeypatch):
    def off(exported: Any, graph: Any, images: Any, batch: int) -> dict[str, np.ndarray]:
        out = jax.jit(graph.run)(graph.weights, images)
        return {name: np.asarray(value) + (name == "map") * np.float32(2e-4) for name, value in out.items()}

    monkeypatch.setattr("jaxqc.export.stablehlo.run", off)
    with pytest.raises(UserError, match=r"differs from the checkpoint \(map: 2.0e-04 > 1e-04\); nothing was written"):
        write(models["saliency"], tmp_path / "out", platforms=("cpu",))
    assert not os.listdir(tmp_path)


def test_other_platforms(models, tmp_path):
    meta = write(models["anomaly"], tmp_path / "out", platforms=("cuda",))
    assert meta["parity"] is None
    with pytest.raises(UserError, match=r"made for cuda, this machine runs cpu; .*--platforms cuda cpu"):
        load(tmp_path / "out")
    with pytest.raises(UserError, match=r"'cudda' is none .did you mean 'cuda'"):
        write(models["anomaly"], tmp_path / "other", platforms=("cudda",))


def test_sizes_that_cannot_be(models, tmp_path, monkeypatch):
    for kind, size, said in (
        ("segmentation", {}, "name it"),
        ("anomaly", {"height": 40, "width": 40}, f"fitted at {SIDE} pixels"),
        ("saliency", {"height": 40}, "give both"),
        ("saliency", {"height": -1, "width": -1}, "1 or more"),
    ):
        with pytest.raises(UserError, match=said):
            write(models[kind], tmp_path / "out", **size)
    with pytest.raises(UserError, match="own size; name it"):
        write(tiny_saliency(monkeypatch, size=0), tmp_path / "out")
