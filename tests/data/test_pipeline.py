"""The input pipeline: order, resume, shards and padding, checked against plain enumeration of the samples."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from jaxqc.data.dataset import ArrayDataset, Dataset, Sample
from jaxqc.data.order import BatchOrder, epoch_order
from jaxqc.data.pipeline import eval_batches, make_loader, read_sample
from jaxqc.errors import UserError


def arrays(n: int, size: int = 6, channels: int = 1) -> ArrayDataset:
    """Sample i is recognisable: every pixel of its image is i, its label i % 3, its mask i's lowest bit."""
    number = np.arange(n, dtype=np.uint8)
    images = np.broadcast_to(number[:, None, None, None], (n, size, size, channels)).copy()
    masks = np.broadcast_to((number % 2)[:, None, None], (n, size, size)).copy()
    ids = tuple(f"s{i}" for i in range(n))
    return ArrayDataset("numbers", ("a", "b", "c"), ids, images, masks, (number % 3).astype(np.int32))


def files(folder: Path, data: ArrayDataset) -> Dataset:
    samples = []
    for i, name in enumerate(data.ids):
        image, mask = folder / f"{name}.png", folder / f"{name}_mask.png"
        Image.fromarray(data.images[i].squeeze()).save(image)
        Image.fromarray(data.masks[i] * np.uint8(255)).save(mask)
        samples.append(Sample(name, image, mask, int(data.labels[i])))
    return Dataset(data.name, data.classes, tuple(samples))


def numbers(batch: dict[str, np.ndarray]) -> list[int]:
    """Numbers of a batch's samples of `arrays`; every other key is checked against them."""
    found = batch["image"][:, 0, 0, 0].astype(int)
    np.testing.assert_array_equal(batch["image"], np.broadcast_to(found[:, None, None, None], batch["image"].shape))
    np.testing.assert_array_equal(batch["mask"], np.broadcast_to((found % 2)[:, None, None], batch["mask"].shape))
    np.testing.assert_array_equal(batch["label"], found % 3)
    kinds = {key: str(value.dtype) for key, value in batch.items()}
    assert kinds == {"image": "uint8", "mask": "uint8", "label": "int32", "weight": "float32"}
    return found.tolist()


def test_order_is_pinned() -> None:
    """The order is part of a checkpoint's meaning: it must never change."""
    words = np.random.Philox(np.random.SeedSequence((7, 2))).random_raw(6)
    assert epoch_order(6, 7, 2).tolist() == sorted(range(6), key=lambda i: words[i])
    assert epoch_order(10, 0, 0).tolist() == [0, 8, 9, 3, 7, 5, 1, 2, 6, 4]


def test_epochs_visit_every_sample_once_in_new_orders() -> None:
    with make_loader(arrays(12), 4, seed=3, epochs=3) as loader:
        assert len(loader) == 9
        batches = [numbers(b) for b in loader]
    epochs = [list(itertools.chain(*batches[i : i + 3])) for i in (0, 3, 6)]
    assert [sorted(e) for e in epochs] == [list(range(12))] * 3
    assert epochs[0] != epochs[1] != epochs[2]
    assert epochs[0] != list(range(12))


