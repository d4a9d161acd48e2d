"""Every kind of model, by its entry of `KINDS` alone: loaded, asked for its outputs, measured, verified, inspected."""

import functools
import json

import jax
import numpy as np
import pytest
from PIL import Image

import jaxqc
from jaxqc import export, kinds
from jaxqc.cli import main
from jaxqc.error_rates import kept, percent
from jaxqc.errors import UserError
from jaxqc.export.graph import graph_of
from jaxqc.graph import Graph
from jaxqc.inspection.scorers import make_scorer
from jaxqc.kinds import KINDS, Kind, kind_of
from jaxqc.outputs import MEANINGS, OF_IMAGE
from jaxqc.scorer import Scorer
from jaxqc.verdict import Verdict
from jaxqc.verify import verify
from tests.support.few_labels import write_images
from tests.support.inspect_models import make_checkpoint, small_models, write_image  # noqa: F401 - a fixture
from tests.support.tiny_boards import SIDE, boards  # noqa: F401 - a fixture

MADE = {"saliency": "network", "anomaly": "gaussian", "segmentation": "segmentation"}
USED = tuple(name for name in KINDS if name != "export")
"""The kinds that training and fits leave; an export of one is verified and asked for maps."""


@pytest.fixture(scope="module")
def data(boards, tmp_path_factory):
    """kind → a data set that it can be measured on."""
    parts = {"labeled": 1, "unlabeled": 1, "select": 1, "val": 3}
    images = write_images(tmp_path_factory.mktemp("few_labels") / "images", parts)
    return {"saliency": boards, "anomaly": boards, "segmentation": images}


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory, data):
    """kind → the folder of such a model, made once, with its golden record."""

    @functools.cache
    def make(name):
        folder = tmp_path_factory.mktemp(name)
        if name == "export":
            export.write(folder_of_("saliency"), folder / "export", platforms=("cpu",))
            return folder / "export"
        make_checkpoint(MADE[name], folder, data["anomaly"])
        if not (folder / "golden.npz").is_file():
            model, images = jaxqc.load(folder), pictures(2, SIDE)
            size = {"saliency": 64, "segmentation": 0}[name]
            maps = model.predict_small(list(images))["map"] if size else model.predict_full(images)["map"]
            np.savez(folder / "golden.npz", image=images, map=maps, size=np.int32(size), step=np.int32(7))
        return folder

    folder_of_ = make
    return make


@pytest.fixture(scope="module")
def model_of(folder_of):
    return functools.cache(lambda name: jaxqc.load(folder_of(name), batch=4))


def pictures(n, height, width=0, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, height, width or height, 3), np.uint8)


@pytest.mark.parametrize("name", KINDS)
def test_a_folder_and_its_model_are_of_one_kind(name, folder_of, model_of):
    kind = KINDS[name]
    assert kind.name == name
    assert kind_of(folder_of(name)) is kind_of(str(folder_of(name))) is kind_of(model_of(name)) is kind
    others = [other.name for other in KINDS.values() if other.holds(folder_of(name))]
    assert others[0] == name
    assert set(others) <= {name, "saliency"}  # which takes what no other does


@pytest.mark.parametrize("name", KINDS)
def test_outputs_are_given_by_name(name, model_of):
    model, images = model_of(name), pictures(3, 40, 36)
    assert set(model.outputs) <= set(MEANINGS)
    found = model.predict(images, outputs=model.outputs)
    assert tuple(found) == model.outputs
    np.testing.assert_array_equal(model.predict(images), found[model.outputs[0]])
    listed, single = model.predict(list(images), outputs=model.outputs), model.predict(images[1], outputs=model.outputs)
    for output, values in found.items():
        assert len(values) == 3
        np.testing.assert_allclose(np.stack(listed[output]), values, atol=1e-5)
        np.testing.assert_allclose(single[output], values[1], atol=1e-5)
        assert isinstance(listed[output], np.ndarray if output in OF_IMAGE else list | np.ndarray)
        if output not in (*OF_IMAGE, "m1", "m2", "m3"):
            assert values.shape[:3] == (3, 40, 36)
    alone = model.predict(images, outputs=model.outputs[-1])
    assert tuple(alone) == model.outputs[-1:]
    np.testing.assert_array_equal(alone[model.outputs[-1]], found[model.outputs[-1]])


