"""TensorBoard scalars, written in the calling thread, so that a full disk raises there and then."""

import time
from pathlib import Path
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto import event_pb2, summary_pb2

# Their classes are made at import, where no type checker sees them.
_events: Any = event_pb2
_summaries: Any = summary_pb2


class Board:
    """One event file in `folder`. `start`: the step after which what older files hold is to be hidden (0: nothing)."""

    def __init__(self, folder: Path, start: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._writer = EventsWriter(str(folder / "events"))
        if start:
            begin = _events.SessionLog(status=_events.SessionLog.START)
            self._writer.write_event(_events.Event(wall_time=time.time(), step=start + 1, session_log=begin))

    def scalars(self, values: dict[str, float], step: int) -> None:
        """Adds the values of a step. Raises OSError."""
        kind = _summaries.Summary
        summary = kind(value=[kind.Value(tag=tag, simple_value=value) for tag, value in values.items()])
        self._writer.write_event(_events.Event(wall_time=time.time(), step=step, summary=summary))

    def flush(self) -> None:
        """Hands what is buffered to the system. Raises OSError."""
        self._writer.flush()

    def close(self) -> None:
        """Flushes and closes the file. Raises OSError."""
        self._writer.close()
