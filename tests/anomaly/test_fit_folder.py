"""Fitting from files to a folder that proves itself: every detector, any number of devices, bad files, the verbs."""

import dataclasses
import json
import re
import shutil

import jax
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

import jaxqc
from jaxqc.anomaly.collecting import load_batches
from jaxqc.anomaly.detectors import Gaussian, PatchCore, Spade
from jaxqc.anomaly.features import load_backbone
from jaxqc.anomaly.fit import fit
from jaxqc.anomaly.folder import load
from jaxqc.anomaly.parts import divide
from jaxqc.anomaly.unfinished import begin
from jaxqc.cli import main
from jaxqc.data.readers import open_dataset
from jaxqc.errors import UserError
from jaxqc.training.folder_sums import check_all
from jaxqc.verify import verify
from tests.support import narrow

SETTINGS = {
    "gaussian": Gaussian(channels=30),
    "full rank": Gaussian(channels=9),
    "patchcore": PatchCore(width=48, coreset=0.05, projection=16),
    "spade": Spade(images=4),
}


def configured(recipe, name, **changes):
    return dataclasses.replace(recipe, detector=SETTINGS[name], **changes)


@pytest.fixture(scope="module")
def data(boards):
    return open_dataset(boards)


@pytest.fixture(scope="module")
def test_images(recipe, data):
    """uint8 [12 s s 3] of the test split."""
    images, _, number = next(load_batches(data.split("test").samples, recipe.data.size, 12, []))
    assert number.tolist() == list(range(12))
    return images


def left_by_a_killed_fit(folder):
    for name in ("config.json", "meta.json", "golden.npz", "SHA256SUMS", "promise.png", "error_rates.json", ".lock",
                 ".golden.npz.4194305.part"):  # fmt: skip
        folder.mkdir(exist_ok=True)
        (folder / name).write_text('{"backbone": {}, "detector": {}, "decision": {}}')
    (folder / "state" / "0.orbax-checkpoint-tmp").mkdir(parents=True)


# SPADE's way to its folder is in test_every_detector.py; its gallery is collected as a bank of PatchCore's is.
@pytest.fixture(
    scope="module", params=[pytest.param(n, marks=pytest.mark.slow if n == "spade" else ()) for n in sorted(SETTINGS)]
)
def fitted(request, recipe, data, tmp_path_factory):
    """A fit in the folder of one that was killed."""
    out = tmp_path_factory.mktemp("fits") / request.param.replace(" ", "_")
    left_by_a_killed_fit(out)
    return fit(configured(recipe, request.param), data, out, progress=False)


def test_holes_are_found(fitted, data):
    result = jaxqc.evaluate_detector(fitted.model, data, progress=False)
    assert result.metrics["image_auroc"] > 0.9
    assert result.metrics["pixel_auroc"] > 0.8
    assert result.counts == {"": 12, "hole": 6, "good": 6}
    assert result.metrics["hole/image_auroc"] == result.metrics["image_auroc"]


def test_the_folder_holds_everything(fitted, data):
    again = load(fitted.folder)
    for a, b in zip(*(jax.tree.leaves((m.state, dict(m.variables))) for m in (again, fitted.model)), strict=True):
        np.testing.assert_array_equal(a, b)
    verdict = verify(fitted.folder)  # of the maps that the fit itself gave
    assert verdict.ok
    assert verdict.difference == 0
    meta = json.loads((fitted.folder / "meta.json").read_text())
    assert meta["fit"] + meta["calibrate"] == 17
    assert len(meta["weights"]["sha256"]) == 64
    assert meta["thresholds"]["image"] == again.thresholds.image
    with pytest.raises(UserError, match=r"not empty \(it holds a finished fit\)"):
        fit(fitted.model.config, data, fitted.folder)


def test_nothing_is_left_of_the_killed_one_and_no_altered_file_is_read(fitted, tmp_path):
    names = ["SHA256SUMS", "config.json", "error_rates.json", "golden.npz", "meta.json", "promise.png", "state"]
    assert sorted(path.name for path in fitted.folder.iterdir()) == names
    said = r"\d+ files are as they were written; not covered by sums: error_rates\.json"
    assert re.fullmatch(said, "; ".join(check_all(fitted.folder)))
    copy = shutil.copytree(fitted.folder, tmp_path / "copy")
    (copy / "meta.json").write_text((copy / "meta.json").read_text().replace('"pixel": ', '"pixel": 1'))
    with pytest.raises(UserError, match=r"damaged \(meta\.json is not as it was saved\)"):
        load(copy)


