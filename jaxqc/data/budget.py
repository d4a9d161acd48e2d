"""A bound on the pixels that all threads of a process decode at once: small files may hold very many."""

import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

AT_ONCE = 2**24 * ((os.cpu_count() or 1) + 2)
"""Pixels that a process decodes at once: 4,096 x 4,096 a thread. A larger image is decoded alone."""


class Budget:
    """An amount of which threads take their shares, and wait where too little is left; any share fits a whole one."""

    def __init__(self, whole: int) -> None:
        self._whole = self._left = whole
        self._changed = threading.Condition()

    @contextmanager
    def share(self, amount: int) -> Iterator[None]:
        """A context that holds `amount`, or all there is where that is less."""
        amount = min(amount, self._whole)
        with self._changed:
            self._changed.wait_for(lambda: amount <= self._left)
            self._left -= amount
        try:
            yield
        finally:
            with self._changed:
                self._left += amount
                self._changed.notify_all()


_pixels = Budget(AT_ONCE)


def decoding(pixels: int) -> AbstractContextManager[None]:
    """A context in which the process decodes at most `AT_ONCE` pixels, these among them."""
    return _pixels.share(pixels)
