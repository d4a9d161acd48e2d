"""Detectors that learn from synthetic defects find real ones, and more of them than before they learned."""

from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest
from scipy.stats import rankdata

from jaxqc.anomaly.collecting import load_batches
from jaxqc.anomaly.detectors import DETECTORS
from jaxqc.anomaly.features import apply_function, load_backbone
from jaxqc.anomaly.fit import divide
from jaxqc.anomaly.training import train_state
from jaxqc.data.readers import open_dataset


def auroc(maps: np.ndarray, masks: np.ndarray) -> float:
    ranks, defective = rankdata(maps), masks.ravel() > 0
    count = defective.sum()
    return (ranks[defective].sum() - count * (count + 1) / 2) / (count * (defective.size - count))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["supersimplenet", "rdpp", "destseg"])
def test_it_finds_more_than_before_it_learned(name, recipe, boards, teachers, tmp_path):
    """Pixels of holes that no training image has."""
    own = replace(recipe.backbone, layers=(1,))
    teacher, backbone, size = teachers.get(name) or (own, load_backbone(own), recipe.data.size)
    detector: Any = DETECTORS[name]()
    training = replace(detector.training, epochs=60.0, batch=8, evaluate_every_epochs=60.0)
    config = replace(recipe, detector=replace(detector, training=training), backbone=teacher,
                     data=replace(recipe.data, size=size))  # fmt: skip
    ready, (parts, _) = config.ready, divide(open_dataset(boards), config.data, config.seed)
    images, masks, _ = next(load_batches(parts.test.samples, size, len(parts.test), []))
    method = ready.method(backbone, size)
    start = {**jax.device_get(jax.jit(method.init)(jax.random.key(0))), **method.frozen()}
    see = apply_function(teacher, ready.embed)
    score = jax.jit(lambda state, x: ready.score(state, see(backbone.variables, x), size)[0])
    trained, _ = train_state(config, ready, backbone, parts, tmp_path / "run", [], False)
    before, after = (auroc(np.asarray(score(state, images)), masks) for state in (ready.trained(start), trained))
    assert after > max(0.7, before + 0.03), (before, after)