@pytest.mark.parametrize("fitted", ["gaussian"], indirect=True)
def test_one_call_loads_any_kind_and_one_measures_it(fitted, boards):
    assert jaxqc.load(fitted.folder).thresholds == fitted.model.thresholds
    assert jaxqc.load(fitted.folder, batch=3).batch == 3
    result = jaxqc.evaluate(fitted.folder, boards, progress=False)
    assert result.metrics == jaxqc.evaluate_detector(fitted.model, boards, progress=False).metrics


def test_an_images_score_is_its_own(fitted, test_images):
    maps, scores, _ = fitted.model.score(test_images)
    for i in (0, 7, 11):
        alone_map, alone_score, _ = fitted.model.score(test_images[i : i + 1])
        np.testing.assert_allclose(alone_map[0], maps[i], rtol=1e-5)
        np.testing.assert_allclose(alone_score[0], scores[i], rtol=1e-5)


@pytest.mark.parametrize(
    "fitted",
    [pytest.param(n, marks=() if n in ("gaussian", "patchcore") else pytest.mark.slow) for n in sorted(SETTINGS)],
    indirect=True,
)
def test_eight_devices_fit_the_same(fitted, data, test_images):
    config = dataclasses.replace(fitted.model.config, devices=8, batch=1)
    spread = fit(config, data, progress=False)
    for a, b in zip(spread.model.score(test_images)[:2], fitted.model.score(test_images)[:2], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4)


def test_the_gaussian_equals_an_independent_one(recipe, data, test_images):
    config = configured(recipe, "gaussian")
    model = fit(config, data, progress=False).model
    backbone = load_backbone(config.backbone)
    parts, _ = divide(data, config.data, config.seed)
    train, _, _ = next(load_batches(parts.fit.samples, recipe.data.size, len(parts.fit), []))
    choice = config.detector.choice(backbone.shapes(recipe.data.size))
    apply = jax.jit(backbone.apply)

    def grid(images):
        first, second = (np.asarray(x, np.float64) for x in apply(backbone.variables, images))
        second = second.repeat(2, 1).repeat(2, 2)
        return np.concatenate([first[..., choice[0]], second[..., choice[1]]], -1)

    x, probe = grid(train), grid(test_images[:4])
    expected = np.zeros((4, recipe.data.size, recipe.data.size))
    distances = np.zeros(probe.shape[:3])
    for i in range(x.shape[1]):
        for j in range(x.shape[2]):
            covariance = np.cov(x[:, i, j].T) + 0.01 * np.eye(x.shape[-1])
            v = probe[:, i, j] - x[:, i, j].mean(0)
            distances[:, i, j] = np.sqrt(np.einsum("bd,bd->b", v, np.linalg.solve(covariance, v.T).T))
    for b in range(4):
        small = Image.fromarray(distances[b].astype(np.float32), "F")
        large = small.resize((recipe.data.size,) * 2, Image.Resampling.BILINEAR)
        expected[b] = ndimage.gaussian_filter(np.asarray(large, np.float64), 4.0)
    maps, scores, _ = model.score(test_images[:4])
    np.testing.assert_allclose(maps, expected, rtol=1e-4)
    np.testing.assert_allclose(scores, expected.max((1, 2)), rtol=1e-4)


def test_maps_come_at_the_images_own_size(fitted):
    images = [np.full((30, 70), 90, np.uint8), np.full((64, 40, 3), 90, np.uint8)]
    maps = fitted.model.predict(images)
    assert [m.shape for m in maps] == [(30, 70), (64, 40)]
    assert all(m.dtype == np.float32 and m.min() >= 0 and m.max() <= 1 for m in maps)
    assert fitted.model.predict(images[0]).shape == (30, 70)
    assert fitted.model.predict(np.stack([images[0]] * 3)).shape == (3, 30, 70)
    assert fitted.model.predict(np.zeros((0, 30, 70, 3), np.uint8)).shape == (0, 30, 70)
    with pytest.raises(UserError, match="uint8"):
        fitted.model.predict([np.zeros((8, 8), np.float32)])
    with pytest.raises(UserError, match="fitted at 48 pixels"):
        fitted.model.predict(images, size=32)


