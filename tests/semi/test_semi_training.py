"""Training from few labels by the one loop: what it learns, keeps, refuses, and how exactly it resumes."""

import dataclasses
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image

from jaxqc.config import Phase
from jaxqc.semi.data import Pair
from jaxqc.semi.feed import Reader, whole_images
from jaxqc.semi.manifest import Manifest, read_manifest
from jaxqc.semi.model import load_segmentation
from jaxqc.semi.recipe import SemiDataConfig, SemiTrainConfig
from jaxqc.semi.train import train_semi
from jaxqc.training import loop
from jaxqc.training.checkpoint import load_variables, read, steps_in
from jaxqc.training.logs import WALL_FIELDS, read_rows
from tests.support.compile_cache import one_device_flags
from tests.support.few_labels import CLASSES, SIDE, recipe, use_tiny, write_images

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("few"), {"labeled": 3, "unlabeled": 8, "select": 4, "val": 2})


def rows(folder: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in r.items() if k not in WALL_FIELDS} for r in read_rows(folder / "metrics.jsonl")]


def last(folder: Path) -> dict[tuple[str, ...], np.ndarray]:
    return read(folder / "checkpoints" / str(steps_in(folder / "checkpoints")[-1]))[0]


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        use_tiny(patch)
        train_semi(recipe(), data, folder, progress=False)
    return folder


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    use_tiny(monkeypatch)


def test_a_run_keeps_its_teacher_queue_lists_and_logs(whole: Path, data: Path) -> None:
    state = last(whole)
    evaluations = [row["miou"] for row in rows(whole) if row["kind"] == "eval"]
    pushes = sum(value > max([-1.0, *evaluations[:i]]) for i, value in enumerate(evaluations))
    assert len(evaluations) == 3
    assert int(state["extra", "history", "count"]) == min(pushes, 2) > 0
    teacher = [v for k, v in state.items() if k[:2] == ("extra", "teacher")]
    student = [v for k, v in state.items() if k[0] == "params"]
    assert any(not np.array_equal(t, s) for t, s in zip(teacher, student, strict=True))
    for name in ("labeled.txt", "unlabeled.txt", "select.txt", "val.txt"):
        assert (whole / "splits" / name).read_text() == (data / name).read_text()
    assert read_manifest(data).ignore is None
    assert read_manifest(whole / "splits").ignore == 255  # a part of the masks alone may leave it open
    trained = [row for row in rows(whole) if row["kind"] == "train"]
    assert {"loss_x", "loss_u", "loss_prev", "drawn", "tier1_share", "tier3_right"} <= trained[-1].keys()
    line = read_rows(whole / "metrics.jsonl")[0]
    assert line["images_per_second"] > 0
    assert line["model_tflops"] > 0
    assert "mfu" not in line  # nobody told the peak
    meta = json.loads((whole / "meta.json").read_text())
    assert meta["classes"] == list(CLASSES)
    assert meta["images"] == {"labeled": 3, "unlabeled": 8, "select": 4, "val": 2}


def test_the_loaded_network_is_the_teacher(whole: Path) -> None:
    variables, config, _ = load_variables(whole, "last", SemiTrainConfig)
    state = last(whole)
    kernel = variables["params"]["head"]["logits"]["kernel"]
    np.testing.assert_array_equal(kernel, state["extra", "teacher", "head", "logits", "kernel"])
    assert config.semi == recipe().semi


@pytest.mark.usefixtures("tiny")
def test_resuming_is_bit_identical_with_models_in_the_queue(whole: Path, data: Path, tmp_path: Path) -> None:
    plain = loop._Sitting._save

    def dies(self: Any) -> None:
        plain(self)
        if self.step == 4:
            self.saves.wait()
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop._Sitting, "_save", dies)
        with pytest.raises(KeyboardInterrupt):
            train_semi(recipe(), data, tmp_path / "run", progress=False)
    assert int(last(tmp_path / "run")["extra", "history", "count"]) > 0
    train_semi(recipe(peak_tflops=1e-3), data, tmp_path / "run", progress=False)
    expected, found = last(whole), last(tmp_path / "run")
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg="/".join(key))
    assert rows(whole) == rows(tmp_path / "run")
    assert read_rows(tmp_path / "run" / "metrics.jsonl")[-2]["mfu"] > 0


@pytest.mark.slow
def test_sigkill_with_models_in_the_queue_loses_nothing(data: Path, tmp_path: Path) -> None:
    """Real processes of the command line, each killed a random while after a checkpoint that holds past models."""
    file = tmp_path / "recipe.py"
    file.write_text(
        f"import sys\nsys.path.insert(0, {str(ROOT)!r})\nfrom tests.support.few_labels import SIDE, recipe\n"
        "from jaxqc.config import Phase\nget_config = lambda: recipe(phases=(Phase(12, SIDE, 4),))\n"
    )
    flags = {"XLA_FLAGS": one_device_flags(), "JAX_PLATFORMS": "cpu"}

    def start(folder: Path) -> subprocess.Popen[str]:
        command = ["-m", "jaxqc", "train", "--config", str(file), "--data", str(data), "--out", str(folder), "--quiet"]
        return subprocess.Popen([sys.executable, *command], env={**os.environ, **flags}, text=True, cwd=ROOT)

    assert start(tmp_path / "whole").wait(600) == 0
    seed = random.randrange(10**6)
    rng, killed = random.Random(seed), []
    for _ in range(4):
        process, folder = start(tmp_path / "run"), tmp_path / "run" / "checkpoints"
        before, deadline = steps_in(folder)[-1:], time.monotonic() + 600
        while steps_in(folder)[-1:] == before and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.2))
        process.kill()
        process.wait()
        killed += steps_in(folder)[-1:]
    assert start(tmp_path / "run").wait(600) == 0
    print(f"seed {seed}, killed with these last checkpoints: {killed}")
    expected, found = last(tmp_path / "whole"), last(tmp_path / "run")
    assert int(expected["extra", "history", "count"]) > 0
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg="/".join(key))
    assert rows(tmp_path / "whole") == rows(tmp_path / "run")


