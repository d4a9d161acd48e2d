"""News for those who listen: each with a rising number; who comes back with its last number gets what it missed."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from jaxqc.serve.faults import Full

REMEMBERED = 1000
"""News that are kept for those who come back."""
BEHIND = 500
"""News that a listener may be behind; a slower one is let go, and may come back with its last number."""
BEAT = 15.0
"""Seconds after which a line without news shows that the connection stands."""


@dataclass(frozen=True)
class Event:
    """One piece of news."""

    number: int
    kind: str
    data: Any

    def encoded(self) -> bytes:
        """As server-sent events have it."""
        text = json.dumps(self.data, ensure_ascii=False, allow_nan=False)
        return f"id: {self.number}\nevent: {self.kind}\ndata: {text}\n\n".encode()


class Events:
    """News on an event loop, and those who listen.

    Examples:
      >>> events = Events(listeners=2)
      >>> events.publish("image", {"verdict": "pass"})
      >>> events.since(0)[0].encoded()
      b'id: 1\\nevent: image\\ndata: {"verdict": "pass"}\\n\\n'
    """

    def __init__(self, listeners: int) -> None:
        self._most, self._last = listeners, 0
        self._kept: deque[Event] = deque(maxlen=REMEMBERED)
        self._queues: set[asyncio.Queue[Event | None]] = set()

    @property
    def listeners(self) -> int:
        """Those who listen now."""
        return len(self._queues)

    @property
    def number(self) -> int:
        """The last news' number; 0 = none yet."""
        return self._last

    def publish(self, kind: str, data: Any) -> None:
        """Hands news to all who listen."""
        self._last += 1
        event = Event(self._last, kind, data)
        self._kept.append(event)
        for queue in list(self._queues):
            if queue.full():
                self._let_go(queue)
            else:
                queue.put_nowait(event)

    def since(self, number: int) -> list[Event]:
        """The kept news after a number."""
        return [event for event in self._kept if event.number > number]

    def listen(self, after: int | None = None) -> AsyncIterator[bytes]:
        """News as they come. after: number of the last one that is known; None = only what comes from now on.

        Raises:
          Full: too many listen already.
        """
        if len(self._queues) >= self._most:
            raise Full(f"{len(self._queues)} clients listen already", 10)
        queue: asyncio.Queue[Event | None] = asyncio.Queue(BEHIND)
        self._queues.add(queue)
        return self._news(queue, [] if after is None else self.since(after))

    def close(self) -> None:
        """Lets all listeners go."""
        for queue in list(self._queues):
            self._let_go(queue)

    def _let_go(self, queue: asyncio.Queue[Event | None]) -> None:
        self._queues.discard(queue)
        if queue.full():
            queue.get_nowait()
        queue.put_nowait(None)

    async def _news(self, queue: asyncio.Queue[Event | None], missed: list[Event]) -> AsyncIterator[bytes]:
        try:
            yield b"retry: 3000\n\n"
            for event in missed:
                yield event.encoded()
            while True:
                try:
                    event = await asyncio.wait_for(queue.get(), BEAT)
                except TimeoutError:
                    yield b": here\n\n"
                    continue
                if event is None:
                    return
                yield event.encoded()
        finally:
            self._queues.discard(queue)
