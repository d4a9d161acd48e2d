"""Ctrl-C of the program: one line and exit code 130, however often it comes and whatever is going on.

Python's own answer is an exception at any place. In a destructor or a callback it is printed and forgotten; a second
one while the first is unwinding, or at the end of the process, is a traceback.
"""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from importlib.machinery import ExtensionFileLoader
from types import FrameType
from typing import Any

CODE = 130
GRACE = 2.0
"""Seconds that the main thread has to come back to Python."""
LOADING = (ExtensionFileLoader.create_module.__code__, ExtensionFileLoader.exec_module.__code__)
"""A module of C or C++ is being loaded. What is raised from Python that it calls may abort the program."""


def ends_on_interrupt(program: Callable[[], int]) -> int:
    """Runs all that a process does, in its main thread; its exit code. Afterwards a Ctrl-C is ignored: it is done.

    The first Ctrl-C raises `KeyboardInterrupt`, and what is under way is ended in order: a checkpoint being written is
    finished. Another one ends the process at once. Files appear whole or not at all, so that either loses nothing.
    While a library of C is being loaded, the first one ends the process at once. One long computation, such as a
    compilation, keeps Python from raising anything: then the process ends at once after `GRACE` seconds. A process that
    was started to ignore it, as a shell starts those in the background, goes on ignoring it.
    """
    sys.unraisablehook = _unraised
    try:
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            heard = threading.Event()
            signal.signal(signal.SIGINT, partial(_first, heard))
            _watch(heard)
            if hasattr(signal, "pthread_sigmask"):  # it may have been held back since Python began (jaxqc.memory)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        code = program()
    except BaseException as error:  # while modules are imported
        if not was_interrupted(error):
            raise
        _say()
        code = CODE
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if code == CODE:
        _leave()  # not by way of Python's end, which waits for threads that the interrupt may have left
    return code


def was_interrupted(error: BaseException) -> bool:
    """True where an exception came of a Ctrl-C: one in its course, as a loop that is found closed, and any after it.

    A library of C may make an error of its own of it, which does not say where it comes from.

    Examples:
      >>> try:
      ...     try:
      ...         raise KeyboardInterrupt
      ...     finally:
      ...         raise RuntimeError("Event loop is closed")
      ... except RuntimeError as error:
      ...     was_interrupted(error)
      True
    """
    come = signal.getsignal(signal.SIGINT) is _second
    return come or any(isinstance(one, KeyboardInterrupt) for one in causes(error))


def causes(error: BaseException) -> list[BaseException]:
    """An exception and those in whose course it came, the last first."""
    found = [error]
    while (earlier := found[-1].__cause__ or found[-1].__context__) is not None and earlier not in found:
        found.append(earlier)
    return found


def _unraised(failure: Any) -> None:
    """Prints an exception that Python cannot raise; none of a thread of TensorStore's that finds the loop gone, for
    which the call that waited for it has failed by then."""
    if not (isinstance(failure.exc_value, RuntimeError) and str(failure.exc_value) == "Event loop is closed"):
        sys.__unraisablehook__(failure)


def _watch(heard: threading.Event) -> None:
    """Ends the process where a Ctrl-C was not `heard` within `GRACE` seconds.

    The interpreter writes a signal's number to a pipe when it comes, and runs the handler when the main thread is back
    in Python; a thread reads the pipe meanwhile.
    """
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)

    def watch() -> None:
        while came := os.read(read, 1):
            if came[0] == signal.SIGINT and not heard.wait(GRACE):
                _second()

    threading.Thread(target=watch, name="interrupt", daemon=True).start()


def _first(heard: threading.Event, number: int, frame: FrameType | None) -> None:
    heard.set()
    while frame is not None:
        if frame.f_code in LOADING:
            _second()
        frame = frame.f_back
    signal.signal(signal.SIGINT, _second)
    # What now fails in threads and destructors fails because of this.
    logging.disable(logging.CRITICAL)
    threading.excepthook = _silent
    sys.unraisablehook = _interrupted
    sys.excepthook = _printed
    raise KeyboardInterrupt


def _second(*_: Any) -> None:
    _say()
    _leave()


def _say() -> None:
    show_cursor = b"\x1b[?25h" if os.isatty(2) else b""  # a progress bar had hidden it
    os.write(2, show_cursor + b"jaxqc: interrupted\n")


def _leave() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # a closed or broken stream, or one of the user's own: nothing may keep Ctrl-C from ending
            continue
    os._exit(CODE)


def _silent(*_: Any) -> None:
    pass


def _interrupted(failure: Any) -> None:
    """Ends the process where Python cannot raise the `KeyboardInterrupt`: it would go on as if there had been none."""
    if isinstance(failure.exc_value, KeyboardInterrupt):
        _say()
        _leave()


def _printed(kind: type[BaseException], *_: Any) -> None:
    """Ends the process where a library of C prints the `KeyboardInterrupt`, and would forget it."""
    if issubclass(kind, KeyboardInterrupt):
        _say()
        _leave()
