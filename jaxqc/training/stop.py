"""Asking a run to stop: SIGTERM becomes a question that the loop puts between two calls."""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import jax
import numpy as np


class Sigterm:
    """Notes SIGTERM while it is entered, instead of dying of it (in the main thread; elsewhere it does nothing)."""

    def __init__(self) -> None:
        self._asked = False
        self._old: Callable[..., Any] | int | None = None

    def __enter__(self) -> "Sigterm":
        if threading.current_thread() is threading.main_thread():
            self._old = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self._old is not None:
            signal.signal(signal.SIGTERM, self._old)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._asked = True

    def asked(self) -> bool:
        """True in every process as soon as one was asked: all must leave the loop at the same step."""
        if jax.process_count() == 1:
            return self._asked
        from jax.experimental import multihost_utils

        with jax.transfer_guard("allow"):
            return bool(np.any(multihost_utils.process_allgather(np.asarray(self._asked))))
