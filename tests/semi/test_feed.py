"""Batches for the loop: by seed and step alone, labelled images as often one as the other, letterboxes."""

from pathlib import Path

import numpy as np
import pytest

from jaxqc.semi.data import Pair
from jaxqc.semi.feed import Reader, ViewSet, letterbox
from jaxqc.semi.manifest import Manifest
from tests.support.few_labels import CLASSES, SIDE, write_images


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("few"), {"labeled": 3, "unlabeled": 8, "select": 4, "val": 2})


def test_batches_are_a_function_of_seed_and_step_alone(data: Path) -> None:
    manifest = Manifest(CLASSES).check("here")
    pairs = {part: tuple(Pair(*line.split()) for line in (data / f"{part}.txt").read_text().splitlines())
             for part in ("labeled", "unlabeled")}  # fmt: skip
    views = ViewSet(*(Reader(data, manifest, pairs[part]) for part in ("labeled", "unlabeled")))
    take = lambda start, shard=(0, 1): views.loader(4, 7, start, SIDE, 0, shard)
    with take(0) as loader:
        first = [next(loader) for _ in range(6)]
    with take(3) as loader:
        again = next(loader)
    for key, value in first[3].items():
        np.testing.assert_array_equal(again[key], value)
    halves = []
    for index in range(2):
        with take(3, (index, 2)) as loader:
            halves.append(next(loader))
    for key, value in first[3].items():
        np.testing.assert_array_equal(np.concatenate([half[key] for half in halves]), value)
    kept = ViewSet(views.labeled.in_memory(), views.unlabeled.in_memory())
    with kept.loader(4, 7, 3, SIDE, 0, (0, 1)) as loader:
        np.testing.assert_array_equal(next(loader)["unlabeled"], first[3]["unlabeled"])
    assert (views.digest(), len(views)) == (kept.digest(), 8)


def test_labelled_images_are_seen_as_often_one_as_the_other(data: Path) -> None:
    manifest = Manifest(CLASSES).check("here")
    pairs = tuple(Pair(f"images/labeled{i}.png", f"masks/labeled{i}.png") for i in range(3))
    # Each image all of one shade, so that a view tells which it is.
    empty = np.zeros((SIDE, SIDE), np.uint8)
    kept = tuple((np.full((SIDE, SIDE, 1), shade, np.uint8), empty) for shade in (60, 120, 180))
    views = ViewSet(Reader(data, manifest, pairs, kept), Reader(data, manifest, pairs * 3, kept * 3), scale=(1.0, 1.0))
    seen = []
    with views.loader(3, 0, 0, SIDE, 0, (0, 1)) as loader:
        for _ in range(6):  # two epochs of nine unlabelled images
            seen += [int(view.max()) for view in next(loader)["image"]]
    assert sorted(seen) == sorted([60, 120, 180] * 6)


def test_letterbox_keeps_the_proportions() -> None:
    image, labels = np.full((10, 20, 3), 200, np.uint8), np.ones((10, 20), np.uint8)
    big, mask = letterbox(image, labels, 40)
    assert big.shape == (40, 40, 3)
    assert (big[:20] == 200).all()
    assert (big[20:] == 0).all()
    assert (mask[:20] == 1).all()
    assert (mask[20:] == 255).all()
