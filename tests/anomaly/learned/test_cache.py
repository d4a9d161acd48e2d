"""Cached features: the same as computed ones, in batches of any size, through the feed and the evaluation."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.anomaly.learned import cache
from jaxqc.data.dataset import ArrayDataset
from jaxqc.data.pipeline import eval_batches
from jaxqc.errors import UserError


@pytest.fixture
def data(rng):
    images = rng.integers(0, 256, (7, 4, 4, 3), np.uint8)
    ids = tuple(map(str, range(7)))
    return ArrayDataset("tiny", (), ids, images, images[..., 0] // 255, np.arange(7, dtype=np.int32))


def features(frozen, images):
    x = jnp.asarray(images, jnp.float32)
    return {"sum": x.sum((1, 2)) * frozen["factor"], "whole": x}


@pytest.mark.parametrize("batch", [1, 3, 7, 16])
def test_each_image_has_its_own_features(data, batch):
    found = cache.with_features(data, features, {"factor": np.float32(2)}, batch)
    np.testing.assert_allclose(found.more["features/sum"], 2.0 * data.images.sum((1, 2), dtype=np.float64))
    np.testing.assert_array_equal(found.more["features/whole"], data.images)
    assert found.digest() == data.digest()
    np.testing.assert_array_equal(found.take([3, 1]).more["features/sum"], found.more["features/sum"][[3, 1]])


def test_batches_bring_them_with_the_image(data):
    found = cache.with_features(data, features, {"factor": np.float32(2)}, 4, "bfloat16")
    with eval_batches(found, 3) as batches:
        for batch in batches:
            for name in ("sum", "whole"):
                once = cache.at_hand({"image": batch["image"]}, features, {"factor": np.float32(2)})[name]
                kept = cache.at_hand(batch, features, None)[name]
                assert kept.dtype == jnp.float32
                np.testing.assert_allclose(kept, once, rtol=2**-8)


def test_files_hold_the_same_and_are_read_row_by_row(data, tmp_path):
    frozen = {"factor": np.float32(2)}
    held = cache.with_features(data, features, frozen, 3, "bfloat16")
    found = cache.with_features(data, features, frozen, 3, "bfloat16", tmp_path / "new" / "place")
    for name, x in held.more.items():
        assert isinstance(found.more[name], np.memmap)
        np.testing.assert_array_equal(found.more[name], x)
    with eval_batches(found, 3) as batches:
        np.testing.assert_array_equal(next(batches)["features/whole"], held.more["features/whole"][:3])
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file.*: no room for cached features \(.+\); set training\.cache to none"):
        cache.with_features(data, features, frozen, 3, "float32", tmp_path / "file")


def test_auto_caches_what_is_small_enough(data, monkeypatch):
    frozen = {"factor": np.float32(1)}
    assert cache.bytes_of(features, frozen, data, "bfloat16") == 7 * 2 * (3 + 48)
    assert set(cache.with_features(data, features, frozen, 4, "auto").more) == {"features/sum", "features/whole"}
    monkeypatch.setattr(cache, "LIMIT", 1000)
    assert cache.with_features(data, features, frozen, 4, "auto") is data
    assert cache.with_features(data, features, frozen, 4, "none") is data
