"""The promised rate on real pictures: magnetic tiles, divided by tiles twenty times, one half fitted and calibrated."""

from collections import defaultdict
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

from jaxqc.anomaly.calibration import Measured, settle
from jaxqc.anomaly.calling import call_level
from jaxqc.anomaly.collecting import embed_all, state_of
from jaxqc.anomaly.detectors import Gaussian
from jaxqc.anomaly.features import load_backbone
from jaxqc.anomaly.recipe import BackboneConfig, DecisionConfig, FitConfig, FitDataConfig
from jaxqc.data.dataset import Dataset
from jaxqc.data.decode import read_size
from jaxqc.data.grouped import choose_groups, folds_of, group_of
from jaxqc.data.normals import is_defective
from jaxqc.data.open import open_data
from tests.conftest import SHARED, real_data

SPLITS, SIDE, CHANNELS = 20, 64, 64


@pytest.fixture(scope="module")
def tiles():
    """Embeddings of all tiles at a modest size, and functions to fit to some of them and to measure others."""
    folder, weights = real_data("magnetic-tile"), next((SHARED / "weights" / "resnet18").glob("*.npz"), None)
    if weights is None:
        pytest.skip(f"real weights absent: {SHARED / 'weights' / 'resnet18'}")
    data = open_data(folder)
    config = FitConfig(
        detector=Gaussian(channels=CHANNELS, eps=0.01, top=SIDE * SIDE // 20),
        backbone=BackboneConfig("resnet18", str(weights), (1, 2, 3)),
        data=FitDataConfig(size=SIDE),
        decision=DecisionConfig(),
    )
    detector, backbone, bad = config.detector, load_backbone(config.backbone), list[str]()
    embedded, used = embed_all(detector, backbone, data.samples, SIDE, 32, bad)
    assert (len(used), bad) == (len(data), [])
    number, sizes = {s.id: i for i, s in enumerate(data.samples)}, [read_size(s.image) for s in data.samples]
    collect, call = (
        jax.jit(detector.collect, donate_argnums=0),
        jax.jit(lambda state, x: detector.score(state, x, SIDE)),
    )
    shapes = backbone.shapes(SIDE)

    def fitted(part: Dataset):
        return state_of(detector, shapes, embedded, np.array([number[s.id] for s in part.samples]), 32, collect)

    def measured(state, part: Dataset) -> Measured:
        rows = []
        for start in range(0, len(part), 32):
            samples = part.samples[start : start + 32]
            at = np.resize([number[s.id] for s in samples], 32)
            maps, scores = (np.asarray(x) for x in call(state, jax.tree.map(lambda x, a=at: x[a], embedded)))
            for sample, values, score in zip(samples, maps, scores, strict=False):
                size = sizes[number[sample.id]]
                level = call_level(values, *size, config.decision)
                rows.append((float(score), level, min(size), group_of(sample), str(sample.image)))
        return Measured(*zip(*rows, strict=True))

    return SimpleNamespace(config=config, data=data, fitted=fitted, measured=measured)


def without(part: Dataset, other: Dataset) -> Dataset:
    return replace(part, samples=tuple(s for s in part.samples if s not in set(other.samples)))


def called(calibration, measured: Measured) -> float:
    """The share that is called by either threshold."""
    scores, levels = np.array(measured.scores, np.float32), np.array(measured.levels, np.float32)
    limits = calibration.thresholds
    return float(((scores >= np.float32(limits.image)) | (levels >= np.float32(limits.pixel))).mean())


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.02])
def test_the_other_half_is_called_at_the_asked_rate_within_a_point(tiles, rate, capsys):
    config = replace(tiles.config, decision=replace(tiles.config.decision, false_alarm=rate))
    good = replace(tiles.data, samples=tuple(s for s in tiles.data.samples if not is_defective(s, tiles.data)))
    defective = without(tiles.data, good)
    names, rows = {group_of(s) for s in good.samples}, defaultdict[str, list[list[float]]](list)
    for seed in range(SPLITS):
        first = choose_groups(names, 0.5, 100 + seed)
        half = replace(good, samples=tuple(s for s in good.samples if group_of(s) in first))
        other, folds = without(good, half), folds_of(half, config.folds, seed)
        turned = Measured()
        for fold in folds:
            turned = turned.plus(tiles.measured(tiles.fitted(without(half, fold)), fold))
        fifth = folds_of(half, 5, seed)[0]
        once = tiles.fitted(without(half, fifth))
        former = replace(config, decision=replace(config.decision, unit="group"))
        for name, settings, state, held in (
            ("held out in turn", config, tiles.fitted(half), turned),
            ("a fifth of the tiles held out once", former, once, tiles.measured(once, fifth)),
        ):
            model: Any = SimpleNamespace(config=settings)
            calibration = settle(model, held, None, [], len(folds))
            rows[name].append([called(calibration, tiles.measured(state, part)) for part in (other, defective)])
    with capsys.disabled():
        for name, values in rows.items():
            mean, spread = np.mean(values, 0), np.std(values, 0)
            print(f"\n{name}: good {100 * mean[0]:.2f} % (deviation {100 * spread[0]:.2f}),"
                  f" defective {100 * mean[1]:.1f} % ({100 * spread[1]:.1f})")  # fmt: skip
    assert abs(np.mean(rows["held out in turn"], 0)[0] - rate) < 0.01
    # What is found hangs less on the luck of a division.
    spreads = [np.std(values, 0)[1] for values in rows.values()]
    assert spreads[0] < spreads[1]
