"""A fit that is trained: killed and resumed bit for bit, refused where its folder holds anything else."""

import json
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxqc.anomaly.detectors import DeepSvdd, Gaussian, Stfpm
from jaxqc.anomaly.detectors.base import BackboneConfig
from jaxqc.anomaly.detectors.one_class import Centring
from jaxqc.anomaly.features import load_backbone
from jaxqc.anomaly.fit import fit
from jaxqc.anomaly.training import train_state
from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.grouped import Parts
from jaxqc.data.readers import open_dataset
from jaxqc.errors import UserError
from jaxqc.nn.fold import fold_batch_norm
from jaxqc.training.checkpoint import read, steps_in, variables_of
from jaxqc.verify import verify
from tests.anomaly.test_fit_processes import finish, start
from tests.support.run_fit import recipe as configured


def last_step(folder: Path) -> int:
    return max(steps_in(folder / "training" / "checkpoints"), default=0)


def wait_past(folder: Path, process: subprocess.Popen, step: int) -> None:
    deadline = time.monotonic() + 600
    while last_step(folder) <= step and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)


def arrays(folder: Path) -> dict[str, np.ndarray]:
    return {"/".join(name): value for name, value in read(folder)[0].items()}


def assert_same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert a.keys() == b.keys()
    for name, value in a.items():
        np.testing.assert_array_equal(value, b[name], err_msg=name)


@pytest.fixture(scope="module")
def killed(boards, weights, tmp_path_factory) -> Path:
    """The folder of a fit that was killed in the middle of its training."""
    folder = tmp_path_factory.mktemp("killed") / "fit"
    process = start([boards, weights, folder, "stfpm"])
    wait_past(folder, process, 0)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert 0 < last_step(folder) < 36
    return folder


def test_a_killed_fit_goes_on_bit_for_bit(killed, boards, weights, tmp_path):
    whole, again = tmp_path / "whole", Path(shutil.copytree(killed, tmp_path / "again"))
    finish(start([boards, weights, whole, "stfpm"]))
    finish(start([boards, weights, again, "stfpm"]))
    assert last_step(again) == last_step(whole) == 36
    assert_same(arrays(again / "state" / "0"), arrays(whole / "state" / "0"))
    assert_same(*(arrays(folder / "training" / "checkpoints" / "36") for folder in (again, whole)))
    metas = [json.loads((folder / "meta.json").read_text()) for folder in (again, whole)]
    assert metas[0]["thresholds"] == metas[1]["thresholds"]
    assert verify(again).difference == 0
    record = read(again / "training" / "checkpoints" / "36")[1]
    assert len(record["config"]["frozen"]) == 64
    assert not any("teacher" in name for name in arrays(again / "training" / "checkpoints" / "36"))
    held = [name for name in arrays(again / "state" / "0") if name.startswith("backbone")]
    assert held, "the finished fit holds the teacher whole"
    # A finished fit is nobody's to go on with.
    with pytest.raises(UserError, match=r"not empty \(it holds a finished fit\)"):
        fit(configured("stfpm", str(weights)), open_dataset(boards), again, progress=False)


def test_other_recipes_data_and_folders_are_refused(killed, recipe, boards, weights, tmp_path):
    data = open_dataset(boards)
    short = replace(Stfpm().training, epochs=12.0, batch=4, checkpoint_every_epochs=1.0, evaluate_every_epochs=2.0)
    same = replace(recipe, detector=Stfpm(training=short), batch=2, devices=0)

    def refused(config, words, folder=killed, data=data):
        with pytest.raises(UserError, match=words):
            fit(config, data, folder, progress=False)

    refused(replace(same, detector=Stfpm(fuse="sum", training=short)), "fit.detector.fuse was 'product', is 'sum'")
    refused(replace(same, detector=Stfpm(training=replace(short, epochs=13.0))), "phases was .*12.0")
    refused(replace(same, seed=1), "seed was 0, is 1")
    refused(replace(same, detector=Gaussian(channels=30)), r"not empty \(it holds training\); choose another")
    other = np.load(weights)
    np.savez(tmp_path / "other.npz", **{k: v * 1.5 if v.ndim == 4 else v for k, v in other.items()})
    refused(replace(same, backbone=replace(same.backbone, weights=str(tmp_path / "other.npz"))), "frozen was ")
    for name in ("training/notes.txt", "notes.txt"):
        foreign = tmp_path / name.replace("/", "-")
        (foreign / name).parent.mkdir(parents=True)
        (foreign / name).write_text("mine")
        refused(same, "not the training of a detector|not empty", foreign)
        assert (foreign / name).read_text() == "mine"


def test_a_batch_larger_than_the_images_is_refused_by_its_field(recipe, tmp_path):
    """The batch of a later training is refused before the first one starts."""
    none = Dataset("tiny", (), ())
    parts = Parts(Dataset("tiny", (), (Sample("a", Path("a.png")),) * 7), none, none)
    detector = DeepSvdd(centre=Centring(start=replace(DeepSvdd().centre.start, batch=7)))
    config = replace(recipe, detector=detector, backbone=BackboneConfig("pixels", layers=(1,)))
    backbone = load_backbone(config.backbone)
    with pytest.raises(UserError, match=r"detector\.training\.batch=200 is more than the 7 images to fit; set it to 7"):
        train_state(config, config.ready, backbone, parts, tmp_path / "training", [], False)
    assert not list(tmp_path.iterdir())


def test_the_best_step_is_kept_where_the_recipe_says_so(recipe, boards, tmp_path):
    """At such a rate the held-out loss goes up and down: the best step is hardly ever the last."""
    short = replace(
        Stfpm().training, epochs=6.0, batch=4, checkpoint_every_epochs=1.0, evaluate_every_epochs=1.0, keep="best"
    )
    config = replace(recipe, detector=Stfpm(training=short), backbone=replace(recipe.backbone, layers=(1,)))
    done = fit(config, open_dataset(boards), tmp_path / "fit", progress=False)
    rows = [json.loads(line) for line in (tmp_path / "fit/training/metrics.jsonl").read_text().splitlines()]
    losses = {row["step"]: row["loss"] for row in rows if row["kind"] == "eval"}
    best = min(losses, key=losses.__getitem__)
    assert done.model.meta["training"]["step"] == best
    assert done.model.meta["training"]["loss"] == pytest.approx(losses[best])
    assert "their loss also chose the step" in done.model.thresholds.how
    variables = variables_of(read(tmp_path / "fit/training/checkpoints" / str(best))[0])
    folded = fold_batch_norm(variables)["params"]
    for a, b in zip(jax.tree.leaves(done.model.state.params), jax.tree.leaves(folded), strict=True):
        np.testing.assert_array_equal(a, b)
