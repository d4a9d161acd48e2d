"""Other engines than XLA, on exports, runs and fits: outputs equal to XLA's, or a refusal with the way out."""

import importlib.util
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.cli import main
from jaxqc.errors import UserError
from jaxqc.export import engines
from jaxqc.export.engines import ENGINES, Run, checked
from jaxqc.export.engines.converted import digest, folder_of_all
from jaxqc.export.engines.use import with_engine
from jaxqc.export.exported import Exported
from jaxqc.export.folder import Contents, is_export
from jaxqc.export.parity import compare
from jaxqc.export.writing import write
from jaxqc.graph import Graph, named_graph
from jaxqc.inspection.scorers import make_scorer
from jaxqc.kinds import load
from tests.support.inspect_models import make_checkpoint, use_small_models, write_image
from tests.support.tiny_boards import boards  # noqa: F401 - a fixture
from tests.support.tiny_models import SIDE, pictures, tiny_detector, tiny_saliency, tiny_segmentation

needs_onnx = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime", "jax2onnx")),
    reason="conversions need the extra `onnx`",
)
there = [
    pytest.param(name, marks=pytest.mark.skipif(not engines.installed(name), reason=f"{name} is not installed"))
    for name in ENGINES
]


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Conversions of this file are kept apart from the user's."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAXQC_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def models() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        made = {"saliency": tiny_saliency, "anomaly": tiny_detector, "segmentation": tiny_segmentation}
        return {kind: make(patch) for kind, make in made.items()}


@needs_onnx
@pytest.mark.parametrize("engine", there)
@pytest.mark.parametrize("kind", ["saliency", "anomaly"])
def test_a_model_gives_what_xla_gives(kind, engine, models):
    model = models[kind]
    other = with_engine(model, engine)
    images = [pictures(1, 40, 50)[0], pictures(1, SIDE, SIDE, seed=1)[0], *pictures(3, 40, 50, seed=2)]
    for names in (None, model.outputs):
        expected, found = model.predict(images, outputs=names), other.predict(images, outputs=names)
        if names is None:
            expected, found = {"map": expected}, {"map": found}
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            for one, value in zip(found[name], values, strict=True):
                assert np.shape(one) == np.shape(value)
                np.testing.assert_allclose(one * 1.0, value * 1.0, rtol=1e-5, atol=1e-5)


@needs_onnx
@pytest.mark.parametrize("engine", there)
@pytest.mark.parametrize("kind", ["saliency", "anomaly"])
def test_an_onnx_export_is_loaded_inspects_and_predicts(kind, engine, models, tmp_path):
    model = models[kind]
    write(model, tmp_path / "export", "onnx")
    export = load(tmp_path / "export", engine=engine)
    assert export.engine == engine
    assert max(export.check().values()) <= 1e-4
    images = pictures(3, SIDE, SIDE)
    np.testing.assert_allclose(export.predict(images), model.predict(images), atol=1e-5)
    ours, theirs = make_scorer(model), make_scorer(export)
    for scorer in (ours, theirs):
        assert scorer.devices >= 1
    raw = [[s.prepare(image) for image in images] for s in (ours, theirs)]
    for i in range(3):
        expected = ours.answer(SIDE, SIDE, ours.score(raw[0], 0)[i])
        found = theirs.answer(SIDE, SIDE, theirs.score(raw[1], 0)[i])
        np.testing.assert_allclose(found.scored.map, expected.scored.map, atol=1e-5)
        assert found.score == pytest.approx(expected.score, rel=1e-5)
        assert (found.defective, found.place) == (expected.defective, expected.place)


@needs_onnx
def test_a_conversion_is_made_once_and_damage_is_mended(models, monkeypatch):
    made = []
    from jaxqc.export import onnx

    convert = onnx.convert
    monkeypatch.setattr(onnx, "convert", lambda *given: made.append(1) or convert(*given))
    monkeypatch.setenv("JAXQC_CACHE", str(folder_of_all() / "once"))
    for _ in range(2):
        with_engine(models["anomaly"], "onnxruntime")
    assert len(made) == 1
    (folder,) = [path for path in folder_of_all().iterdir() if path.is_dir()]
    (folder / "model.onnx").write_bytes(b"damaged")
    with_engine(models["anomaly"], "onnxruntime")
    assert len(made) == 2


@needs_onnx
def test_an_engine_that_differs_is_refused(models, monkeypatch):
    def opened(file: Path) -> Run:
        from jaxqc.export.engines import onnxruntime

        run = onnxruntime.opened(file)
        return lambda images: {name: value + np.float32(3e-4) for name, value in run(images).items()}

    monkeypatch.setattr(engines, "ENGINES", {**ENGINES, "onnxruntime": opened})
    monkeypatch.setattr("jaxqc.export.engines.converted.ENGINES", {**ENGINES, "onnxruntime": opened})
    with pytest.raises(
        UserError, match=r"--engine onnxruntime: differs from XLA \(.*map: 3.0e-04 > 1e-04.*leave --engine"
    ):
        with_engine(models["saliency"], "onnxruntime")


