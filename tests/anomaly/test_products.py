"""One detector of several products: found on disk, divided, calibrated and measured product by product."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jaxqc.anomaly.calibration import Measured, settle
from jaxqc.anomaly.detectors import Gaussian
from jaxqc.anomaly.features import Backbone
from jaxqc.anomaly.fit import fit
from jaxqc.anomaly.fits import uncalibrated
from jaxqc.anomaly.folder import load
from jaxqc.anomaly.recipe import DecisionConfig, FitConfig, FitDataConfig
from jaxqc.anomaly.report import evaluate
from jaxqc.cli.shared import of_product
from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.grouped import choose, folds_of, group_of, hold_out, with_products
from jaxqc.data.readers import open_dataset
from jaxqc.data.records import write_records
from jaxqc.errors import UserError
from tests.support.tiny_boards import _save as save
from tests.support.tiny_boards import stripes


@pytest.fixture(scope="module")
def cheap(teachers) -> tuple[FitConfig, Backbone]:
    """A recipe, and its network of few kernels, which compiles soon."""
    config, backbone, size = teachers["anomaly_dino"]
    data = FitDataConfig(size=size, layout="products")
    return FitConfig(Gaussian(channels=2), config, data, DecisionConfig(folds=2), pasted=0, devices=1), backbone


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Two products: boards of stripes, and such boards of twice the contrast."""
    root = tmp_path_factory.mktemp("products")
    for name, times in (("plain", 1.0), ("loud", 2.0)):
        for folder, seeds, hole in (("train/good", range(8), False), ("test/good", range(20, 23), False),
                                    ("test/hole", range(30, 33), True)):  # fmt: skip
            for seed in seeds:
                image, mask = stripes(seed, hole, 32, 32)
                loud = np.clip(128 + times * (image.astype(np.float32) - 128), 0, 255).astype(np.uint8)
                save(root / name / folder / f"{seed:03}.png", loud)
                if hole:
                    save(root / name / f"ground_truth/hole/{seed:03}_mask.png", mask)
    return root


def test_a_folder_of_products_is_one_data_set(root, tmp_path):
    with pytest.raises(UserError, match="or fit one detector to all by layout products"):
        open_dataset(root)
    data = open_dataset(root, "products")
    assert Counter(s.product for s in data.samples) == {"loud": 14, "plain": 14}
    assert data.classes == ("good", "hole")
    assert data.samples[0].id.startswith("loud/")
    assert {data.classes[s.label] for s in data.samples if s.mask} == {"hole"}
    stored = write_records(data, tmp_path / "both.array_record", 16)
    assert [s.product for s in stored.samples] == [s.product for s in data.samples]


def shots(*groups: int) -> Dataset:
    """Good training images of products by so many groups each, two an object."""
    samples = [
        Sample(f"{p}{g}{i}", Path("a.png"), split="train", group=f"{p}.{g}", normal=True, product=f"p{p}")
        for p, count in enumerate(groups)
        for g in range(count)
        for i in range(2)
    ]
    return Dataset("parts", ("good",), tuple(samples))


def test_each_product_is_divided_by_itself():
    held = [s for s in hold_out(shots(10, 5), 0.2).samples if s.split == "val"]
    assert Counter(s.product for s in held) == {"p0": 4, "p1": 2}
    folds = folds_of(shots(6, 2), 3)
    assert [Counter(s.product for s in f.samples) for f in folds] == [{"p0": 4, "p1": 2}] * 2 + [{"p0": 4}]
    assert all(not {*map(group_of, a.samples)} & {*map(group_of, b.samples)} for a, b in ((folds[0], folds[1]),))
    assert Counter(s.product for s in choose(shots(6, 2), 3).samples) == {"p0": 3, "p1": 3}
    with pytest.raises(UserError, match=r"parts/p1: .* 1 group .*; needs 2 or more"):
        folds_of(shots(6, 1), 3)
    grouped = with_products(shots(2), "group")
    assert [(s.product, s.group) for s in grouped.samples[::2]] == [("0.0", ""), ("0.1", "")]
    with pytest.raises(UserError, match=r"data\.products group: 1 of 1 samples have no group"):
        with_products(Dataset("x", (), (Sample("a", Path("a.png")),)), "group")


def test_a_products_thresholds_are_those_of_its_own_images(rng, cheap):
    model = uncalibrated(cheap[0], (), cheap[1])
    values = rng.gamma(9.0, size=(2, 60)) * np.where(np.arange(60) < 40, 1, 5)
    names = tuple(f"{i}" for i in range(60))
    products = ("small",) * 40 + ("large",) * 20
    both = settle(model, Measured(*map(tuple, values), (32,) * 60, names, names, products), None, [])
    for name, part in (("small", slice(0, 40)), ("large", slice(40, 60))):
        alone = settle(model, Measured(*map(tuple, values[:, part]), (32,) * 60, names[part], names[part]), None, [])
        own = dict(both.products)[name]
        assert own.thresholds == alone.thresholds
        assert own.promise == alone.promise
    assert dict(both.products)["small"].thresholds.image < both.thresholds.image
    assert any(line.startswith("large: image ") for line in both.lines())


def test_a_fit_of_two_products_is_measured_product_by_product(root, tmp_path, capsys, cheap):
    data, lines = open_dataset(root, "products"), list[str]()
    fit(cheap[0], data, tmp_path / "fit", progress=False, backbone=cheap[1], note=lines.append)
    assert any(line.startswith("plain: image ") for line in lines)
    model = load(tmp_path / "fit")
    assert model.products == ("loud", "plain")
    stored = model.meta["products"]["plain"]["thresholds"]
    assert model.of("plain").thresholds.image == stored["image"] != model.thresholds.image
    model.thresholds = replace(model.thresholds, image=3 * model.thresholds.image)  # as `jaxqc calibrate` moves them
    assert model.of("plain").thresholds.image == pytest.approx(3 * stored["image"])

    model = load(tmp_path / "fit")
    found = evaluate(model, data, tmp_path / "measured", progress=False)
    found.print()
    assert "mean of products" in capsys.readouterr().out
    assert "12 of 28 images measured" in found.closing()
    written = json.loads((tmp_path / "measured" / "evaluation.json").read_text())
    for name in model.products[:1]:
        nameless = tuple(replace(s, product="") for s in data.samples if s.product == name)
        alone = evaluate(model.of(name), replace(data, samples=nameless), progress=False)
        assert written["metrics"][f"{name}/image_f1"] == pytest.approx(alone.metrics["image_f1"], abs=1e-6)
        assert (tmp_path / "measured" / name / "per_image.csv").exists()
    mean = np.mean([written["metrics"][f"{name}/image_auroc"] for name in model.products])
    assert written["metrics"]["image_auroc"] == pytest.approx(mean, abs=1e-6)

    nameless = replace(data, samples=tuple(replace(s, product="") for s in data.samples))
    evaluate(model, nameless, progress=False, note=lines.append)
    assert lines[-1].endswith("no product is named; measured by the thresholds of all 2 together")
    assert of_product(model, "loud").thresholds == model.of("loud").thresholds
    assert of_product(model, None) is model
    assert "of 2 products (loud, plain)" in capsys.readouterr().err
    with pytest.raises(UserError, match="it knows loud, plain"):
        model.of("bolt")
    with pytest.raises(UserError, match="it is of one product alone"):
        model.of("loud").of("plain")
