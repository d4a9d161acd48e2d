"""The gate: precision by confidence as counted by hand, a threshold that sinks only while all above it holds."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.config import Phase
from jaxqc.errors import UserError
from jaxqc.semi import gate, objective
from jaxqc.semi.frozen import Frozen
from jaxqc.semi.method import SemiMethod
from jaxqc.semi.network import EncoderDecoder
from jaxqc.semi.recipe import GateConfig, TiersConfig, preset
from jaxqc.semi.setting import Setting
from jaxqc.semi.train import train_semi
from tests.semi.test_objective import NETWORK, QUICK, S, batch_of, decode, encode, entropy, network_params, softmax
from tests.semi.test_semi_training import last, rows
from tests.support.few_labels import SIDE, recipe, use_tiny, write_images

TIERS, GATE = TiersConfig((0.85, 0.95), (0.3, 0.7)), GateConfig(precision=0.9, bounds=(0.4, 0.6, 0.9))


def test_precision_is_counted_on_images(rng: np.random.Generator) -> None:
    """Two batches, an image of weight 0, pixels without a class; one device's counts are all devices'."""
    config = preset("fixmatch", tiers=TIERS, gate=GATE)
    pointwise = EncoderDecoder(lambda p, image: image, lambda p, features, size: features @ p)
    method = SemiMethod(config, ("a", "b", "c"), pointwise, lambda key: jnp.eye(3), (0.0,) * 3, (1 / 8,) * 3, 1)
    image = rng.integers(0, 256, (4, 9, 9, 3)).astype(np.uint8)
    truth = np.where(rng.random((4, 9, 9)) < 0.8, image.argmax(-1), rng.choice([0, 1, 2, 255], (4, 9, 9)))
    weight = np.array([1, 1, 0, 1], np.float32)
    sums = method.init_metrics()
    for part in (slice(2), slice(2, None)):
        batch: Any = {"image": image[part], "mask": truth[part].astype(np.uint8), "weight": weight[part]}
        sums = jax.jit(method.update_metrics)(sums, {"params": jnp.eye(3)}, batch)
    found = method.summarize(sums)
    p = softmax(image / 255 * 8)
    confidence, label = p.max(-1), p.argmax(-1)
    counted = (truth != 255) & (weight[:, None, None] > 0)
    for name, low, high in (("gate1", 0.4, 0.6), ("gate2", 0.6, 0.85), ("tier1", 0.85, 0.95), ("tier2", 0.95, 2)):
        band = counted & (confidence > low) & (confidence <= high)
        assert band.sum() > 20
        assert found[f"{name}_precision"] == pytest.approx((label == truth)[band].mean())


@pytest.mark.parametrize(
    ("precision", "threshold"),
    [((0.95, 0.95, 0.95, 0.95), 0.4), ((0.8, 0.95, 0.95, 0.95), 0.6), ((0.99, 0.8, 0.95, 0.95), 0.85),
     ((0.99, 0.99, 0.8, 0.95), 0.85), ((0.99, 0.99, 0.99, np.nan), 0.85)],
)  # fmt: skip
def test_the_threshold_sinks_while_all_above_it_holds(precision: Any, threshold: float) -> None:
    names = ("gate1", "gate2", "tier1", "tier2")
    metrics = {f"{name}_precision": np.float32(x) for name, x in zip(names, precision, strict=True)}
    assert float(gate.lowered(metrics, TIERS, GATE)) == np.float32(threshold)


def test_labels_above_the_gate_weigh_as_the_lowest_tier(rng: np.random.Generator) -> None:
    config = preset("fixmatch", tiers=TIERS, gate=GATE)
    batch, student, teacher = batch_of(config, rng), network_params(rng), network_params(rng)
    teacher = jax.tree.map(lambda x: x / 2, teacher)
    setting = Setting(config, NETWORK)
    run = jax.jit(
        lambda s, t, b, g: objective.semi_loss(setting, s, Frozen(t, gate=g), b, jax.random.key(0)),
        compiler_options=QUICK,
    )
    for threshold in (0.85, 0.6):
        p = softmax(decode(teacher, encode(teacher, batch["weak"]), (S, S)))
        confidence, label = p.max(-1), p.argmax(-1)
        weight = np.where(confidence > 0.95, 0.7, np.where(confidence > threshold, 0.3, 0))
        inside = batch["inside"][0]
        label, weight, valid = (np.where(inside, x[::-1], x) for x in (label, weight, batch["valid"]))
        ce = entropy(decode(student, encode(student, batch["strong"][0]), (S, S)), label)
        _, (logs, _) = run(student, teacher, batch, jnp.float32(threshold))
        assert float(logs["loss_u"]) == pytest.approx((ce * weight)[valid].sum() / valid.sum(), rel=1e-4)
        assert float(logs["gate"]) == np.float32(threshold)


def test_a_run_logs_precision_and_keeps_its_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_tiny(monkeypatch)
    data = write_images(tmp_path / "few", {"labeled": 3, "unlabeled": 4, "select": 3, "val": 1})
    config = recipe("fixmatch", phases=(Phase(1, SIDE, 4),))
    easy = GateConfig(precision=1e-6, bounds=(0.1, 0.2))
    semi = dataclasses.replace(config.semi, tiers=TiersConfig((0.35,), (1.0,)), gate=easy)
    train_semi(dataclasses.replace(config, semi=semi), data, tmp_path / "run", progress=False)
    told = [row for row in rows(tmp_path / "run") if row["kind"] == "eval"][-1]
    assert {"gate1_precision", "gate2_precision", "tier1_precision"} <= told.keys()
    expected = gate.lowered({k: np.float32(np.nan if v is None else v) for k, v in told.items() if "precision" in k},
                            semi.tiers, easy)  # fmt: skip
    assert last(tmp_path / "run")["extra", "gate"] == float(expected)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("supervised", {"gate": GATE}, "needs labels by confidence"),
        ("cps", {"gate": GATE}, "needs labels by confidence of one student"),
        ("fixmatch", {"gate": GATE, "tiers": TiersConfig((0.3,), (1.0,))}, "none is below the tiers' 0.3"),
        ("fixmatch", {"gate": GateConfig(bounds=(0.5, 0.4))}, "must rise"),
        ("fixmatch", {"gate": GateConfig(precision=1.0)}, "is a share"),
    ],
)
def test_what_does_not_go_together_is_refused(name: str, changes: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        preset(name, **changes)
