"""The sums of a run's or a fit's folder, and which of its files they cover when.

| files                                                         | listed                         | compared            |
|---------------------------------------------------------------|--------------------------------|---------------------|
| config.json, meta.json, golden.npz, backbone.npz,             | as soon as they are written    | on load, by verify  |
| promise.png, thresholds.json, splits/                         |                                |                     |
| metrics.jsonl, log.csv, tb/                                   | while no run is going on there | by verify           |
| lists of checkpoints/STEP and state/0, each of its own folder | while no run is going on there | on load, by verify  |

The others (an evaluation's, a user's own) are not covered; `verify` names them. Of metrics.jsonl each checkpoint keeps
the length and sum that it had then, which is compared before a run goes on (`jaxqc.training.logs`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jaxqc.atomic import whole_file
from jaxqc.data.problems import printable
from jaxqc.errors import UserError
from jaxqc.training.checksums import (
    SUMS,
    DamagedError,
    Lines,
    check_lines,
    check_listed,
    check_sums,
    every_file,
    read_lines,
    sha256,
    sums_of,
    write_lines,
)

PICTURE = "promise.png"
"""In a fit's folder: what its thresholds promise."""
STILL = ("config.json", "meta.json", "golden.npz", "backbone.npz", PICTURE, "thresholds.json", "splits")
GROWING = ("metrics.jsonl", "log.csv", "tb")
OWN_SUMS = ("checkpoints", "state")
"""Folders of folders that each have a list of their own."""
PROMISE = {"folder_sums": 1}
"""In a checkpoint's record: the folder was begun with a list, so that it is damaged where that is gone."""


def _part_of(name: str) -> str:
    return name.partition("/")[0]


def _names(folder: Path, kinds: tuple[str, ...]) -> list[str]:
    """Names of the files there that are of these kinds."""
    found = [name for kind in kinds for name in _below(folder, kind)]
    return [name for name in found if not name.rpartition("/")[2].startswith(".")]


def _below(folder: Path, kind: str) -> list[str]:
    path = folder / kind
    if kind in OWN_SUMS:
        return sorted(f.relative_to(folder).as_posix() for f in path.glob(f"*/{SUMS}") if f.parent.name.isdigit())
    return [kind] if path.is_file() else [f"{kind}/{name}" for name in every_file(path)] if path.is_dir() else []


@contextmanager
def kept_file(folder: Path, name: str) -> Iterator[Path]:
    """A path to write one of the folder's files to, which then takes its place and is listed.

    A process that is killed anywhere leaves a folder that is found to be sound. Raises OSError.
    """
    with whole_file(folder / name) as part:
        yield part
        lines, new = _listed(folder), (sha256(part), name)
        write_lines(folder, (*lines, new))
    write_lines(folder, (*(line for line in lines if line[1] != name), new))


def _listed(folder: Path) -> Lines:
    """The list; of a folder without one, its files as they are now."""
    if not (folder / SUMS).is_file():
        return sums_of(folder, _names(folder, STILL))
    try:
        return read_lines(folder)
    except DamagedError as e:
        raise UserError(_damaged(folder, e)) from e


def _damaged(folder: Path, error: DamagedError) -> str:
    return f"{printable(folder)}: damaged ({error}); copy the whole folder again"


def open_sums(folder: Path) -> None:
    """Takes what is about to grow out of the list, and lists the other files. Raises OSError."""
    known = tuple(line for line in _listed(folder) if _part_of(line[1]) in STILL)
    names = {name for _, name in known}
    write_lines(folder, (*known, *sums_of(folder, [n for n in _names(folder, STILL) if n not in names])))


def close_sums(folder: Path) -> None:
    """Lists what has grown, and the files that were not in the list. Raises OSError."""
    known = tuple(line for line in _listed(folder) if _part_of(line[1]) in STILL)
    names = {name for _, name in known}
    new = [n for n in _names(folder, (*STILL, *GROWING, *OWN_SUMS)) if n not in names]
    write_lines(folder, (*known, *sums_of(folder, new)))


def drop_sums(folder: Path) -> None:
    """Removes the list of a folder that is begun anew, if there is one."""
    if (folder / SUMS).is_file():
        (folder / SUMS).unlink()


