"""Writing in groups: what waits while one write runs goes into the next one together."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

from jaxqc.serve.faults import Closing

T = TypeVar("T")
R = TypeVar("R")


class Grouped(Generic[T, R]):
    """Hands records to `write` in groups, in a thread of `pool`; each caller gets its own result once it is written.

    write: records → a result for each; whole or not at all. A group that fails is written again one by one, so that
      one bad record spoils only its own. most: records of a group.

    Use within a running loop as `async with`; at its end all that was handed over is written.
    """

    def __init__(self, write: Callable[[Sequence[T]], Sequence[R]], pool: Executor, most: int = 256) -> None:
        self._write, self._pool, self._most = write, pool, most
        self._records: list[tuple[T, asyncio.Future[R]]] = []
        self._changed = asyncio.Event()
        self._closing = False
        self.groups = 0
        """Groups that were written."""

    async def __aenter__(self) -> "Grouped[T, R]":
        self._task = asyncio.create_task(self._work())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing = True
        self._changed.set()
        await self._task

    async def keep(self, record: T) -> R:
        """Writes a record; returns when it is written. It is written also where the caller is cancelled meanwhile.

        Raises:
          Closing: nothing more is taken. What `write` raises for this record.
        """
        if self._closing:
            raise Closing
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._records.append((record, answer))
        self._changed.set()
        return await answer

    async def _work(self) -> None:
        while True:
            if not self._records:
                if self._closing:
                    return
                self._changed.clear()
                await self._changed.wait()
                continue
            group, self._records = self._records[: self._most], self._records[self._most :]
            if not await self._attempt(group) and len(group) > 1:
                for one in group:
                    await self._attempt([one])

    async def _attempt(self, group: Sequence[tuple[T, asyncio.Future[R]]]) -> bool:
        """Writes a group; False where it failed. A lone record's failure goes to its caller."""
        try:
            records = [record for record, _ in group]
            results = await asyncio.get_running_loop().run_in_executor(self._pool, self._write, records)
        except Exception as e:
            if len(group) == 1 and not group[0][1].done():
                group[0][1].set_exception(e)
            return False
        self.groups += 1
        for (_, answer), result in zip(group, results, strict=True):
            if not answer.done():
                answer.set_result(result)
        return True