@pytest.mark.slow
@pytest.mark.usefixtures("tiny")
def test_restores_onto_another_number_of_devices(whole: Path, data: Path, tmp_path: Path) -> None:
    """Two devices take up all that one left, the queue too, and go on. (Not to the same end: each device mixes the
    images that it has itself.)"""
    import shutil

    shutil.copytree(whole, tmp_path / "run")
    for step in steps_in(tmp_path / "run" / "checkpoints")[1:]:
        shutil.rmtree(tmp_path / "run" / "checkpoints" / str(step))
    taken: dict[int, Any] = {}
    plain = loop._Sitting.restore

    def restore(self: Any) -> None:
        plain(self)
        taken[self.parallel.count] = jax.device_get(self.state)
        if self.parallel.count == 1:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop._Sitting, "restore", restore)
        with pytest.raises(KeyboardInterrupt):
            train_semi(recipe(), data, tmp_path / "run", progress=False)
        train_semi(recipe(devices=2), data, tmp_path / "run", progress=False)
    left, count = last(whole), taken[1].extra.history.count
    assert 0 < int(count[0]) == int(taken[2].extra.history.count[1])
    one, two = jax.tree.leaves(taken[1]), jax.tree.leaves(taken[2])
    for alone, both in zip(one, two, strict=True):
        np.testing.assert_array_equal(both, np.concatenate([alone, alone]))
    found = last(tmp_path / "run")
    assert found.keys() == left.keys()
    assert all(np.isfinite(value).all() for value in found.values())
    assert any(not np.array_equal(found[key], value) for key, value in left.items()), "it did not go on"


@pytest.mark.usefixtures("tiny")
def test_two_students_two_teachers_and_labels_alone_train(data: Path, tmp_path: Path) -> None:
    for method in ("cps", "supervised", "ps_mt"):
        result = train_semi(recipe(method, phases=(Phase(1, SIDE, 4),)), data, tmp_path / method, progress=False)
        assert np.isfinite(result.metrics["miou"])
        with np.load(tmp_path / method / "golden.npz") as golden:
            found = load_segmentation(tmp_path / method).predict(golden["image"])
            assert np.mean(found == golden["map"].argmax(-1)) > 0.99


@pytest.mark.usefixtures("tiny")
def test_micro_batches_make_up_the_batch(data: Path, tmp_path: Path) -> None:
    """The mean of two micro-batches' losses is the loss of the whole batch, where no pixel is padding."""
    ends = []
    for parts in (1, 2):
        config = recipe("supervised", phases=(Phase(2, SIDE, 4),), views=SemiDataConfig(scale_min=1.0, scale_max=1.0))
        config = dataclasses.replace(config, optim=dataclasses.replace(config.optim, accumulate=parts))
        train_semi(config, data, tmp_path / str(parts), progress=False)
        ends.append(last(tmp_path / str(parts)))
    for key, value in ends[0].items():
        if key[0] == "params":
            np.testing.assert_allclose(ends[1][key], value, atol=1e-4, err_msg="/".join(key))


@pytest.mark.usefixtures("tiny")
def test_selection_images_of_several_sizes(tmp_path: Path) -> None:
    counts = {"labeled": 2, "unlabeled": 4, "select": 5, "val": 1}
    data = write_images(tmp_path / "mixed", counts, ((SIDE, SIDE), (SIDE, 40)))
    pairs = tuple(Pair(f"images/select{i}.png", f"masks/select{i}.png") for i in range(5))
    reader = Reader(data, Manifest(CLASSES).check("here"), pairs)
    assert [len(part) for part in whole_images(reader, "mixed")] == [3, 2]
    assert [len(part) for part in whole_images(reader, "mixed", 42)] == [5]
    result = train_semi(recipe(phases=(Phase(1, SIDE, 4),)), data, tmp_path / "run", progress=False)
    assert 0 < result.metrics["miou"] < 1


@pytest.mark.usefixtures("tiny")
def test_no_confident_pixel_and_no_label_at_all(data: Path, tmp_path: Path) -> None:
    """Thresholds that nothing passes and labelled masks that say nothing: finite, and exactly no loss from either."""
    import shutil

    copy = shutil.copytree(data, tmp_path / "silent")
    for i in range(3):
        Image.fromarray(np.full((SIDE, SIDE), 255, np.uint8)).save(copy / "masks" / f"labeled{i}.png")
    config = recipe("fixmatch", phases=(Phase(1, SIDE, 4),))
    sure = dataclasses.replace(config.semi.tiers, bounds=(0.99999,))
    result = train_semi(
        dataclasses.replace(config, semi=dataclasses.replace(config.semi, tiers=sure)), copy, tmp_path / "run",
        progress=False,
    )  # fmt: skip
    trained = [row for row in rows(tmp_path / "run") if row["kind"] == "train"]
    assert all(row["loss_x"] == 0 and row["loss_u"] == 0 and row["tier1_share"] == 0 for row in trained)
    assert np.isfinite(result.metrics["pixel_accuracy"])
    assert jax.tree.all(jax.tree.map(lambda x: bool(np.isfinite(x).all()), last(tmp_path / "run")))