def test_a_refused_engine_answers_nothing_later(monkeypatch, tmp_path):
    images = pictures(2, 8, 8)
    meta = {
        "kind": "saliency", "graph": "onnx", "classes": [], "thresholds": {}, "dtype": "float32",
        "input": {"shape": ["b", 8, 8, 3]}, "outputs": {"map": {"shape": ["b", 8, 8], "dtype": "float32"}},
    }  # fmt: skip
    golden = {"image": images, "map": np.zeros(images.shape[:3], np.float32)}
    export = Exported(Contents(tmp_path / "model.onnx", meta, {}, golden))
    wrong = lambda file: lambda images: {"map": np.ones(images.shape[:3], np.float32)}
    monkeypatch.setattr("jaxqc.export.exported.ENGINES", {"onnxruntime": wrong})
    monkeypatch.setattr("jaxqc.export.exported.installed", lambda name: True)
    for _ in range(2):
        with pytest.raises(UserError, match="differs from XLA"):
            export.predict(images)
    assert export.engine == ""


def test_other_code_with_equal_weights_is_another_conversion():
    def graph(factor: float) -> Graph:
        run = lambda tree, images: {"map": images.astype(jnp.float32).mean(-1) * tree["w"] * factor}
        return named_graph("saliency", run, {"w": np.float32(1)}, 8, 8, {"dtype": "float32"})

    assert digest(graph(1.0)) == digest(graph(1.0)) != digest(graph(2.0))


def test_what_differs_is_named():
    expected = {"map": np.zeros(4, np.float32), "mask": np.zeros(4, bool)}
    compare("openvino", {"map": np.full(4, 5e-5, np.float32), "mask": np.zeros(4, bool)}, expected)
    with pytest.raises(UserError, match=r"mask: 1.0e\+00"):
        compare("openvino", {"map": expected["map"], "mask": np.ones(4, bool)}, expected)
    with pytest.raises(UserError, match="differs"):
        compare("openvino", {"map": np.full(4, np.nan, np.float32), "mask": expected["mask"]}, expected)


def test_refusals_name_the_way_out(models, monkeypatch, tmp_path):
    assert with_engine(models["segmentation"], "xla") is models["segmentation"]
    assert with_engine(models["saliency"], "xla") is models["saliency"]
    with pytest.raises(UserError, match="did you mean 'onnxruntime'"):
        checked("onnxruntim")
    monkeypatch.setattr(engines, "installed", lambda name: False)
    with pytest.raises(UserError, match=r"--engine openvino: it is not installed; pip install 'jaxqc\[openvino\]'"):
        with_engine(models["saliency"], "openvino")
    monkeypatch.setattr(engines, "installed", lambda name: True)
    with pytest.raises(UserError, match="kind segmentation is run by xla alone"):
        with_engine(models["segmentation"], "openvino")
    write(models["anomaly"], tmp_path / "hlo", platforms=("cpu",))
    with pytest.raises(UserError, match=r"--engine openvino: .*hlo is a StableHLO export; take --engine xla"):
        load(tmp_path / "hlo", engine="openvino")
    assert load(tmp_path / "hlo", engine="xla").engine == "xla"


@needs_onnx
@pytest.mark.parametrize("engine", there)
def test_the_command_line_runs_a_fit_by_an_engine(engine, tmp_path, boards, monkeypatch, capsys):
    use_small_models(monkeypatch)
    make_checkpoint("gaussian", tmp_path / "fit", boards)
    (tmp_path / "images").mkdir()
    for i in range(2):
        write_image(tmp_path / "images" / f"{i}.png", i, hole=bool(i))
    for name in ("xla", engine):
        words = ["predict", "--checkpoint", str(tmp_path / "fit"), "--images", str(tmp_path / "images"), "--quiet"]
        assert main([*words, "--out", str(tmp_path / name), "--engine", name]) == 0
    from PIL import Image

    for i in range(2):
        ours, theirs = (np.asarray(Image.open(tmp_path / name / f"{i}.png"), int) for name in ("xla", engine))
        assert np.abs(ours - theirs).max() <= 1
    words = ["inspect", "--checkpoint", str(tmp_path / "fit"), "--images", str(tmp_path / "images"), "--quiet"]
    assert main([*words, "--out", str(tmp_path / "inspected"), "--engine", engine]) == 0
    assert "2 images into" in capsys.readouterr().out
    assert main([*words, "--out", str(tmp_path / "refused"), "--engine", "torch"]) == 2
    assert "--engine: 'torch' is none" in capsys.readouterr().err


@needs_onnx
def test_xla_does_not_run_an_onnx_export(models, tmp_path, monkeypatch):
    write(models["anomaly"], tmp_path / "export", "onnx")
    assert is_export(tmp_path / "export")
    with pytest.raises(UserError, match=r"--engine xla: .*export is an ONNX export; take another --engine"):
        load(tmp_path / "export", engine="xla")
    monkeypatch.setattr("jaxqc.export.exported.installed", lambda name: False)
    with pytest.raises(UserError, match="an ONNX export; none of openvino, onnxruntime is installed"):
        load(tmp_path / "export").predict(pictures(1, SIDE, SIDE))
