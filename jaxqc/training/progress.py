"""Progress of a training run: a live bar on a terminal, a plain line every few seconds elsewhere."""

import sys
import time
from types import TracebackType
from typing import Any

PLAIN_SECONDS = 5.0
"""Time between plain lines."""


class Progress:
    """Shows steps, epoch, size, loss, learning rate, images/s and the time left. `enabled=False` shows nothing."""

    def __init__(self, total: int, start: int = 0, enabled: bool = True) -> None:
        self.total, self.start, self.enabled = total, start, enabled
        self._began = self._spoke = time.monotonic()
        self._bar: Any = None
        self._console: Any = None
        if not enabled:
            return
        from rich.console import Console

        self._console = Console(file=sys.stderr, highlight=False)
        if self._console.is_terminal:
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(elapsed_when_finished=False),
            )
            self._bar = Bar(*columns, console=self._console)
            self._task = self._bar.add_task("starting (compiling)", total=total, completed=start)

    def __enter__(self) -> "Progress":
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar:
            self._bar.stop()

    def update(self, step: int, epoch: float, size: int, logs: dict[str, float], rate: float) -> None:
        """`step` of the total are done; logs has `loss` and `lr`; rate in images/s."""
        if not self.enabled:
            return
        text = f"epoch {epoch:.1f}  {size} px  loss {logs['loss']:.4f}  lr {logs['lr']:.2e}  {rate:.1f} images/s"
        if self._bar:
            self._bar.update(self._task, completed=step, description=text)
            return
        now = time.monotonic()
        if now - self._spoke >= PLAIN_SECONDS or step == self.total:
            self._spoke = now
            left = (now - self._began) / max(1, step - self.start) * (self.total - step)
            self.note(f"step {step}/{self.total}  {text}  left {int(left) // 60}:{int(left) % 60:02d}")

    def note(self, text: str) -> None:
        """A line of its own, above the bar."""
        if self.enabled:
            self._console.print(text, markup=False, soft_wrap=True)