@pytest.mark.parametrize("name", KINDS)
def test_no_images_and_mixed_sizes(name, model_of):
    model = model_of(name)
    none = model.predict([], outputs=model.outputs)
    assert all(len(values) == 0 for values in none.values())
    assert model.predict(np.zeros((0, 40, 36, 1), np.uint8)).shape == (0, 40, 36)
    mixed = [pictures(1, 40, 36)[0], pictures(1, 30, 50, 1)[0]]
    found = model.predict(mixed, outputs=model.outputs)
    for i, image in enumerate(mixed):
        for output, values in model.predict(image, outputs=model.outputs).items():
            np.testing.assert_allclose(found[output][i], values, atol=1e-5)


@pytest.mark.parametrize("name", KINDS)
def test_an_unknown_output_is_refused(name, model_of):
    model, image = model_of(name), pictures(1, 40)[0]
    with pytest.raises(UserError, match=rf"outputs: this model has no '{model.outputs[0]}s' \(did you mean"):
        model.predict(image, outputs=(f"{model.outputs[0]}s",))
    with pytest.raises(UserError, match="outputs: none named"):
        model.predict(image, outputs=())


@pytest.mark.parametrize("name", USED)
def test_a_size_is_the_networks_input(name, model_of):
    model, image = model_of(name), pictures(1, 56)[0]
    own = {"saliency": 64, "anomaly": SIDE, "segmentation": 0}[name]
    np.testing.assert_array_equal(model.predict(image, size=own), model.predict(image))
    with pytest.raises(UserError, match="size"):
        model.predict(image, size=-3)


@pytest.mark.parametrize("name", USED)
def test_one_call_measures_any_kind(name, folder_of, model_of, data, tmp_path):
    split = "all" if name == "saliency" else "test"
    result = jaxqc.evaluate(model_of(name), data[name], "", run=tmp_path, split=split, worst=1, progress=False)
    assert result.folder.parent == tmp_path
    assert (result.folder / "evaluation.json").is_file()
    assert result.closing().endswith(f"written to {result.folder}")
    rates = result.misses.rates
    assert kept(tmp_path) == [rates]
    assert rates.defective == sum(one.defective for one in result.images) > 0
    assert f"as an inspection calls images: finds {percent(rates.tpr)} %" in result.closing()
    again = jaxqc.evaluate(folder_of(name), data[name], split=split, progress=False)
    assert again.folder is None
    assert again.metrics == pytest.approx(result.metrics, nan_ok=True)


@pytest.mark.parametrize("name", KINDS)
def test_the_golden_output_comes_again(name, folder_of):
    verdict = verify(folder_of(name))
    assert verdict.ok
    assert verdict.difference <= 1e-5


@pytest.mark.parametrize("name", USED)
def test_an_inspection_sees_the_maps_of_predict(name, model_of):
    model, image = model_of(name), pictures(1, 40, 36)[0]
    scorer = make_scorer(model, devices=1)
    answer = scorer.answer(40, 36, scorer.score([scorer.prepare(image)], 0)[0])
    np.testing.assert_allclose(answer.scored.map, model.predict(image, outputs="map")["map"], atol=2e-6)
    assert scorer.classes
    assert len(scorer.weights) == 64


@pytest.mark.parametrize("name", USED)
def test_a_graph_gives_what_predict_gives(name, model_of):
    model, images = model_of(name), pictures(2, SIDE)
    graph = graph_of(model, SIDE, SIDE)
    assert graph.kind == name
    found = jax.jit(graph.run)(graph.weights, images)
    for output in set(found) & set(model.outputs):
        np.testing.assert_allclose(found[output], model.predict(images, outputs=output)[output], atol=1e-5)
    assert model.outputs[0] in found


