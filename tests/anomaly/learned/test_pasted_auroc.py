"""The AUROC of pasted defects: against scikit-learn's, of a score that knows nothing, and over parts of a batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxqc.anomaly.learned.pasted_auroc import DROPPED, auroc, counted, empty


def test_bins_give_the_auroc_of_the_scores(rng):
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is the oracle of ranking measures")
    scores = {"normal": rng.lognormal(0, 1, 80), "pasted": rng.lognormal(0.8, 1.5, 160)}
    sums = {name: np.zeros(len(x)) for name, x in empty().items()}
    for name, values in scores.items():
        np.add.at(sums[name], values.astype(np.float32).view(np.int32) >> DROPPED, 1)
    labels = np.repeat([0, 1], [80, 160])
    expected = metrics.roc_auc_score(labels, np.concatenate([scores["normal"], scores["pasted"]]))
    assert auroc(sums) == pytest.approx(expected, abs=0.005)


def test_a_network_that_copies_is_seen(rng):
    """Its difference is 0 everywhere, or the same for every image; a rough score tells pasted pieces from stripes."""
    stripes = np.broadcast_to((np.arange(64) * 8 % 64)[None, :, None, None], (6, 64, 64, 1))
    images = (100 + stripes + rng.integers(0, 3, stripes.shape)).astype(np.uint8)
    weight = np.array([1, 1, 1, 1, 1, 0], np.float32)
    ragged = lambda x: jnp.abs(jnp.float32(x) - jnp.roll(x, 8, 1)).mean((1, 2, 3))
    for score, least, most in ((lambda x: jnp.zeros(len(x)), 0.5, 0.5), (ragged, 0.9, 1.0)):
        sums = jax.jit(lambda x, w, score=score: counted(empty(), score, x, w))(images, weight)
        assert least <= auroc(sums) <= most
        assert (sums["normal"].sum(), sums["pasted"].sum()) == (5, 10), "padding does not count"
    whole = jax.jit(lambda x, w: counted(empty(), ragged, x, w))
    halves = [whole(images[part], weight[part]) for part in (slice(0, 3), slice(3, 6))]
    for name, value in sums.items():
        np.testing.assert_array_equal(value, halves[0][name] + halves[1][name])
    assert np.isnan(auroc(empty()))
    assert lax.bitcast_convert_type(jnp.float32(jnp.inf), jnp.int32) >> DROPPED < len(sums["normal"])
