"""A backbone trained as a classifier by the script, from folders and TFDS, from scratch and from weights."""

import dataclasses
import importlib.util
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from jaxqc import api
from jaxqc.cli import main as jaxqc
from jaxqc.config import DataConfig, load_config
from jaxqc.data.classes import open_classes
from jaxqc.data.dataset import Dataset
from jaxqc.data.load import load_arrays
from jaxqc.errors import UserError
from jaxqc.models.pretrained import export_state
from jaxqc.models.resnet import BACKBONES, Spec, build_backbone
from jaxqc.pretraining.method import Classifier
from jaxqc.pretraining.train import FILE
from jaxqc.weights.load import load_weights

RECIPE = """
from jaxqc.config import *

def get_config():
    return TrainConfig(
        method="classifier", model=ModelConfig("tiny_cbam"), data=DataConfig(size=36),
        optim=OptimConfig("sgd", lr=.05, weight_decay=1e-4, warmup_epochs=0.0, schedule="cosine"),
        phases=(Phase(epochs=8, size=32, batch=8),), eval_size=32, eval_batch=8, eval_every_epochs=8.0,
        checkpoint_every_epochs=8.0, best_metric="top1", devices=2, steps_per_call=1,
    )
"""


@pytest.fixture(autouse=True, scope="module")
def tiny_backbone():
    """The smallest ResNet, one narrow block a layer, with and without CBAM."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "tiny", Spec((1, 1, 1, 1), False, base=16))
        patch.setitem(BACKBONES, "tiny_cbam", Spec((1, 1, 1, 1), False, cbam=True, base=16))
        yield


@pytest.fixture(scope="module")
def script():
    path = Path(__file__).parents[2] / "scripts" / "train_backbone.py"
    spec = importlib.util.spec_from_file_location("train_backbone_script", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def picture(kind: str, rng: np.random.Generator) -> np.ndarray:
    """`along`: stripes along the rows; `across`: along the columns. Only orientation tells them apart."""
    y, x = np.mgrid[:40, :44]
    wave = np.sin((y if kind == "along" else x) * 0.9 + rng.uniform(0, 6))
    return np.clip(128 + 70 * wave[..., None] + rng.normal(0, 12, (40, 44, 3)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """train/ and val/ with two classes, 24 and 8 images, one of them in a subfolder."""
    root, rng = tmp_path_factory.mktemp("classes"), np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 4)):
        for kind in ("along", "across"):
            place = root / split / kind
            (place / "more").mkdir(parents=True)
            for i in range(count):
                Image.fromarray(picture(kind, rng)).save(place / ("more" if i == 0 else "") / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("recipe") / "recipe.py"
    file.write_text(RECIPE)
    return file


@pytest.fixture(scope="module")
def run(folder, recipe, script, tmp_path_factory) -> Path:
    """A finished run from scratch over two devices."""
    out = tmp_path_factory.mktemp("run") / "scratch"
    assert script(["--config", str(recipe), "--data", str(folder), "--out", str(out), "--quiet"]) == 0
    return out


def test_the_script_learns_and_leaves_a_backbone(run, folder) -> None:
    weights = load_weights(run / FILE)
    assert weights.model == "tiny_cbam"
    assert weights.layers == (1, 2, 3, 4)
    assert weights.source == f"trained on {folder.name} (24 images) from scratch"
    assert len(weights.sha256) == 64
    strength = weights.variables["params"]["layer1_0"]["cbam"]["strength"]
    assert not np.array_equal(strength, [1, 1]), "training left the gates' strength where it was"
    np.testing.assert_allclose(strength, [1, 1], atol=0.5)
    data = load_arrays(open_classes(folder).split("val"), 32)
    whole = load_weights(run / FILE, head=True)
    method = Classifier("tiny_cbam", data.classes)
    image = method.normalize(data.images.astype(np.float32) / 255)
    found = jax.jit(method.predict)(whole.variables, image)["class"].argmax(-1)
    assert (np.asarray(found) == data.labels).mean() >= 0.75
    out = jax.eval_shape(build_backbone("tiny_cbam", (2,), folded=True).apply, weights.folded(), image)["layer2"]
    assert out.shape == (8, 4, 4, 32)


def test_the_same_command_goes_on_with_the_finished_run(run, folder, recipe, script, capsys) -> None:
    before = (run / FILE).read_bytes()
    assert script(["--config", str(recipe), "--data", str(folder), "--out", str(run), "--quiet"]) == 0
    assert "24 steps" in capsys.readouterr().out
    assert (run / FILE).read_bytes() == before


@pytest.mark.slow
def test_plain_weights_start_a_cbam_network_with_closed_gates(run, folder, recipe, script, tmp_path, capsys) -> None:
    plain, out = tmp_path / "plain.npz", tmp_path / "run"
    state = export_state(load_weights(run / FILE, head=True).variables)
    np.savez(plain, **{key: value for key, value in state.items() if "cbam" not in key})
    arguments = ["--config", str(recipe), "--data", str(folder), "--out", str(out), "--quiet", "--weights", str(plain)]
    assert jaxqc(["convert", str(plain), str(tmp_path / "ours.npz"), "--model", "tiny_cbam", "--head"]) == 0
    arguments[-1] = str(tmp_path / "ours.npz")
    assert script([*arguments, "--phases.0.epochs", "1", "--optim.lr", "1e-9"]) == 0
    trained, first = load_weights(out / FILE, head=True), load_weights(plain, "tiny_cbam", head=True)
    assert "from plain.npz (" in trained.source
    for block in ("layer1_0", "layer4_0"):
        strength = np.asarray(trained.variables["params"][block]["cbam"]["strength"])
        assert np.abs(strength).max() < 1e-6
        assert np.abs(strength).max() > 0, "the strength has no gradient"
    for key in ("conv1", "fc"):
        np.testing.assert_allclose(
            trained.variables["params"][key]["kernel"], first.variables["params"][key]["kernel"], atol=1e-6
        )


@pytest.mark.slow
def test_one_step_is_the_same_on_one_device_and_on_two(folder, recipe, script, tmp_path) -> None:
    found = []
    for devices in ("1", "2"):
        out = tmp_path / devices
        arguments = ["--config", str(recipe), "--data", str(folder), "--out", str(out), "--quiet", "--devices", devices]
        assert script([*arguments, "--phases.0.epochs", ".34"]) == 0
        found.append(load_weights(out / FILE, head=True).variables)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4), *found)


def test_folders_without_splits_and_bad_ones(folder, tmp_path) -> None:
    whole = open_classes(folder)
    assert whole.classes == ("across", "along")
    assert {s.split for s in whole.samples} == {"train", "val"}
    assert {s.id for s in whole.samples if "more" in s.id} == {
        f"{split}/{kind}/more/0.png" for split in ("train", "val") for kind in whole.classes
    }
    flat = open_classes(folder / "train")
    assert (len(flat), {s.split for s in flat.samples}) == (24, {""})
    assert [s.label for s in flat.samples] == [0] * 12 + [1] * 12
    with pytest.raises(UserError, match="no such folder"):
        open_classes(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no images in folders of classes"):
        open_classes(tmp_path)
    (tmp_path / "train" / "one").mkdir(parents=True)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "train" / "one" / "a.png")
    with pytest.raises(UserError, match="1 classes; a classifier needs two or more"):
        open_classes(tmp_path)
    (tmp_path / "val" / "two").mkdir(parents=True)
    with pytest.raises(UserError, match="class 'two' is not in"):
        open_classes(tmp_path)


def test_tfds_sets_give_labelled_images_whatever_their_masks(tmp_path, rng) -> None:
    from tests.support.foreign_tfds import GREY, RGB, png, tfds, write

    features = {"image": RGB, "label": tfds.features.ClassLabel(names=["x", "y"]), "segmentation_mask": GREY}
    images = [rng.integers(0, 256, (10, 12, 3), np.uint8) for _ in range(6)]
    rows = [
        {"image": png(image), "label": i % 2, "segmentation_mask": png(np.full((10, 12, 1), i, np.uint8))}
        for i, image in enumerate(images)
    ]
    path = write(tmp_path, features, {"train": rows[:4], "validation": rows[4:]})
    dataset = open_classes(path)
    assert dataset.classes == ("x", "y")
    arrays = load_arrays(dataset)
    found = {a.tobytes(): (s.label, s.split) for a, s in zip(arrays.images, dataset.samples, strict=True)}
    assert found == {a.tobytes(): (i % 2, "train" if i < 4 else "val") for i, a in enumerate(images)}
    assert not arrays.masks.any()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model.name", "resnet51"], "did you mean 'resnet50'"),
        (["--model.width", "2"], "model.width=2"),
        (["--method", "saliency"], "a backbone's recipe has method='classifier'"),
        (["--weights", "nowhere.npz"], "nowhere.npz: no such file"),
        (["--best-metric", "top2"], "best_metric: 'top2'"),
    ],
)
def test_mistakes_are_one_line(flags, message, folder, recipe, script, tmp_path, capsys) -> None:
    arguments = ["--config", str(recipe), "--data", str(folder), "--out", str(tmp_path / "run"), "--quiet"]
    assert script([*arguments, *flags]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_jaxqc_train_trains_it_too(run, folder, recipe, tmp_path, capsys) -> None:
    """The finished run goes on by the verb and by the API alike: they are one training."""
    before = (run / FILE).read_bytes()
    assert jaxqc(["train", "--config", str(recipe), "--data", str(folder), "--out", str(run), "--quiet"]) == 0
    shown = capsys.readouterr()
    assert f"{FILE}: tiny_cbam, trained on {folder.name} (24 images) from scratch" in shown.err
    assert "24 steps" in shown.out
    assert "next:" not in shown.out
    result = api.train(recipe, folder, run, progress=False)
    assert (result.step, (run / FILE).read_bytes()) == (24, before)
    with pytest.raises(UserError, match="a run of method 'classifier', which leaves no maps"):
        api.load(run)


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({}, {"val": Dataset("d", (), ())}, "val: goes with saliency, and this is classifier; leave it out"),
        ({"data": DataConfig("mvtec")}, {}, "data.layout='mvtec' would go unused; a class is a folder of images"),
        ({"data": DataConfig(foreground="1")}, {}, "data.foreground='1' would go unused"),
        ({"data": DataConfig(normal="ok")}, {}, "data.normal='ok' would go unused"),
        ({"data": DataConfig(unmasked="good")}, {}, "data.unmasked='good' would go unused"),
        ({"method": "saliency"}, {"weights": "resnet18"}, "weights: goes with classifier, and this is saliency"),
    ],
)
def test_what_would_go_unused_is_refused(changes, options, message, folder, recipe, tmp_path) -> None:
    config = dataclasses.replace(load_config(recipe), **changes)
    with pytest.raises(UserError, match=message):
        api.train(config, folder, tmp_path / "run", progress=False, **options)
