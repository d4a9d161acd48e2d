"""Micro-batches on an event loop: jobs of many clients through one compiled batch at a time on each device.

Only threads touch a device; the loop hands batches over and takes results back, and never waits itself.
"""

import asyncio
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from jaxqc.serve.faults import Closing, Late
from jaxqc.serve.line import Job, Line
from jaxqc.serve.pace import Pace

T = TypeVar("T")
R = TypeVar("R")


class Batcher(Generic[T, R]):
    """Collects items into batches for `score`, and gives each caller its own result.

    score: (items of one kind, at most `most`; the number of a device) → a result for each; called in a thread of that
      device. wait: seconds that an item waits for others. observe: takes the size of each batch and its seconds.
      sizes: to one of which `score` fills a batch up; () = it takes any number as it is.

    Use within a running loop as `async with`; at its end what is in the line is still scored.
    """

    def __init__(
        self,
        score: Callable[[Sequence[T], int], Sequence[R]],
        *,
        most: int,
        wait: float,
        devices: int = 1,
        observe: Callable[[int, float], None] = lambda size, seconds: None,
        sizes: Sequence[int] = (),
    ) -> None:
        self._score, self._observe, self._devices = score, observe, devices
        self._pace = Pace(sizes or range(1, most + 1))
        self._line: Line[tuple[T, asyncio.Future[R]]] = Line(most, wait, share=self._pace.share)
        self._changed = asyncio.Event()
        self._closing = False
        self._tasks: list[asyncio.Task[None]] = []
        self.rate = 0.0
        """Images a second of the last batches, smoothed; 0 = none yet."""

    async def __aenter__(self) -> "Batcher[T, R]":
        self._pools = [ThreadPoolExecutor(1, f"device{i}") for i in range(self._devices)]
        self._tasks = [asyncio.create_task(self._work(device)) for device in range(self._devices)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing = True
        self._changed.set()
        await asyncio.gather(*self._tasks)
        for pool in self._pools:
            pool.shutdown()

    @property
    def waiting(self) -> int:
        """Items in the line."""
        return len(self._line)

    async def submit(self, item: T, kind: Hashable = (), deadline: float = float("inf")) -> R:
        """The item's result. deadline: of the loop's clock. A caller that is cancelled takes its item out of the line.

        Raises:
          Late: the deadline passed before its batch began. Closing: nothing more is taken. What `score` raises.
        """
        if self._closing or not self._tasks:
            raise Closing
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[R] = loop.create_future()
        job: Job[tuple[T, asyncio.Future[R]]] = Job((item, answer), kind, loop.time(), deadline)
        self._line.put(job)
        self._changed.set()
        try:
            return await answer
        finally:
            job.gone = True

    async def _work(self, device: int) -> None:
        """Batch after batch on one device, until the line is closed and empty."""
        loop = asyncio.get_running_loop()
        while (group := await self._next()) is not None:
            items = [job.item[0] for job in group]
            start = time.perf_counter()
            try:
                results: Sequence[R] = await loop.run_in_executor(self._pools[device], self._score, items, device)
                pairs = list(zip(group, results, strict=True))
            except Exception as e:
                for job in group:
                    if not job.item[1].done():
                        job.item[1].set_exception(_copy(e))
                continue
            seconds = max(time.perf_counter() - start, 1e-9)
            now = len(group) * self._devices / seconds
            self.rate = now if not self.rate else 0.8 * self.rate + 0.2 * now
            self._observe(len(group), seconds)
            self._pace.note(group[0].kind, len(group), seconds)
            for job, result in pairs:
                if not job.item[1].done():
                    job.item[1].set_result(result)

    async def _next(self) -> list[Job[Any]] | None:
        """The next batch; None where none will come."""
        loop = asyncio.get_running_loop()
        while True:
            now = loop.time()
            for job in self._line.drop(now):
                if not job.item[1].done():
                    job.item[1].set_exception(Late())
            if group := self._line.take(now, self._closing):
                return group
            if self._closing:
                return None
            self._changed.clear()
            due = self._line.due(now)
            try:
                async with asyncio.timeout(None if due == float("inf") else max(0.0, due - now)):
                    await self._changed.wait()
            except TimeoutError:
                pass


def _copy(error: Exception) -> Exception:
    """An error of its own for each caller: a shared one would gather the tracebacks of all."""
    try:
        return type(error)(*error.args)
    except TypeError:
        return RuntimeError(str(error))
