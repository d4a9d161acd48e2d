"""Files → decoded items → batches of one image size, a bounded number ahead, and a progress bar with images/s."""

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from jaxqc.errors import UserError

S = TypeVar("S")
T = TypeVar("T")


def decoded(
    samples: Iterable[S], decode: Callable[[S], T], ahead: int | Callable[[], int] = 64
) -> Iterator[tuple[S, T | UserError]]:
    """`decode` over threads, in order; at most `ahead` results wait, so memory stays flat over any number of files.

    A `UserError` is handed out in the item's place: one bad file never ends the run. `ahead` may be asked anew for
    each item, where it depends on how large the items turn out to be.
    """
    most = ahead if callable(ahead) else lambda: ahead

    def attempt(sample: S) -> T | UserError:
        try:
            return decode(sample)
        except UserError as e:
            return e

    waiting: deque[tuple[S, Future[T | UserError]]] = deque()
    with ThreadPoolExecutor(min(16, (os.cpu_count() or 1) + 2), "decode") as pool:
        try:
            for sample in samples:
                waiting.append((sample, pool.submit(attempt, sample)))
                while len(waiting) >= max(1, most()):
                    first, result = waiting.popleft()
                    yield first, result.result()
            while waiting:
                first, result = waiting.popleft()
                yield first, result.result()
        finally:
            pool.shutdown(cancel_futures=True)


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


class Counter:
    """Counts images on stderr: a live bar on a terminal, else a line every few seconds. `rate` is images/s so far."""

    def __init__(self, what: str, total: int, enabled: bool = True, every: float = 5.0) -> None:
        self.what, self.total, self.done, self.every = what, total, 0, every
        self._began = self._spoke = time.monotonic()
        self._passed = 0
        self._enabled = enabled
        self._bar = None
        if enabled and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=Console(file=sys.stderr),
            )
            self._task = self._bar.add_task(what, total=total)

    def __enter__(self) -> "Counter":
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar:
            self._bar.stop()

    @property
    def rate(self) -> float:
        """Images a second since the start, without those that were passed over."""
        return (self.done - self._passed) / max(time.monotonic() - self._began, 1e-9)

    def add(self, n: int, passed: bool = False) -> None:
        """`n` more images are done; `passed`: at once, for they were done before, so they say nothing of the rate."""
        self.done += n
        self._passed += n if passed else 0
        text = f"{self.what}  {self.rate:.1f} images/s"
        if self._bar:
            self._bar.update(self._task, completed=self.done, description=text)
        elif self._enabled and (time.monotonic() - self._spoke > self.every or self.done == self.total):
            self._spoke = time.monotonic()
            left = (self.total - self.done) / self.rate if self.rate else 0
            left = f"  left {int(left) // 60}:{int(left) % 60:02d}" if left > 0 else ""
            print(f"{text}  {self.done}/{self.total}{left}", file=sys.stderr, flush=True)

    def reach(self, done: int, total: int) -> None:
        """`done` of `total` images are done: the callback of loaders, which learn the total late."""
        self.total = total
        if self._bar:
            self._bar.update(self._task, total=total)
        self.add(done - self.done)
