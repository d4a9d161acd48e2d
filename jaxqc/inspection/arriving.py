"""A watched folder: images are taken once their files are complete, in deliveries as they come.

A file is complete when its size and time have not changed for a while. A file that is written anew is another image.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from jaxqc.data.pages import file_of
from jaxqc.data.problems import printable
from jaxqc.errors import UserError
from jaxqc.inspection.manifest import Delivery, LeftOut, read_manifest

SETTLED = 2.0
"""Seconds for which a file must not change."""
POLL = 0.5
"""Seconds between two looks at the folder."""
State = tuple[int, int]
"""A file's bytes and the time of its last change in nanoseconds."""


def arrivals(
    folder: Path,
    without: Sequence[Path] = (),
    quiet: float = 0.0,
    stop: Callable[[], bool] = lambda: False,
    settled: float = SETTLED,
    clock: Callable[[], float] = time.monotonic,
    rest: Callable[[float], None] = time.sleep,
) -> Iterator[Delivery]:
    """The folder's images as they become complete, each once; what is wrong with others is told once it settles, too.

    What is there at the start comes first. The folder's own table counts as in `read_manifest`.

    Args:
      without: resolved folders that hold no images of the delivery. quiet: seconds without anything new after which it
        ends; 0 = never. stop: asked at each look. settled: seconds for which a file must not change.

    Raises:
      UserError: no such folder, or a table in it that cannot be read.
    """
    if not folder.is_dir():
        raise UserError(f"--watch: {printable(folder)} is no folder; give the one that the camera writes to")
    seen: dict[Path, tuple[State, float]] = {}
    given: dict[Path, State] = {}
    told = set[str]()
    last = clock()
    while not stop():
        found, now = _delivery(folder, without), clock()
        states = {path: state for path in _paths(found) if (state := _state(path)) is not None}
        seen = {p: seen[p] if p in seen and seen[p][0] == state else (state, now) for p, state in states.items()}
        complete = {p for p, (state, since) in seen.items() if now - since >= settled and given.get(p) != state}
        waiting = {p for p, (state, _) in seen.items() if given.get(p) != state} - complete
        items = tuple(item for item in found.items if item.image in complete)
        left_out = tuple(one for one in found.left_out if _new(one, complete, states, told))
        names = {one.message for one in left_out}
        problems = tuple(
            p for p in found.problems if p.message in names or (p.severity != "error" and p.message not in told)
        )
        told |= names | {p.message for p in problems}
        given |= {p: seen[p][0] for p in complete}
        if items or left_out:
            yield replace(found, items=items, problems=problems, left_out=left_out)
            last = clock()
        elif quiet and not waiting and clock() - last >= quiet:
            return
        else:
            rest(POLL)


def _delivery(folder: Path, without: Sequence[Path]) -> Delivery:
    """All that is there now; an empty folder may fill yet."""
    try:
        return read_manifest(folder, without)
    except UserError:
        if any(path.is_file() for path in folder.rglob("*")):
            raise
        return Delivery(printable(folder.resolve().name), ())


def _paths(found: Delivery) -> Iterator[Path]:
    yield from (item.image for item in found.items)
    yield from (Path(one.path) for one in found.left_out if one.path)


def _state(path: Path) -> State | None:
    try:
        found = file_of(path).stat()
    except OSError:  # it went away between two looks
        return None
    return found.st_size, found.st_mtime_ns


def _new(one: LeftOut, complete: set[Path], states: dict[Path, State], told: set[str]) -> bool:
    """True of an entry that is told now: half a file may become an image yet."""
    settled = Path(one.path) in complete if one.path and Path(one.path) in states else True
    return settled and one.message not in told


def together(before: Delivery, now: Delivery) -> Delivery:
    """Both deliveries as one, where an image that came again counts once.

    Examples:
      >>> from jaxqc.inspection.manifest import Item
      >>> first = Delivery("A", (Item(Path("1.png"), "1.png", "A"),))
      >>> len(together(first, Delivery("A", (Item(Path("2.png"), "2.png", "A"), *first.items))))
      2
    """
    items = {item.image: item for item in (*before.items, *now.items)}
    return replace(
        now,
        items=tuple(items.values()),
        problems=(*before.problems, *now.problems),
        left_out=(*before.left_out, *now.left_out),
    )
