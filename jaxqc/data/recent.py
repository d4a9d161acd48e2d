"""The last few decoded images of a process, within a number of bytes: the parts of an image follow each other."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future

import numpy as np


class Recent:
    """Arrays by key, those asked for last, of at most `most` bytes together; the very last one is kept at any size.

    Threads that ask for one key at a time wait for the first of them, so that no array is made twice.

    Examples:
      >>> recent = Recent(most=10)
      >>> [int(recent.get(key, lambda: np.full(4, key, np.uint8))[0]) for key in (1, 2, 3)], recent.bytes
      ([1, 2, 3], 8)
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._held: OrderedDict[Hashable, Future[np.ndarray]] = OrderedDict()

    @property
    def bytes(self) -> int:
        """Bytes of the arrays that are held."""
        with self._lock:
            return sum(map(_bytes, self._held.values()))

    def get(self, key: Hashable, make: Callable[[], np.ndarray]) -> np.ndarray:
        """The array of `key`, not to be written to; made where it is not held. Raises what `make` does."""
        with self._lock:
            found = self._held.get(key)
            own = self._held[key] = Future() if found is None else found
            self._held.move_to_end(key)
        if found is not None:
            return found.result()
        try:
            array = make()
        except BaseException as e:
            with self._lock:
                self._held.pop(key, None)
            own.set_exception(e)  # for those that wait
            raise
        array.flags.writeable = False
        own.set_result(array)
        self._drop()
        return array

    def _drop(self) -> None:
        with self._lock:
            made = [key for key, one in self._held.items() if _bytes(one)]
            left = sum(_bytes(self._held[key]) for key in made)
            for key in made[:-1]:
                if left <= self._most:
                    return
                left -= _bytes(self._held.pop(key))


def _bytes(one: "Future[np.ndarray]") -> int:
    """Bytes of an array; 0 while it is being made."""
    return one.result().nbytes if one.done() and one.exception() is None else 0
