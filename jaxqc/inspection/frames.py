"""Frames of a video file or of a camera's stream as images to inspect (PyAV, the extra `video`).

Frames are written as PNG files below the folder of results, since a ledger, its report and people's looks need the
image again. A file is read no faster than frames are inspected. A camera does not wait: where frames come faster than
they are inspected, those for which there is no room are dropped, counted and named.
"""

import datetime
import importlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from jaxqc.data.problems import Problem, printable
from jaxqc.errors import UserError
from jaxqc.inspection.manifest import Delivery, Item
from jaxqc.lock import without_login

ENDINGS = (".mp4", ".m4v", ".mov", ".mkv", ".avi", ".webm", ".ts")
SCHEMES = ("rtsp", "rtsps", "http", "https", "tcp", "udp")
FOLDER = "frames"
"""Folder of the frames, in that of the results."""
TOGETHER, ROOM = 32, 64
"""Frames of a delivery at most, and frames of a camera that wait at most."""
TIMEOUT = 10.0
"""Seconds within which a camera must answer."""
Frame = tuple[int, np.ndarray]
"""A frame's number from 0, and its pixels."""


def is_camera(source: str | Path) -> bool:
    """True of an address such as rtsp://camera/stream."""
    return isinstance(source, str) and urlsplit(source).scheme in SCHEMES


def is_video(source: str | Path) -> bool:
    """True of a camera's address, and of a file with a video's ending."""
    return is_camera(source) or Path(source).suffix.lower() in ENDINGS


def name_of(source: str | Path) -> str:
    """The lot of a video's frames: the file's name, or a camera's host and path, without what may be a password.

    Examples:
      >>> name_of("rtsp://user:secret@10.0.0.7:554/line/1"), name_of("belt.mp4")
      ('10.0.0.7-554-line-1', 'belt')
    """
    if not is_camera(source):
        return printable(Path(source).stem)
    found = urlsplit(without_login(str(source)))
    return printable("-".join((found.netloc.replace(":", "-"), *PurePosixPath(found.path).parts[1:])))


def deliveries(
    source: str | Path, out: Path, every: int = 1, stop: Callable[[], bool] = lambda: False, room: int = ROOM
) -> Iterator[Delivery]:
    """A video's frames as deliveries of one lot, as they come; dropped and damaged ones are warnings.

    Args:
      out: the folder of results. every: takes each so many-th frame. stop: asked before each delivery.
      room: frames of a camera that wait at most.

    Raises:
      UserError: PyAV is absent, or the video cannot be opened, or it holds no frame.
    """
    if every < 1:
        raise UserError(f"--every: {every} must be 1 or more")
    name = name_of(source)
    # A camera's frames begin anew each time, a file's are the same again.
    lot = f"{name}-{time.strftime('%Y%m%dT%H%M%S')}" if is_camera(source) else name
    folder = out / FOLDER / lot
    folder.mkdir(parents=True, exist_ok=True)
    problems, written = list[Problem](), 0
    read = (_live if is_camera(source) else _paced)(source, every, stop, problems, lot, room)
    for frames in read:
        items = tuple(_kept(folder, lot, frame, is_camera(source)) for frame in frames)
        written += len(items)
        yield Delivery(name, items, tuple(problems))
        problems.clear()
    if not written and not stop():
        raise UserError(f"{shown(source)}: no frame came; look at the file, or at the camera's address")
    if problems:
        yield Delivery(name, (), tuple(problems))


def _kept(folder: Path, lot: str, frame: Frame, now: bool) -> Item:
    from PIL import Image

    number, pixels = frame
    file = folder / f"{number:08}.png"
    try:
        Image.fromarray(pixels).save(file, compress_level=1)
    except OSError as e:
        raise UserError(f"{printable(file)}: cannot be written ({e.strerror or e})") from e
    taken = datetime.datetime.now(datetime.UTC) if now else None
    return Item(file, f"{lot}/{number:08}", lot, time=taken)