@pytest.mark.parametrize("name", USED)
def test_a_folder_of_images_is_written(name, folder_of, tmp_path, capsys):
    write_image(tmp_path / "in" / "a.png", 1, True)
    arguments = ["--checkpoint", str(folder_of(name)), "--images", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    assert main(["predict", *arguments, "--quiet"]) == 0
    with Image.open(tmp_path / "out" / "a.png") as picture:
        assert picture.size == (48, 56)
        assert picture.mode == ("P" if name == "segmentation" else "L")
    if name != "segmentation":
        assert main(["predict", *arguments, "--quiet", "--overlays", str(tmp_path / "o")]) == 2
        assert "overlays: goes with segmentation, and this is" in capsys.readouterr().err


def test_an_option_of_another_kind_is_refused(model_of, data):
    with pytest.raises(UserError, match="sizes: goes with segmentation, and this is anomaly; leave it out"):
        jaxqc.evaluate(model_of("anomaly"), data["anomaly"], sizes=(28, 42))
    with pytest.raises(UserError, match="protocol: goes with saliency, and this is segmentation"):
        jaxqc.evaluate(model_of("segmentation"), data["segmentation"], protocol="seed")
    with pytest.raises(UserError, match="--size: 64; this detector was fitted at 48"):
        jaxqc.evaluate(model_of("anomaly"), data["anomaly"], size=64)


@pytest.mark.parametrize("use", [
    lambda path, data, out: jaxqc.evaluate(path, data),
    lambda path, data, out: export.write(path, out),
])  # fmt: skip
def test_an_export_names_what_to_give_instead(use, folder_of, data, tmp_path):
    with pytest.raises(UserError, match="export: an export already; give the run's or the fit's folder"):
        use(folder_of("export"), data["anomaly"], tmp_path / "out")


def test_an_export_inspects_and_predicts_as_its_model_does(folder_of, tmp_path):
    (tmp_path / "images").mkdir()
    for i in range(2):
        write_image(tmp_path / "images" / f"{i}.png", i, hole=bool(i))
    found = {}
    for name in ("saliency", "export"):
        folder = folder_of(name)
        inspected = jaxqc.inspect(folder, tmp_path / "images", tmp_path / name, progress=False)
        lines = (inspected.out / "findings.jsonl").read_text().splitlines()
        found[name] = {line["image"]: (line["verdict"], len(line["defects"])) for line in map(json.loads, lines)}
        assert main(["predict", "--checkpoint", str(folder), "--images", str(tmp_path / "images"), "--quiet",
                     "--out", str(tmp_path / "maps" / name)]) == 0  # fmt: skip
    assert found["saliency"] == found["export"]
    assert len({verdict for verdict, _ in found["export"].values()}) == 2
    for i in range(2):
        ours, theirs = (np.asarray(Image.open(tmp_path / "maps" / name / f"{i}.png"), int) for name in found)
        assert np.abs(ours - theirs).max() <= 1


def test_an_unfinished_fit_is_named(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "meta.json").write_text(f'{{"kind": "{kinds.UNFINISHED_FIT}"}}')
    assert kind_of(tmp_path).name == "anomaly"
    with pytest.raises(UserError, match="an unfinished fit; the same jaxqc fit command goes on with it"):
        jaxqc.load(tmp_path)


def test_what_is_no_model_is_refused():
    with pytest.raises(UserError, match="dict is no trained model"):
        kind_of({})


class Constant:
    """A fourth kind: the same map for every image."""

    kind, classes, batch, outputs, mixes_sizes = "constant", ("defect",), 2, ("map",), True

    def predict(self, images, *, size=None, outputs=None):
        return [np.full(image.shape[:2], 0.5, np.float32) for image in images]


def test_a_new_kind_is_one_entry(tmp_path, monkeypatch):
    scorer = Scorer("constant", ("defect",), 0.5, "as given", 2, 1, {}, {}, "", np.asarray, tuple, list, tuple)
    own = Kind(
        "constant",
        holds=lambda folder: (folder / "constant.txt").is_file(),
        load=lambda path, which, fold, batch: Constant(),
        predict=KINDS["anomaly"].predict,
        evaluate=lambda model, data, out, *, run, split, size, worst, progress: f"{split} of {data}",
        verify=lambda path, tolerance: Verdict(str(path), 0, 0.0, 0.0, 0.0, tolerance, {}, {"versions": {}}),
        scorer=lambda model, threshold, devices: scorer,
        graph=lambda model, height, width: Graph(model.kind, lambda weights, images: {}, {}, height, width),
    )
    monkeypatch.setattr(kinds, "KINDS", {"constant": own, **KINDS})
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "constant.txt").touch()
    assert isinstance(jaxqc.load(folder), Constant)
    assert jaxqc.evaluate(folder, "data", split="all") == "all of data"
    assert verify(folder, 0.5).lines()[-1] == "OK: within the tolerance of 5e-01"
    assert make_scorer(Constant()) is scorer
    assert (graph_of(Constant(), 8, 6).kind, graph_of(Constant(), 8, 6).width) == ("constant", 6)
    write_image(tmp_path / "in" / "a.png", 1, True)
    arguments = ["--checkpoint", str(folder), "--images", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    assert main(["predict", *arguments, "--quiet"]) == 0
    assert np.unique(np.array(Image.open(tmp_path / "out" / "a.png"))) == 128
