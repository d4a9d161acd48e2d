"""Published weights of a network: a weights file and a run folder of them, and images divided by their own maximum."""

import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from benchmarks.lib.networks import random_variables
from jaxqc.cli import main
from jaxqc.config import ModelConfig, TrainConfig, load_config
from jaxqc.data.dataset import ArrayDataset, Dataset, Sample
from jaxqc.errors import UserError
from jaxqc.fields import validate
from jaxqc.kinds import load
from jaxqc.models.arrays import flatten, put, variable_shapes
from jaxqc.models.corrnet_names import export_corrnet
from jaxqc.models.minet_names import export_minet
from jaxqc.models.pp_liteseg_names import export_pp_liteseg
from jaxqc.models.pretrained import LoadReport
from jaxqc.saliency import networks
from jaxqc.saliency.method import make_method
from jaxqc.saliency.model import Model
from jaxqc.saliency.networks import build
from jaxqc.saliency.published import Found, Published, read_published, write_published
from jaxqc.saliency.report import chosen
from jaxqc.saliency.verify import verify
from jaxqc.training.pixel_statistics import pixel_statistics
from tests.support.tiny_run import RECIPE, TINY, TinyNet, plates, tiny_network

__all__ = ["plates", "tiny_network"]


def convert(arrays):
    variables = {}
    for name, value in arrays.items():
        put(variables, tuple(name.split(".")), value)
    return variables, LoadReport("tiny", (), len(arrays), parts="the whole network")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A file of its authors' as `tiny.npz`, and the run folder `run` of it."""
    folder = tmp_path_factory.mktemp("published")
    arrays = {".".join(path): value for path, value in flatten(random_variables(TinyNet(1), varied=True)).items()}
    np.savez(folder / "tiny.npz", **arrays)
    recipe = folder / "tiny.py"
    recipe.write_text(RECIPE.replace('name="tiny"', 'name="tiny", range="image_max"'))
    published = Published(convert, str(recipe), 0.47, 0.24)
    with pytest.MonkeyPatch.context() as patch:
        start = lambda weights: read_published(weights, "tiny", published).variables
        patch.setitem(networks.NETWORKS, "tiny", TINY._replace(published=published, start=start))
        assert main(["convert", str(folder / "tiny.npz"), str(folder / "run"), "--model", "tiny"]) == 0
        yield folder


def test_the_run_folder_is_used_as_a_trained_one(folder):
    model = load(folder / "run")
    assert (model.size, model.config.model.range, model.meta["published"]["file"]) == (32, "image_max", "tiny.npz")
    assert verify(folder / "run").ok
    images = np.random.default_rng(0).integers(0, 120, (2, 40, 40), np.uint8)
    # Twice as bright is the same image to it, which it is to no network of range `unit`.
    np.testing.assert_allclose(model.predict(2 * images), model.predict(images), atol=1e-5)


def assert_every_verb_takes(run: Path, plates: Path, out: Path) -> None:
    """Evaluates, predicts, inspects, exports and verifies a run folder, as a user does."""
    found = ["--checkpoint", str(run)]
    assert main(["verify", str(run)]) == 0
    assert main(["evaluate", *found, "--data", str(plates), "--quiet"]) == 0
    pictures = out / "pictures"
    pictures.mkdir()
    for path in sorted((plates / "Source Images").iterdir())[:3]:
        (pictures / path.name).write_bytes(path.read_bytes())
    assert main(["predict", *found, "--images", str(pictures), "--out", str(out / "maps"), "--quiet"]) == 0
    assert len(list((out / "maps").glob("*.png"))) == 3
    assert main(["inspect", *found, "--images", str(pictures), "--out", str(out / "lot"), "--quiet"]) == 0
    assert (out / "lot" / "summary.json").is_file()
    assert main(["export", *found, "--out", str(out / "graph")]) == 0
    assert main(["verify", str(out / "graph")]) == 0


@pytest.mark.slow
def test_the_run_folder_goes_through_every_verb(folder, plates, tmp_path):
    assert_every_verb_takes(folder / "run", plates, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "exported", "size"), [("minet", export_minet, 352), ("corrnet", export_corrnet, 256)])
def test_a_made_state_dict_becomes_a_run_folder_that_is_used(name, exported, size, plates, tmp_path):
    np.savez(tmp_path / "theirs.npz", **exported(random_variables(build(name), varied=True)))
    assert main(["convert", name, str(tmp_path / "theirs.npz"), str(tmp_path / "run")]) == 0
    assert load(tmp_path / "run").size == size
    assert_every_verb_takes(tmp_path / "run", plates, tmp_path)


def test_one_mean_a_channel(folder, tmp_path):
    """By ImageNet's means a grey picture's three channels differ, as NumPy says."""
    copy = tmp_path / "run"
    shutil.copytree(folder / "run", copy)
    model = load(copy)
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    images = np.random.default_rng(0).integers(0, 120, (2, 32, 32, 1), np.uint8)
    plain = Model(model.variables, load_config("corrnet_sd900"), {**model.meta, "mean": mean, "std": std}, fold=False)
    method = make_method(load_config("corrnet_sd900"), ("In",), mean, std, 0.1)
    expected = (np.repeat(images / 255, 3, -1) - mean) / std
    np.testing.assert_allclose(jax.jit(plain.prepare, static_argnums=1)(images, 0), expected, atol=1e-6)
    shown = jax.numpy.asarray(np.repeat(images / np.float32(255), 3, -1))
    np.testing.assert_allclose(method.normalize(shown), expected, atol=1e-6)


