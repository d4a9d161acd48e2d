"""Bounds on memory in flight: by pixels and bytes, not by files."""

import threading
import time
from pathlib import Path

import numpy as np
from PIL import Image

from jaxqc.data.batches import HEAVIEST, decoded, decoded_by_pixels, grouped, in_flight
from jaxqc.data.batching import MAX_PIXELS
from jaxqc.data.budget import Budget
from jaxqc.data.decode import pixel_count
from jaxqc.errors import UserError


def test_a_budget_is_never_exceeded() -> None:
    budget, lock = Budget(10), threading.Lock()
    held: list[int] = []
    most: list[int] = []

    def work(amount: int) -> None:
        with budget.share(amount):
            with lock:
                held.append(min(amount, 10))
                most.append(sum(held))
            time.sleep(0.002)
            with lock:
                held.remove(min(amount, 10))

    threads = [threading.Thread(target=work, args=(amount,)) for amount in (1, 4, 7, 30, 2, 9, 5, 10, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 9
    assert max(most) <= 10


def test_heavy_items_are_decoded_alone() -> None:
    lock, second = threading.Lock(), threading.Event()
    underway: set[int] = set()
    seen: list[list[int]] = []

    def decode(item: int) -> int:
        with lock:
            underway.add(item)
            seen.append(sorted(underway))
        if item == 2:
            second.set()
        if item == 1:
            second.wait(30)  # light items go together, however busy the machine is
        time.sleep(0.002)
        if item == 8:
            raise UserError("eight")
        return item

    found = []
    for item, result in decoded([1, 2, 8, 3, 9, 9, 4], decode, ahead=5, weigh=lambda item: item, heaviest=8):
        found.append((item, str(result)))
        with lock:
            underway.discard(item)
    assert found == [(i, "eight" if i == 8 else str(i)) for i in (1, 2, 8, 3, 9, 9, 4)]
    assert all(sum(together) < 8 or len(together) == 1 for together in seen)
    assert max(map(len, seen)) > 1


def test_images_wait_by_their_headers_pixels() -> None:
    quarter, most = MAX_PIXELS // 2, list[int]()
    waiting: set[str] = set()
    sizes = dict(zip("abcdefg", (quarter, 0, quarter, quarter, 9 * HEAVIEST, quarter, quarter), strict=True))
    pixels = {**sizes, "b": None}

    def size_of(name: str) -> int:
        if pixels[name] is None:
            raise UserError("decoding names the reason")
        return sizes[name]

    def decode(name: str) -> str:
        waiting.add(name)
        most.append(sum(in_flight(sizes[one]) for one in waiting))
        if name == "b":
            raise UserError("b")
        return name

    found = []
    for name, result in decoded_by_pixels(sizes, size_of, decode, ahead=7):
        found.append((name, str(result)))
        waiting.discard(name)
    assert found == [(name, name) for name in "abcdefg"]
    assert max(most) <= HEAVIEST


def test_groups_end_by_weight_too() -> None:
    assert [len(some) for some in grouped(range(10), 4, lambda item: 0, 1)] == [4, 4, 2]
    assert [len(some) for some in grouped([5, 1, 1, 1, 7, 7], 3, lambda item: item, 7)] == [3, 2, 1]


def test_pixels_are_counted_by_the_header(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    Image.fromarray(np.zeros((30, 40), np.uint8)).save(file)
    assert pixel_count(file) == 1200
    file.write_bytes(file.read_bytes()[:50])  # no pixel of it could be decoded
    assert pixel_count(file) == 1200
    assert pixel_count(file, b"no image") == 0
    assert pixel_count(tmp_path / "absent.png") == 0
