"""The pace of a device: seconds of its batches by compiled size, and how many waiting jobs go into the next one.

Nine images fill a compiled batch of sixteen. Where a batch takes as long as its size says, as on a CPU, a batch of
eight and one of one are through sooner; where a device takes both in the same time, one batch is. The times decide.
"""

from collections.abc import Hashable, Sequence

from jaxqc.serve.line import fitting

SMOOTH = 0.2
"""Weight of the newest batch in the times."""


class Pace:
    """Times of batches, by their kind and compiled size.

    Examples:
      >>> pace = Pace((1, 2, 4, 8, 16))
      >>> pace.share((), 9)  # nothing is known yet
      9
      >>> for size in (1, 8, 16):
      ...     pace.note((), size, 0.01 * size)
      >>> pace.share((), 9), pace.share((), 8), pace.share((), 3)
      (8, 8, 3)
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes = tuple(sorted(sizes))
        self._seconds: dict[tuple[Hashable, int], float] = {}

    def note(self, kind: Hashable, count: int, seconds: float) -> None:
        """Takes the time of a batch of so many jobs."""
        key = kind, fitting(count, self.sizes)
        before = self._seconds.get(key, seconds)
        self._seconds[key] = (1 - SMOOTH) * before + SMOOTH * seconds

    def share(self, kind: Hashable, waiting: int) -> int:
        """The number of waiting jobs, at most the largest size, that go into the next batch.

        All of them, or the largest size that they fill, where it and what is then left are known to take no longer.
        """
        whole = fitting(waiting, self.sizes)
        full = max((size for size in self.sizes if size <= waiting), default=waiting)
        if full == waiting or whole == waiting:
            return waiting
        times = [self._seconds.get((kind, size)) for size in (full, fitting(waiting - full, self.sizes), whole)]
        if None in times:
            return waiting
        first, rest, padded = (time or 0.0 for time in times)
        return full if first + rest <= padded else waiting