def check_promise(folder: Path, record: dict[str, Any]) -> None:
    """Raises UserError where a folder's list is gone, which was there when this checkpoint's record was written."""
    if PROMISE.items() <= record.items() and not (folder / SUMS).is_file():
        raise UserError(_damaged(folder, DamagedError(f"{SUMS} is missing")))


def unlisted(folder: Path) -> str:
    """A line for people where a folder has no list, as those of earlier versions; else ""."""
    if not folder.is_dir() or (folder / SUMS).is_file():
        return ""
    return f"{printable(folder)}: no {SUMS}, as in earlier versions; only its checkpoints are compared with their sums"


def check_step(path: Path) -> None:
    """Raises DamagedError where the list of the checkpoint `path` is not the one that its run's folder has a sum of."""
    folder = path.parent.parent
    try:
        lines = read_lines(folder)
    except DamagedError:  # absent, or named by `check_folder`
        return
    name = (path / SUMS).relative_to(folder).as_posix()
    check_lines(folder, tuple(line for line in lines if line[1] == name))


def check_folder(folder: Path) -> None:
    """Compares the files that do not grow with the list, where there is one.

    Raises:
      UserError: a file is missing or altered, or the list is damaged.
    """
    if not (folder / SUMS).is_file():
        return
    try:
        for kept in range(3):  # a run that goes on there may replace a file between a look at the list and one at it
            lines = read_lines(folder)
            try:
                return _check_still(folder, lines)
            except DamagedError:
                if kept == 2 or lines == read_lines(folder):
                    raise
    except DamagedError as e:
        raise UserError(_damaged(folder, e)) from e


def _check_still(folder: Path, lines: Lines) -> None:
    check_lines(folder, tuple(line for line in lines if _part_of(line[1]) in STILL))
    odd = next((name for _, name in lines if _part_of(name) not in (*STILL, *GROWING, *OWN_SUMS)), None)
    if odd is not None:
        raise DamagedError(f"{SUMS} is not whole: {odd!r} is no file of a run")
    check_listed(lines, _names(folder, STILL))


def check_all(folder: Path) -> tuple[str, ...]:
    """Compares every file with the lists there are: of the folder, of its checkpoints, of a fit's training.

    Returns:
      Lines for people: how many files are as they were written, and which no list covers.

    Raises:
      UserError: a file is missing or altered, or a list is damaged.
    """
    inner = [folder / "training", *sorted(folder.glob("training_*"))]  # a fit's, and the stages before it
    places = [path for path in (folder, *inner) if path.is_dir()]
    found = [_check_one(place) for place in places]
    inside = {path.relative_to(folder).as_posix() for path in places[1:]}
    open_names = [name for names in found for name in names[1] if name not in inside]
    lines = [f"{sum(count for count, _ in found)} files are as they were written"]
    lines += filter(None, map(unlisted, places))
    return (*lines, *[f"not covered by sums: {', '.join(map(printable, open_names))}"] * bool(open_names))


def _check_one(place: Path) -> tuple[int, list[str]]:
    """The number of files that are as they were, and the names of entries of the folder that no list covers."""
    count, covered = 0, {SUMS}
    try:
        lines = read_lines(place) if (place / SUMS).is_file() else ()
        gone = [n for _, n in lines if _part_of(n) in OWN_SUMS and not (place / n).parent.is_dir()]
        lines = tuple(line for line in lines if line[1] not in gone)
        check_lines(place, lines)
        if lines:
            _check_still(place, lines)
        if any(_part_of(name) not in STILL for _, name in lines):  # no run is under way there
            check_listed(lines, _names(place, (*GROWING[:2], *OWN_SUMS)))
        covered |= {name for _, name in lines}
        count += len({name for _, name in lines})
        for step in (f for kind in OWN_SUMS for f in sorted((place / kind).glob("*")) if (f / SUMS).is_file()):
            check_sums(step)
            inside, names = step.relative_to(place).as_posix(), every_file(step)
            covered |= {f"{inside}/{name}" for name in (SUMS, *names)}
            count += len(names)
    except DamagedError as e:
        raise UserError(_damaged(place, e)) from e
    rest = {_part_of(name) for name in every_file(place) if name not in covered and name != ".lock"}
    return count, sorted(rest) if lines else []
