"""Decoded images that are kept: within their bytes, each made once however many threads ask, a failure for none."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxqc.data import channels, load
from jaxqc.data.dataset import Sample
from jaxqc.data.load import load_sample
from jaxqc.data.recent import Recent


def test_the_oldest_go_first_and_the_last_one_stays_at_any_size() -> None:
    recent, made = Recent(100), []

    def get(key: str, count: int) -> np.ndarray:
        return recent.get(key, lambda: made.append(key) or np.zeros(count, np.uint8))

    for key, count, held in (
        ("a", 40, 40),
        ("b", 40, 80),
        ("a", 40, 80),
        ("c", 40, 80),
        ("d", 500, 500),
        ("c", 40, 40),
    ):
        assert len(get(key, count)) == count
        assert recent.bytes == held
    assert made == ["a", "b", "c", "d", "c"]  # "b" went before "a", which was asked for again
    with pytest.raises(ValueError, match="read-only"):
        get("c", 40)[0] = 1


def test_threads_wait_for_the_one_that_decodes() -> None:
    recent, count, lock = Recent(10**6), [0], threading.Lock()

    def make() -> np.ndarray:
        with lock:
            count[0] += 1
        time.sleep(0.05)
        return np.arange(5)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: recent.get("one", make), range(8)))
    assert count == [1]
    assert all(array is found[0] for array in found)


def test_a_failure_is_everybodys_and_is_tried_again() -> None:
    recent = Recent(10)
    with pytest.raises(OSError, match="no"):
        recent.get("a", lambda: (_ for _ in ()).throw(OSError("no")))
    assert recent.get("a", lambda: np.ones(2)).sum() == 2


def test_crops_of_large_images_hold_bytes_and_not_sixteen_images(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(load, "_RECENT", Recent(3 * 64 * 64 * 3))
    pixels = np.random.default_rng(0).integers(0, 256, (10, 64, 64, 3), dtype=np.uint8)
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
        for top in (0, 32):
            crop = Sample(f"{i}", tmp_path / f"{i}.png", normal=True, crop=(top, 8, 32, 32))
            assert (load_sample(crop)[0] == image[top : top + 32, 8:40]).all()
    assert load._RECENT.bytes == 3 * 64 * 64 * 3


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_strips_are_the_whole(mode: str, monkeypatch) -> None:
    colours = np.random.default_rng(1).integers(0, 256, (23, 17, 4), dtype=np.uint8)
    image = Image.fromarray(colours).convert("RGB" if mode in ("P", "CMYK") else "RGBA").convert(mode)
    whole = channels.seen(image)
    monkeypatch.setattr(channels, "STRIP", 5 * 17)  # 23 rows in strips of 5
    assert (channels.seen(image) == whole).all()