def test_the_weights_file_is_the_same_and_a_start(folder, capsys):
    own = folder / "own.npz"
    assert main(["convert", "tiny", str(folder / "tiny.npz"), str(own)]) == 0
    assert "tiny.npz, SHA-256" in capsys.readouterr().out
    first = read_published(folder / "tiny.npz", "tiny", networks.NETWORKS["tiny"].published)
    found = read_published(own, "tiny", networks.NETWORKS["tiny"].published)
    assert (found.source, found.sha256) == (first.source, first.sha256)
    start = networks.start_of(TrainConfig(model=ModelConfig("tiny", weights=str(own))))
    for path, value in flatten(start).items():
        np.testing.assert_array_equal(value, flatten(first.variables)[path])
    with pytest.raises(UserError, match="not 'jaxqc network 1' of 'minet'"):
        read_published(own, "minet", networks.NETWORKS["minet"].published)


def test_a_file_of_other_classes_is_a_start_and_no_run_folder(tmp_path, capsys):
    arrays = export_pp_liteseg(random_variables(build("pp_liteseg_t")), "t")
    for place in range(3):
        name = f"seg_heads.{place}.conv_out.weight"
        arrays[name] = np.ones((19, *arrays[name].shape[1:]), np.float32)
    np.savez(tmp_path / "streets.npz", **arrays)
    convert = ["convert", "pp_liteseg", str(tmp_path / "streets.npz")]
    assert main([*convert, str(tmp_path / "run")]) == 2
    assert "3 arrays are for another task (seg_heads.1.conv_out.weight, ...); give OUT.npz" in capsys.readouterr().err
    assert main([*convert, str(tmp_path / "own.npz")]) == 0
    assert "not asked for: 3: seg_heads.1.conv_out.weight" in capsys.readouterr().out
    own = ModelConfig("pp_liteseg_t", weights=str(tmp_path / "own.npz"))
    start = networks.start_of(TrainConfig(model=own))
    assert start is not None
    taken, shapes = flatten(start), variable_shapes(build("pp_liteseg_t"))
    assert {path[1] for path in shapes} - {path[1] for path in taken} == {"out8", "out16", "out32"}
    assert all(shapes[path] == value.shape for path, value in taken.items())


def test_minets_weights_start_tscarnets_first_stage(tmp_path):
    variables, shapes = random_variables(build("minet")), variable_shapes(build("tscarnet", 3))
    found = Found("minet", variables, LoadReport("minet", (), 1), "MINet.pth", "0" * 64)
    write_published(tmp_path / "minet.npz", found)
    start = networks.start_of(TrainConfig(model=ModelConfig("tscarnet", weights=str(tmp_path / "minet.npz"))))
    assert start is not None
    taken = flatten(start)
    for path, value in taken.items():
        assert shapes[path] == value.shape
        np.testing.assert_array_equal(value, flatten(variables)[path])
    assert {path[1] for path in taken} == {"encoder", "d1", "d2", "d3", "d4", "d5"}
    assert sum(value.size for path, value in taken.items() if path[0] == "params") == 216_512 + 60_736


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("run",), "is not empty; choose another OUT"),
        (("tiny.npz",), "would replace its source"),
        (("new", "--layers", "1"), "--layers: goes with backbones, and tiny is a network"),
    ],
)
def test_what_cannot_be_converted_is_refused(folder, capsys, flags, message):
    out, *more = flags
    assert main(["convert", str(folder / "tiny.npz"), str(folder / out), "--model", "tiny", *more]) == 2
    assert message in capsys.readouterr().err


def test_a_model_is_named_once(capsys):
    assert main(["convert", "minet", "MINet.pth", "new", "--model", "minet"]) == 2
    assert "--model: the first of three words is the model's name; leave it out" in capsys.readouterr().err


def test_of_other_data_all_images_are_measured(tmp_path):
    data = Dataset("new", ("In",), tuple(Sample(f"{i}", tmp_path / f"{i}.png") for i in range(3)))
    config = load_config("minet_sd900")
    assert chosen(data, "test", None, config, tmp_path, trained=False)[1:] == ("none", "all")
    with pytest.raises(UserError, match="give split test or all"):
        chosen(data, "train", None, config, tmp_path, trained=False)


def test_statistics_of_images_by_their_own_maximum(rng):
    images = rng.integers(0, 200, (4, 8, 8, 1), np.uint8)
    images[1] //= 2
    images[2] = 0
    data = ArrayDataset("made", ("In",), tuple("abcd"), images, np.zeros((4, 8, 8), np.uint8), np.zeros(4, np.int32))
    scaled = images / np.maximum(images.max((1, 2, 3), keepdims=True), 1)
    mean, deviation, _ = pixel_statistics(data, None, "image_max")
    assert (mean, deviation) == pytest.approx((scaled.mean(), scaled.std()), abs=1e-9)


def test_the_range_is_a_saliency_networks():
    with pytest.raises(UserError, match=r"model\.range is a saliency network's"):
        validate(TrainConfig(method="classifier", model=ModelConfig("resnet18", range="image_max")), "recipe")
    assert load_config("minet_sd900").model.range == "image_max"
