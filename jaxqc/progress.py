"""The one progress display: a live bar on a terminal, a plain line every few seconds elsewhere; both on stderr."""

import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any


class Progress:
    """Counts images, or steps of a training, and shows images a second and the time left.

    what: the work, in a word. total: how much there is; start: how much of it is done already.
    enabled: False shows nothing, but still counts. every: seconds between plain lines.
    elapsed: the bar shows the time since the start, too. work: the work up to a count, where items are not alike: a
    training's later phases have larger images. The time left is that of the work left.
    """

    def __init__(
        self,
        what: str,
        total: int,
        enabled: bool = True,
        every: float = 5.0,
        start: int = 0,
        elapsed: bool = False,
        work: Callable[[int], float] = float,
    ) -> None:
        self._work = work
        self.what, self.total, self.done, self.every = what, total, start, every
        self._passed = start
        self._began = self._spoke = time.monotonic()
        self._first: tuple[float, int] | None = None  # when the first work was done, and how much
        self._enabled = enabled
        self._bar: Any = None
        if not enabled:
            return
        from rich.console import Console

        console = Console(file=sys.stderr, highlight=False, emoji=False)
        if console.is_terminal:
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bar

            since = [TimeElapsedColumn()] * elapsed
            text, left = TextColumn("{task.description}"), TextColumn("{task.fields[left]}")
            self._bar = Bar(text, BarColumn(), MofNCompleteColumn(), *since, left, console=console)
            self._task = self._bar.add_task(what, total=total, completed=start, left="")

    def __enter__(self) -> "Progress":
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar:
            self._bar.stop()

    @property
    def rate(self) -> float:
        """Amount done a second, without what was passed over, and without the first work where more followed: programs
        are compiled in its course."""
        return self._speed(float)

    def _speed(self, work: Callable[[int], float]) -> float:
        began, before = self._began, 0
        if self._first is not None and self._beyond_first:
            began, before = self._first
        return (work(self.done) - work(self._passed + before)) / max(time.monotonic() - began, 1e-9)

    @property
    def _beyond_first(self) -> bool:
        """True once more than the first work is done, and so a rate without compiling is known."""
        return self._first is not None and self.done - self._passed > self._first[1]

    def _mark(self) -> None:
        if self._first is None and self.done > self._passed:
            self._first = time.monotonic(), self.done - self._passed

    def add(self, n: int, passed: bool = False) -> None:
        """`n` more images are done; `passed`: at once, for they were done before, so they do not count in the rate."""
        self.done += n
        self._passed += n if passed else 0
        self._mark()
        known = self._beyond_first or self.done >= self.total
        text = f"{self.what}  {self.rate:.1f} images/s" if known else self.what
        self._show(text, f"{text}  {self.done}/{self.total}", self._left())

    def reach(self, done: int, total: int) -> None:
        """`done` of `total` images are done: the callback of loaders, which learn the total late."""
        self.total = total
        if self._bar:
            self._bar.update(self._task, total=total)
        self.add(done - self.done)

    def step(self, step: int, epoch: float, size: int, logs: Mapping[str, float], rate: float) -> None:
        """`step` of a training's steps are done; logs has `loss` and `lr`; rate in images/s."""
        self.done = step
        self._mark()
        text = f"epoch {epoch:.1f}  {size} px  loss {logs['loss']:.4f}  lr {logs['lr']:.2e}  {rate:.1f} images/s"
        self._show(text, f"step {step}/{self.total}  {text}", self._left() if step < self.total else "  left 0:00")

    def note(self, text: str) -> None:
        """A line of its own, above the bar."""
        if self._bar:
            self._bar.console.print(text, markup=False, soft_wrap=True)
        elif self._enabled:
            print(text, file=sys.stderr, flush=True)

    def _show(self, text: str, line: str, left: str) -> None:
        """Moves the bar, with a text beside it; without one prints the line, where it is due."""
        if self._bar:
            self._bar.update(self._task, completed=self.done, description=text, left=left.strip())
        elif time.monotonic() - self._spoke > self.every or self.done == self.total:
            self._spoke = time.monotonic()
            self.note(line + left)

    def _left(self) -> str:
        """The time left; nothing while only the first work is known, whose time is mostly that of compiling."""
        if not self._beyond_first:
            return ""
        speed = self._speed(self._work)
        seconds = (self._work(self.total) - self._work(self.done)) / speed if speed > 0 else 0
        return f"  left {int(seconds) // 60}:{int(seconds) % 60:02d}" if seconds > 0 else ""