def _paced(
    source: str | Path, every: int, stop: Callable[[], bool], problems: list[Problem], name: str, room: int
) -> Iterator[list[Frame]]:
    """A file's frames, a few at a time, as fast as they are asked for."""
    some: list[Frame] = []
    for frame in _decoded(source, every, problems, name):
        some.append(frame)
        if len(some) == min(TOGETHER, room):
            yield some
            some = []
            if stop():
                return
    if some:
        yield some


def _live(
    source: str | Path, every: int, stop: Callable[[], bool], problems: list[Problem], name: str, room: int
) -> Iterator[list[Frame]]:
    """A camera's frames: a thread takes them as they come, and drops those for which there is no room."""
    waiting: queue.Queue[Frame | BaseException | None] = queue.Queue(room)
    ended, dropped, odd = threading.Event(), list[int](), list[Problem]()

    def take() -> None:
        end: BaseException | None = None
        try:
            for frame in _decoded(source, every, odd, name):
                if ended.is_set():
                    return
                try:
                    waiting.put_nowait(frame)
                except queue.Full:
                    dropped.append(frame[0])
        except BaseException as e:  # it is raised where the frames are awaited
            end = e
        waiting.put(end)

    thread = threading.Thread(target=take, name="camera", daemon=True)
    thread.start()
    told, last = 0, False
    try:
        while not last and not stop():
            some: list[Frame] = []
            while len(some) < TOGETHER and not last:
                try:
                    one = waiting.get(timeout=0.2) if not some else waiting.get_nowait()
                except queue.Empty:
                    if some or stop():
                        break
                    continue
                if isinstance(one, BaseException):
                    raise one
                last = one is None
                some += [one] if one is not None else []
            now = len(dropped)
            problems += _dropped(dropped[told:now], name, every)
            told = now
            while odd:
                problems.append(odd.pop(0))
            if some:
                yield some
    finally:
        ended.set()
        while not waiting.empty():  # so that the thread's last word finds room
            waiting.get_nowait()


def _dropped(numbers: list[int], name: str, every: int) -> list[Problem]:
    """A warning for each run of dropped frames."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number - runs[-1][-1] == every:
            runs[-1].append(number)
        else:
            runs.append([number])
    way = "frames come faster than they are inspected; take each n-th (--every)"
    return [
        Problem(f"{name}/{run[0]:08}", "dropped-frame",
                f"{name}: {len(run)} frames dropped, {run[0]} to {run[-1]}: {way}", "warning")
        for run in runs
    ]  # fmt: skip


def _decoded(source: str | Path, every: int, problems: list[Problem], name: str) -> Iterator[Frame]:
    """Each `every`-th frame; what cannot be decoded is counted as a frame, and named."""
    av = _pyav()
    options = {"rtsp_transport": "tcp"} if str(source).startswith("rtsp") else {}
    try:
        container = av.open(str(source), options=options, timeout=TIMEOUT if is_camera(source) else None)
    except (av.error.FFmpegError, OSError) as e:
        raise UserError(f"{shown(source)}: cannot be opened as a video ({e.strerror or e})") from e
    with container:
        if not container.streams.video:
            raise UserError(f"{shown(source)}: holds no video stream")
        number = -1
        packets = iter(container.demux(video=0))
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                frames = packet.decode()
            except (av.error.FFmpegError, OSError) as e:
                number += 1
                message = f"{name}: frame {number} cannot be decoded ({e.strerror or e})"
                problems.append(Problem(f"{name}/{number:08}", "damaged-frame", message, "warning"))
                if not isinstance(e, av.error.InvalidDataError):  # the file's or the stream's end
                    return
                continue
            for frame in frames:
                number += 1
                if number % every == 0:
                    yield number, frame.to_ndarray(format="rgb24")


def _pyav() -> Any:
    try:
        return importlib.import_module("av")
    except ImportError as e:
        raise UserError("videos and cameras need PyAV: pip install 'jaxqc[video]'") from e


def shown(source: str | Path) -> str:
    """A source as people may read it: an address without what may be a password."""
    return printable(without_login(str(source)) if is_camera(source) else source)