def test_last_partial_batch_is_dropped_and_order_depends_on_the_seed() -> None:
    with make_loader(arrays(11), 4, seed=0, epochs=2) as a, make_loader(arrays(11), 4, seed=1, epochs=2) as b:
        first, second = [numbers(x) for x in a], [numbers(x) for x in b]
    assert len(first) == 4 == 2 * a.steps_per_epoch
    assert first != second
    assert all(len(set(x + y)) == 8 for x, y in zip(first[::2], first[1::2], strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_resume_gives_the_same_batches(tmp_path: Path, workers: int) -> None:
    data = files(tmp_path, arrays(9))
    with make_loader(data, 2, seed=5, epochs=3) as loader:
        whole = [numbers(b) for b in loader]
    assert len(whole) == 12
    with make_loader(data, 2, seed=5, start_step=7, epochs=3, workers=workers) as resumed:
        assert [numbers(b) for b in resumed] == whole[7:]


def test_state_goes_back_and_forth(tmp_path: Path) -> None:
    data = files(tmp_path, arrays(9))
    with make_loader(data, 2, seed=5) as loader:
        before = [numbers(next(loader)) for _ in range(3)]
        state = loader.get_state()
        after = [numbers(next(loader)) for _ in range(4)]
        loader.set_state(state)
        assert [numbers(next(loader)) for _ in range(4)] == after
        loader.set_state({**state, "step": 0})
        assert [numbers(next(loader)) for _ in range(3)] == before
    with make_loader(data, 2, seed=6) as other, pytest.raises(UserError, match="seed 5, but this run has 6"):
        other.set_state(state)


def test_endless_loader_has_no_length_and_does_not_stop() -> None:
    with make_loader(arrays(4), 2, seed=0) as loader:
        assert len([numbers(b) for b in itertools.islice(loader, 50)]) == 50
        with pytest.raises(TypeError, match="never ends"):
            len(loader)


@pytest.mark.parametrize("count", [2, 4])
def test_processes_share_each_global_batch(count: int) -> None:
    with make_loader(arrays(13), 4, seed=1, epochs=2) as loader:
        whole = [numbers(b) for b in loader]
    parts = []
    for i in range(count):
        with make_loader(arrays(13), 4, seed=1, epochs=2, shard=(i, count)) as loader:
            parts.append([numbers(b) for b in loader])
    assert [list(itertools.chain(*p)) for p in zip(*parts, strict=True)] == whole


def test_evaluation_pads_with_weight_zero() -> None:
    with eval_batches(arrays(7), 3) as loader:
        batches = list(loader)
    assert [numbers(b) for b in batches] == [[0, 1, 2], [3, 4, 5], [6, 6, 6]]
    assert [b["weight"].tolist() for b in batches] == [[1, 1, 1], [1, 1, 1], [1, 0, 0]]


@given(samples=st.integers(1, 40), parts=st.integers(1, 4), count=st.integers(1, 4), data=st.data())
@settings(max_examples=60, deadline=None)
def test_plan_properties(samples: int, parts: int, count: int, data: st.DataObject) -> None:
    batch = parts * count
    plans = [BatchOrder(samples, batch, shuffle=False, pad=True, shard=(i, count)) for i in range(count)]
    seen = []
    for step in range(plans[0].steps_per_epoch):
        pieces = [plan.rows(step) for plan in plans]
        assert {len(rows) for rows, _ in pieces} == {parts}
        seen += [r for rows, weight in pieces for r, w in zip(rows.tolist(), weight.tolist(), strict=True) if w]
    assert seen == list(range(samples))
    if samples >= batch:
        seed, step = data.draw(st.integers(0, 2**40)), data.draw(st.integers(0, 100))
        whole = BatchOrder(samples, batch, seed).rows(step)[0].tolist()
        split = [BatchOrder(samples, batch, seed, shard=(i, count)).rows(step)[0].tolist() for i in range(count)]
        assert list(itertools.chain(*split)) == whole
        assert len(set(whole)) == batch
        assert set(whole) <= set(range(samples))


def test_files_and_arrays_give_equal_batches(tmp_path: Path, rng: np.random.Generator) -> None:
    data = dataclasses.replace(arrays(5, 16, 3), images=rng.integers(0, 256, (5, 16, 16, 3), np.uint8))
    index = files(tmp_path, data)
    for size in (0, 8):
        with make_loader(data, 2, 0, epochs=2, size=size) as a, make_loader(index, 2, 0, epochs=2, size=size) as b:
            for left, right in zip(a, b, strict=True):
                for key in left:
                    np.testing.assert_array_equal(left[key], right[key])
                assert left["image"].shape == (2, size or 16, size or 16, 3)


def test_samples_without_a_mask_are_refused(tmp_path: Path) -> None:
    data = files(tmp_path, arrays(3))
    bare = dataclasses.replace(data, samples=tuple(dataclasses.replace(s, mask=None) for s in data.samples))
    with pytest.raises(UserError, match=r"s0\.png: no mask"):
        eval_batches(bare, 3)


def test_grey_images_stored_as_rgb_keep_one_channel(tmp_path: Path) -> None:
    data = files(tmp_path, arrays(40, channels=3))
    with eval_batches(data, 40) as loader:
        assert next(loader)["image"].shape == (40, 6, 6, 1)
    Image.fromarray(np.dstack([np.zeros((6, 6), np.uint8)] * 2 + [np.ones((6, 6), np.uint8)])).save(
        data.samples[1].image
    )
    with eval_batches(data, 40) as loader, pytest.raises(UserError, match=r"s1\.png: a colour image"):
        next(loader)


def test_grey_and_colour_images_mix(tmp_path: Path, rng: np.random.Generator) -> None:
    data = files(tmp_path, arrays(4))
    colour = rng.integers(0, 256, (6, 6, 3), np.uint8)
    Image.fromarray(colour).save(data.samples[2].image)
    with eval_batches(data, 4) as loader:
        images = next(loader)["image"]
    assert images.shape == (4, 6, 6, 3)
    np.testing.assert_array_equal(images[2], colour)
    assert (images[1] == 1).all()


@pytest.mark.parametrize("workers", [0, 1])
def test_bad_files_name_themselves(tmp_path: Path, workers: int) -> None:
    data = files(tmp_path, arrays(40))
    data.samples[1].image.write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    with make_loader(data, 8, 0, epochs=1, workers=workers) as loader, pytest.raises(UserError, match=r"s1\.png"):
        list(loader)


def test_sizes_that_differ_need_a_size(tmp_path: Path) -> None:
    data = files(tmp_path, arrays(3))
    for path in (data.samples[1].image, data.samples[1].mask):
        assert path is not None
        Image.fromarray(np.zeros((4, 5), np.uint8)).save(path)
    with eval_batches(data, 3) as loader, pytest.raises(UserError, match=r"s1\.png: 4x5 pixels.*6x6.*size"):
        next(loader)
    with eval_batches(data, 3, size=8) as loader:
        assert next(loader)["image"].shape == (3, 8, 8, 1)
    Image.fromarray(np.zeros((6, 5), np.uint8)).save(data.samples[0].mask or "")
    with pytest.raises(UserError, match=r"s0_mask\.png: the mask is 5 x 6"):
        read_sample(data, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch": 0}, "batch: 0"),
        ({"batch": 8}, "batch: 8 is more than the 7 samples"),
        ({"batch": 3, "shard": (0, 2)}, "2 equal parts"),
        ({"batch": 2, "shard": (2, 2)}, "process 2 of 2"),
        ({"batch": 2, "seed": -1}, "seed: -1"),
    ],
)
def test_arguments_that_cannot_be(arguments: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_loader(arrays(7), **{"seed": 0, **arguments})
    with pytest.raises(UserError, match="no samples"):
        eval_batches(arrays(0), 2)
