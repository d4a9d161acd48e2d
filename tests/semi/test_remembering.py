"""Memories of steps: kept in checkpoints, taken up bit for bit, the same on all devices, and never of a bad step."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.config import OptimConfig, Phase
from jaxqc.semi.bank import as_values
from jaxqc.semi.model import load_segmentation
from jaxqc.semi.recipe import ContrastConfig, MemoryConfig, SemiTrainConfig, preset
from jaxqc.semi.train import train_semi
from jaxqc.training import loop
from jaxqc.training.method import SingleNetwork
from jaxqc.training.optim import make_optimizer
from jaxqc.training.parallel import make_parallel
from jaxqc.training.state import create
from jaxqc.training.step import make_step
from tests.semi.test_semi_training import last, rows
from tests.support.few_labels import SIDE, recipe, use_tiny, write_images


def u2pl(**changes: Any) -> SemiTrainConfig:
    """Two epochs of two steps, and a bank that they do not fill."""
    config = recipe("u2pl", **{"phases": (Phase(2, SIDE, 4),), **changes})
    contrast = ContrastConfig(weight=0.1, width=8, anchors=16, negatives=4, length=64, push=5)
    return dataclasses.replace(config, semi=preset("u2pl", contrast=contrast))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("few"), {"labeled": 3, "unlabeled": 8, "select": 4, "val": 2})


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    use_tiny(monkeypatch)


def allspark(**changes: Any) -> SemiTrainConfig:
    """Two epochs of two steps; labelled images attend to the memory from the second on."""
    config = recipe("allspark", **{"phases": (Phase(2, SIDE, 4),), **changes})
    return dataclasses.replace(config, semi=preset("allspark", memory=MemoryConfig(heads=2, start_epochs=1.0)))


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("make", [u2pl, allspark])
def test_resuming_with_a_half_filled_bank_is_bit_identical(data: Path, tmp_path: Path, make: Any) -> None:
    whole, halted = tmp_path / "whole", tmp_path / "halted"
    train_semi(make(), data, whole, progress=False)
    plain = loop._Sitting._save

    def dies(self: Any) -> None:
        plain(self)
        if self.step == 2:
            self.saves.wait()
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop._Sitting, "_save", dies)
        with pytest.raises(KeyboardInterrupt):
            train_semi(make(), data, halted, progress=False)
    count = last(halted)["extra", "bank", "count"]
    assert count.max() > 0
    assert make is allspark or count.max() < 64
    train_semi(make(), data, halted, progress=False)
    expected, found = last(whole), last(halted)
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg="/".join(key))
    assert rows(whole) == rows(halted)
    fill = [row["bank_fill"] for row in rows(whole) if row["kind"] == "train"]
    assert fill[-1] > fill[0]
    if make is u2pl:
        assert {"loss_c", "anchors", "kept"} <= rows(whole)[0].keys()
    model = load_segmentation(halted)
    assert "represent" not in model.params["head"]
    with np.load(halted / "golden.npz") as golden:
        assert np.mean(model.predict(golden["image"]) == golden["map"].argmax(-1)) > 0.99


@pytest.mark.usefixtures("tiny")
def test_micro_batches_and_devices_fill_one_bank(data: Path, tmp_path: Path) -> None:
    """Each remembers its own images' pixels; what enters the bank is drawn among those of all, and never more."""
    config = u2pl(devices=2, phases=(Phase(1, SIDE, 4),))
    config = dataclasses.replace(config, optim=dataclasses.replace(config.optim, accumulate=2))
    train_semi(config, data, tmp_path / "run", progress=False)
    state = last(tmp_path / "run")
    count, values = state["extra", "bank", "count"], state["extra", "bank", "values"]
    assert 0 < count.max() <= 2 * 5
    norm = np.linalg.norm(np.asarray(as_values(values)), axis=-1)
    for c, n in enumerate(count):
        np.testing.assert_allclose(norm[c, :n], 1, atol=0.02)
        assert not norm[c, n:].any()


class Counting(SingleNetwork):
    """Remembers each image's sum; its state is how much was handed to it."""

    classes = ("a",)

    def init(self, key: Any) -> Any:
        return {"params": {"w": jnp.ones(2)}}

    def init_extra(self, params: Any, model_state: Any = None) -> Any:
        return {"sums": jnp.zeros(4), "calls": jnp.zeros((), jnp.int32)}

    def prepare(self, batch: Any, keys: Any, size: int, train: bool) -> Any:
        return batch

    def loss(self, params: Any, model_state: Any, batch: Any, key: Any, extra: Any) -> Any:
        total = batch["image"].astype(jnp.float32).sum((1, 2, 3))
        return (params["w"].sum() * total).mean(), (model_state, {}, {"sums": total})

    def after_step(self, extra: Any, params: Any, step: Any, model_state: Any = None, *remembered: Any) -> Any:
        (seen,) = remembered
        return {"sums": extra["sums"] + seen["sums"].reshape(-1), "calls": extra["calls"] + 1}


@pytest.mark.misuse  # a method with no more than the step needs
@pytest.mark.parametrize(("devices", "accumulate"), [(1, 1), (1, 2), (2, 1), (2, 2)])
@pytest.mark.parametrize("backend", ["pmap", "shard_map"])
def test_a_step_hands_on_what_all_devices_remember(devices: int, accumulate: int, backend: Any) -> None:
    optimizer, parallel = make_optimizer(OptimConfig("sgd")), make_parallel(backend, devices)
    step = make_step(Counting(), optimizer, lambda step: jnp.float32(0.1), 1, accumulate)  # type: ignore[arg-type]
    state = parallel.replicate(jax.device_get(create(Counting(), optimizer, jax.random.key(0))))  # type: ignore[arg-type]
    run = parallel.map(lambda state, batch: step(state, batch, jax.random.key(0)))
    image = np.arange(4, dtype=np.float32).reshape(4, 1, 1, 1) + 1
    state, _ = run(state, parallel.shard({"image": image}))
    sums = np.asarray(jax.device_get(state.extra["sums"]))
    assert (sums == sums[0]).all(), "the devices disagree"
    assert sorted(sums[0]) == [1, 2, 3, 4]
    if (devices, accumulate) != (2, 2):  # micro-batches are cut within a device
        assert sums[0].tolist() == [1, 2, 3, 4]
    bad, _ = run(state, parallel.shard({"image": np.full_like(image, np.nan)}))
    assert (np.asarray(jax.device_get(bad.extra["sums"])) == sums).all()
    assert (np.asarray(jax.device_get(bad.extra["calls"])) == 1).all()