def test_unusable_files_refuse_or_are_left_out(recipe, boards, tmp_path):
    root = shutil.copytree(boards, tmp_path / "boards")
    broken = root / "train" / "good" / "003.png"
    broken.write_bytes(b"no image")
    data = open_dataset(root)
    with pytest.raises(UserError, match=r"003\.png.*skip-bad"):
        fit(configured(recipe, "gaussian"), data, progress=False)
    lenient = dataclasses.replace(recipe.data, skip_bad=True)
    # A fit reads no masks: those of good images may be absent.
    normal = tuple(dataclasses.replace(s, mask=root / "0.png") if s.normal else s for s in data.samples)
    data = dataclasses.replace(data, samples=normal)
    model = fit(configured(recipe, "gaussian", data=lenient), data, progress=False)
    assert len(model.skipped) == 1
    assert np.isfinite(model.model.score(np.zeros((1, 48, 48, 3), np.uint8))[1]).all()


def test_a_fit_whose_first_held_out_images_are_bad_proves_itself(recipe, boards, tmp_path):
    """Nothing was left of the golden record, and of patches, which need two images, no pasted defect."""
    data = open_dataset(shutil.copytree(boards, tmp_path / "boards"))
    config = configured(recipe, "gaussian", data=dataclasses.replace(recipe.data, skip_bad=True))
    parts, _ = divide(data, config.data, config.seed)
    for sample in parts.calibrate.samples[:2]:
        sample.image.write_bytes(b"no image")
    fitted = fit(config, data, tmp_path / "fit", progress=False)
    assert len(fitted.skipped) == 2
    assert "patch" not in {cell["kind"] for cell in fitted.model.meta["pasted"]}
    assert verify(tmp_path / "fit").ok


@pytest.mark.parametrize("name", ["statements.txt", "config.json.bak", "training", "golden.npz.txt", ".hidden"])
def test_a_folder_with_anything_else_is_no_fits(tmp_path, name):
    left_by_a_killed_fit(tmp_path)
    (tmp_path / name).touch()
    with pytest.raises(UserError, match=f"not empty .it holds {name}.; choose another --out"):
        begin(tmp_path, (), print)
    (tmp_path / name).unlink()
    (tmp_path / "config.json").write_text('{"mine": true}')
    with pytest.raises(UserError, match=r"it holds config\.json"):
        begin(tmp_path, (), print)
    assert (tmp_path / "state").is_dir()


def test_a_fit_goes_on_beside_the_trainings_of_its_own_stages_alone(tmp_path):
    for name in ("training", "training_codes"):
        (tmp_path / name).mkdir()
    begin(tmp_path, ("training", "training_codes"), print)
    assert {path.name for path in tmp_path.iterdir()} == {"training", "training_codes"}
    with pytest.raises(UserError, match="it holds training_codes"):
        begin(tmp_path, ("training",), print)


def test_the_verbs(recipe, boards, weights, tmp_path, capsys):
    config = tmp_path / "recipe.py"
    config.write_text(
        "from jaxqc.anomaly.recipe import *\n\ndef get_config():\n    return FitConfig(backbone=BackboneConfig("
        f"{narrow.NAME!r}, {str(weights)!r}, (1, 2)), data=FitDataConfig(size=48), batch=8,"
        " decision=DecisionConfig(folds=1), pasted=8, devices=1)\n"
    )
    out = tmp_path / "fit"
    flags = ["--detector.channels", "30", "--quiet"]
    assert main(["fit", "--config", str(config), "--data", str(boards), "--out", str(out), *flags]) == 0
    assert main(["evaluate", "--checkpoint", str(out), "--data", str(boards), "--quiet"]) == 0
    assert "AU-PRO" in capsys.readouterr().out
    report = json.loads((out / "evaluation-test" / "evaluation.json").read_text())
    assert report["metrics"]["image_auroc"] > 0.9
    with Image.open(out / "evaluation-test" / "cases.png") as picture:
        assert picture.size[0] > 500
    maps = tmp_path / "maps"
    images = boards / "test" / "hole"
    assert main(["predict", "--checkpoint", str(out), "--images", str(images), "--out", str(maps), "--quiet"]) == 0
    with Image.open(maps / "000.png") as picture:
        assert picture.size == (48, 56)
    assert main(["verify", str(out)]) == 0
    assert main(["fit", "--config", str(config), "--data", str(boards), "--detector.chanels", "3"]) == 2
    assert "did you mean '--detector.channels'" in capsys.readouterr().err
    assert main(["train", "--config", str(config), "--data", str(boards)]) == 2
    assert "a recipe for jaxqc fit" in capsys.readouterr().err


def test_a_singular_covariance_is_an_error(recipe, boards):
    config = dataclasses.replace(recipe, detector=Gaussian(eps=1e-30))
    with pytest.raises(UserError, match=r"gaussian: .*detector\.eps=1e-30 is too small"):
        fit(config, open_dataset(boards), progress=False)
