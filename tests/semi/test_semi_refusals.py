"""Refusals of training from few labels before it begins, and its warnings."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image

from jaxqc.config import ModelConfig, Phase
from jaxqc.errors import UserError
from jaxqc.semi.data import read_splits, write_splits
from jaxqc.semi.manifest import Manifest, read_manifest, write_manifest
from jaxqc.semi.train import make_method, train_semi
from jaxqc.training.loop import RunResult
from tests.support.few_labels import CLASSES, SIDE, recipe, use_tiny, write_images


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_images(tmp_path / "few", {"labeled": 3, "unlabeled": 8, "select": 4, "val": 2})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"phases": (Phase(1, 30, 4),)}, "phases.0.size=30 is not a multiple of 14; the nearest is 28"),
        ({"phases": (Phase(1, SIDE, 16),)}, "unlabeled.txt: 8 images are fewer than a batch of 16"),
        ({"model": ModelConfig("dinov2_vits15")}, "dinov2_vits14"),
        ({"model": ModelConfig("vit_tiny14", width=2.0)}, "model.width=2.0"),
        ({"best_metric": "s_measure"}, "best_metric: 's_measure'"),
        ({"weights": "nothing.npz"}, "nothing.npz"),
    ],
)
def test_recipes_that_cannot_run(data: Path, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as told:
        train_semi(recipe(**changes), data, tmp_path / "run", progress=False)
    assert message in str(told.value)


def test_a_run_goes_on_with_the_lists_and_labels_it_began_with(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "checkpoints" / "4").mkdir(parents=True)
    splits, manifest = read_splits(data), read_manifest(data)
    start = lambda: train_semi(recipe(model=ModelConfig("dinov2_vits15")), data, run, progress=False)

    def keep(select: int, ignore: int) -> None:
        write_splits(run / "splits", {**splits, "select": splits["select"][:select]})
        write_manifest(run / "splits" / "manifest.json", Manifest(manifest.classes, manifest.colors, ignore))

    keep(4, 255)
    with pytest.raises(UserError, match="dinov2_vits14"):  # lists and labels pass, and the next mistake is told
        start()
    keep(3, 255)
    with pytest.raises(UserError, match=r"select\.txt: not as in .*splits"):
        start()
    keep(4, 254)
    with pytest.raises(UserError, match=r"manifest: not as in .*splits"):
        start()


def test_selection_masks_that_say_nothing_cannot_choose(data: Path, tmp_path: Path) -> None:
    for i in range(4):
        Image.fromarray(np.full((SIDE, SIDE), 255, np.uint8)).save(data / "masks" / f"select{i}.png")
    with pytest.raises(UserError, match=r"select\.txt: no pixel of its masks has a class"):
        train_semi(recipe(), data, tmp_path / "run", progress=False)


def test_labelled_masks_of_one_class_teach_nothing(data: Path, tmp_path: Path) -> None:
    for i in range(3):
        labels = np.zeros((SIDE, SIDE), np.uint8)
        labels[: SIDE // 2] = 255
        Image.fromarray(labels).save(data / "masks" / f"labeled{i}.png")
    stated = read_manifest(data)
    write_manifest(data / "manifest.json", dataclasses.replace(stated, ignore=255))
    with pytest.raises(UserError, match=r"labeled\.txt: its masks show one class alone, '.*' \(50\.00% of the pixels"):
        train_semi(recipe(), data, tmp_path / "run", progress=False)


def test_cudnn_where_it_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    manifest = Manifest(CLASSES).check("here")
    config = recipe(attention="cudnn", model=ModelConfig("dinov2_vits14", dtype="bfloat16"))
    with pytest.raises(UserError, match="attention='cudnn' needs a GPU, and JAX has a cpu here"):
        make_method(config, manifest)
    with pytest.raises(UserError, match="attention='cudnn' takes half precision only"):
        make_method(dataclasses.replace(config, model=ModelConfig("dinov2_vits14")), manifest)
    resnet = dataclasses.replace(config, model=ModelConfig("resnet18"), phases=(Phase(1, 32, 2),))
    make_method(resnet, manifest)  # has no attention


def test_epochs_of_several_batches_where_a_schedule_goes_by_epochs() -> None:
    """They would be counted in the first batch's steps: after 2 + 2 of 2 and 4 steps an epoch, 2 in place of 1.5."""
    manifest, phases = Manifest(CLASSES).check("here"), (Phase(1, SIDE, 4), Phase(1, SIDE, 2))
    for name, said in (("ps_mt", r"semi\.teachers, semi\.unsup go"), ("unimatch_v2", "")):
        config = recipe(name, phases=phases, model=ModelConfig("resnet18"))
        if not said:
            make_method(config, manifest)
            continue
        with pytest.raises(UserError, match=f"phases: {said} by epochs of one batch; give all phases the same batch"):
            make_method(config, manifest)
        make_method(dataclasses.replace(config, phases=phases[:1] * 2), manifest)


def test_an_image_alone_on_its_device_is_warned_of(data: Path, tmp_path: Path, monkeypatch) -> None:
    use_tiny(monkeypatch)
    lonely = "a batch of 4 on 1 devices x 4 micro-batches is one image each: CutMix has no partner"
    for accumulate, method, warned in ((4, "mvpmatch", True), (2, "mvpmatch", False), (4, "supervised", False)):
        config = recipe(method, phases=(Phase(1, SIDE, 4),))
        config = dataclasses.replace(config, optim=dataclasses.replace(config.optim, accumulate=accumulate))
        said: list[str] = []
        monkeypatch.setattr("jaxqc.semi.train.run", lambda *_, **__: RunResult(tmp_path, 0, {}, {}, 0, 0.0))
        train_semi(config, data, tmp_path / "run", progress=False, note=said.append)
        assert any(line.startswith(lonely) for line in said) == warned
