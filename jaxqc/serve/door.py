"""The door: what is let in at once, counted in images and bytes, and in pixels once they are known."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from jaxqc.serve.faults import Full


class Door:
    """Images and bytes of the requests that are in. One that does not fit is refused at once.

    Examples:
      >>> door = Door(images=2, size=100)
      >>> with door.let_in(images=2, size=90):
      ...     door.images
      2
      >>> door.images
      0
    """

    def __init__(self, images: int, size: int, later: Callable[[int], int] = lambda waiting: 1) -> None:
        """images, size: most images and bytes. later: (images that are in) → seconds after which to try again."""
        self._most, self._room, self._later = images, size, later
        self.images = self.size = 0

    @contextmanager
    def let_in(self, images: int, size: int) -> Iterator["Seat"]:
        """Holds the places of a request. A body above all room comes in where nobody else is.

        Raises:
          Full: no room.
        """
        seat = Seat(self, images)
        self._check(images, size)
        self.images += images
        self.size += size
        seat.size = size
        try:
            yield seat
        finally:
            self.images -= seat.images
            self.size -= seat.size

    def _check(self, images: int, size: int) -> None:
        if self.images + images > self._most or (size and self.size and self.size + size > self._room):
            raise Full(f"{self.images} images are being inspected; try again later", self._later(self.images))


class Seat:
    """The places of one request, of which it may take more as its images become known."""

    def __init__(self, door: Door, images: int) -> None:
        self._door, self.images, self.size = door, images, 0

    def grow(self, images: int) -> None:
        """Takes places for further images. Raises Full."""
        self._door._check(images, 0)
        self.images += images
        self._door.images += images


class Budget:
    """An amount of which tasks take shares in the order in which they ask; any share fits a whole one.

    Examples:
      >>> async def use():
      ...     budget = Budget(10)
      ...     async with budget.share(4):
      ...         return budget.left
      >>> asyncio.run(use())
      6
    """

    def __init__(self, whole: int) -> None:
        self._whole = self.left = whole
        self._line: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def share(self, amount: int) -> AsyncIterator[None]:
        """Holds `amount`, or all there is where that is less."""
        amount = min(amount, self._whole)
        if self._line or amount > self.left:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._line.append((amount, turn))
            try:
                await turn  # whoever wakes it has taken the share for it
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._give_back(amount)
                else:
                    self._line = deque(one for one in self._line if one[1] is not turn)
                    self._give_back(0)  # those behind it may fit
                raise
        else:
            self.left -= amount
        try:
            yield
        finally:
            self._give_back(amount)

    def _give_back(self, amount: int) -> None:
        self.left += amount
        while self._line and self._line[0][0] <= self.left:
            share, turn = self._line.popleft()
            if not turn.done():
                self.left -= share
                turn.set_result(None)
