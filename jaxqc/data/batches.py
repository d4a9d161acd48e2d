"""Files → decoded items → batches of one image size, a bounded number ahead."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from jaxqc.data.batching import MAX_PIXELS
from jaxqc.errors import UserError

HEAVIEST = 2 * MAX_PIXELS
"""Most pixels of images that are decoded and wait."""

S = TypeVar("S")
T = TypeVar("T")


def decoded(
    samples: Iterable[S],
    decode: Callable[[S], T],
    ahead: int = 64,
    weigh: Callable[[S], int] = lambda sample: 0,
    heaviest: int = 1,
) -> Iterator[tuple[S, T | UserError]]:
    """`decode` over threads, in order; at most `ahead` results wait, so memory stays flat over any number of files.

    A `UserError` is handed out in the item's place: one bad file never ends the run.

    Args:
      weigh: of an item before it is decoded. heaviest: what may be decoded and wait at once weighs less together; an
        item that weighs as much alone is decoded alone.
    """

    def attempt(sample: S) -> T | UserError:
        try:
            return decode(sample)
        except UserError as e:
            return e

    waiting: deque[tuple[S, int, Future[T | UserError]]] = deque()
    with ThreadPoolExecutor(min(16, (os.cpu_count() or 1) + 2), "decode") as pool:
        try:
            for sample in samples:
                weight = weigh(sample)
                while waiting and weight + sum(w for _, w, _ in waiting) >= heaviest and weight:
                    first, _, result = waiting.popleft()
                    yield first, result.result()
                waiting.append((sample, weight, pool.submit(attempt, sample)))
                while len(waiting) >= max(1, ahead) or (waiting and waiting[0][1] >= heaviest):
                    first, _, result = waiting.popleft()
                    yield first, result.result()
            while waiting:
                first, _, result = waiting.popleft()
                yield first, result.result()
        finally:
            pool.shutdown(cancel_futures=True)


def decoded_by_pixels(
    samples: Iterable[S], pixels: Callable[[S], int], decode: Callable[[S], T], ahead: int = 64
) -> Iterator[tuple[S, T | UserError]]:
    """As `decoded`, where what is decoded and waits has `2 * MAX_PIXELS` pixels at most; a larger image goes alone.

    pixels: of an item before it is decoded, by its file's header.

    Examples:
      >>> list(decoded_by_pixels([3, 5], lambda side: side * side, lambda side: [side] * side))
      [(3, [3, 3, 3]), (5, [5, 5, 5, 5, 5])]
    """
    sized = decoded(samples, lambda sample: (sample, pixels(sample)), ahead)
    weighed = ((sample, 0 if isinstance(found, UserError) else in_flight(found[1])) for sample, found in sized)
    for (sample, _), result in decoded(weighed, lambda pair: decode(pair[0]), ahead, lambda pair: pair[1], HEAVIEST):
        yield sample, result


def in_flight(pixels: int) -> int:
    """The weight of an image that waits for company: of one with more than a batch's pixels, all there is.

    Examples:
      >>> in_flight(100), in_flight(MAX_PIXELS) == HEAVIEST
      (100, True)
    """
    return pixels if pixels < MAX_PIXELS else HEAVIEST


def grouped(items: Iterable[T], most: int, weigh: Callable[[T], int], heaviest: int) -> Iterator[list[T]]:
    """The items in lists of `most`, or of fewer as soon as they weigh `heaviest` together.

    Examples:
      >>> list(grouped([1, 1, 9, 1], 3, lambda item: item, 5))
      [[1, 1, 9], [1]]
    """
    some: list[T] = []
    weight = 0
    for item in items:
        some.append(item)
        weight += weigh(item)
        if len(some) == most or weight >= heaviest:
            yield some
            some, weight = [], 0
    if some:
        yield some


def by_size(
    items: Iterable[tuple[tuple[int, ...], T]],
    batch: int,
    most: int = 64,
    weigh: Callable[[T], int] = lambda item: 0,
    heaviest: int = 1,
) -> Iterator[list[T]]:
    """Groups (shape, item) pairs into batches of one shape. Never more than `most` items wait for company.

    weigh, heaviest: a batch is ready too as soon as its items weigh `heaviest` together; twice that may wait.
    """
    open_batches: dict[tuple[int, ...], list[T]] = {}
    weights: dict[tuple[int, ...], int] = {}
    for shape, item in items:
        group = open_batches.setdefault(shape, [])
        group.append(item)
        weights[shape] = weights.get(shape, 0) + weigh(item)
        ready = len(group) == batch or weights[shape] >= heaviest
        waiting = sum(map(len, open_batches.values()))
        if ready or waiting >= most or sum(weights.values()) >= 2 * heaviest:
            key = lambda s: (weights[s], len(open_batches[s]))
            full = shape if ready else max(open_batches, key=key)
            weights.pop(full)
            yield open_batches.pop(full)
    yield from open_batches.values()
