"""The line before a device: jobs that wait for a batch, and the rule by which one starts. Plain values, no clock.

A batch holds jobs of one kind, those that came first. It starts when it is full, or when its first job has waited long
enough. Jobs that nobody waits for any more, or whose deadline has passed, leave the line without costing a batch.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from jaxqc.serve.settings import SIZES

T = TypeVar("T")


@dataclass(eq=False)
class Job(Generic[T]):
    """A job in the line. `came`, `deadline`: of one clock, in seconds. `gone`: nobody waits for it."""

    item: T
    kind: Hashable
    came: float
    deadline: float = math.inf
    gone: bool = False


@dataclass
class Line(Generic[T]):
    """Jobs in the order in which they came.

    Examples:
      >>> line = Line(most=2, wait=0.005)
      >>> line.put(Job("a", (), came=0.0))
      >>> line.due(0.0), line.take(0.001), [job.item for job in line.take(0.005)]
      (0.005, [], ['a'])
    """

    most: int
    """Most jobs of a batch."""
    wait: float
    """Seconds that a job waits for others of its kind."""
    jobs: list[Job[T]] = field(default_factory=list)
    share: Callable[[Hashable, int], int] = lambda kind, waiting: waiting
    """(kind, jobs of it that wait, at most `most`) → how many go into the next batch."""

    def __len__(self) -> int:
        return len(self.jobs)

    def put(self, job: Job[T]) -> None:
        """Adds a job at the end."""
        self.jobs.append(job)

    def drop(self, now: float) -> list[Job[T]]:
        """Takes out the jobs that are gone or late, and returns the late ones."""
        late = [job for job in self.jobs if not job.gone and job.deadline <= now]
        self.jobs = [job for job in self.jobs if not job.gone and job.deadline > now]
        return late

    def due(self, now: float) -> float:
        """The moment at which a batch may start, or at which a deadline passes; infinity for an empty line."""
        if not self.jobs:
            return math.inf
        if self._full() is not None:
            return now
        return min(self.jobs[0].came + self.wait, *(job.deadline for job in self.jobs))

    def take(self, now: float, closing: bool = False) -> list[Job[T]]:
        """Takes the next batch out; [] where none is due. closing: nothing more comes, so that nothing is waited for.

        A kind that is full goes before a job that still waits for others; else the first job's kind is next.
        """
        if not self.jobs:
            return []
        kind, first = self._full(), self.jobs[0]
        if first.came + self.wait <= now or closing:
            kind = (first.kind,)
        if kind is None:
            return []
        own = [job for job in self.jobs if job.kind == kind[0]][: self.most]
        taken = own[: max(1, self.share(kind[0], len(own)))]
        chosen = {id(job) for job in taken}
        self.jobs = [job for job in self.jobs if id(job) not in chosen]
        return taken

    def _full(self) -> tuple[Hashable] | None:
        """A kind of which a full batch waits, in a tuple: a kind may be None itself."""
        counts: dict[Hashable, int] = {}
        for job in self.jobs:
            counts[job.kind] = counts.get(job.kind, 0) + 1
            if counts[job.kind] >= self.most:
                return (job.kind,)
        return None


def sizes_to(most: int) -> tuple[int, ...]:
    """The compiled sizes of batches up to `most`.

    Examples:
      >>> sizes_to(8)
      (1, 2, 4, 8)
    """
    return tuple(size for size in SIZES if size <= most)


def fitting(count: int, sizes: Sequence[int]) -> int:
    """The smallest of the sorted sizes that holds so many.

    Examples:
      >>> fitting(3, (1, 2, 4, 8)), fitting(8, (1, 2, 4, 8))
      (4, 8)
    """
    return next(size for size in sizes if size >= count)


def retry_after(waiting: int, rate: float) -> int:
    """Whole seconds after which there should be room again: those in which half of the line is done, 1 to 60.

    rate: images a second; 0 = not known yet.

    Examples:
      >>> retry_after(256, 50.0), retry_after(256, 0.0), retry_after(10, 100.0)
      (3, 1, 1)
    """
    return min(60, max(1, math.ceil(waiting / 2 / rate))) if rate > 0 else 1
