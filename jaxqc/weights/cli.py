"""The verbs `convert` and `weights`. Nothing heavy is imported before one of them runs."""

import argparse
from pathlib import Path
from types import TracebackType
from typing import Any

from jaxqc.errors import UserError
from jaxqc.weights.known import KNOWN, SHIPPED, Known, by_hand, cache_folder, known, shipped


def convert(args: argparse.Namespace) -> int:
    """Somebody's weight file → our own format; prints what was read, what is missing and what was unused."""
    from jaxqc.weights.load import load_weights, save_weights

    out = Path(args.out)
    if out.suffix != ".npz":
        raise UserError(f"{out}: our own format ends in .npz")
    if out.exists() and Path(args.file).exists() and out.samefile(args.file):
        raise UserError(f"{out}: would replace its source; choose another name")
    read = load_weights(args.file, args.model, layers_of(args.layers), args.head, args.seed)
    save_weights(out, read)
    print("\n".join(read.report.lines()))
    print(f"source {read.source}, SHA-256 {read.sha256}\nwritten to {out}")
    return 0


def layers_of(text: str | None) -> tuple[int, ...] | None:
    """ "1,2,3" → (1, 2, 3); None stays.

    Raises:
      UserError: anything but digits and commas.
    """
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as e:
        raise UserError(f"--layers: {text!r} is not a list such as 1,2,3") from e


def fetch(args: argparse.Namespace) -> int:
    """Lists the known files, or downloads and verifies those named."""
    if not args.names:
        return _list()
    entries = [known(name) for name in args.names]  # a misspelt name is reported before anything is fetched
    for name, entry in zip(args.names, entries, strict=True):
        _get(name, entry, args.mirror, args.quiet)
    return 0


def _list() -> int:
    from rich.console import Console

    console, folder = Console(), cache_folder()
    for name in SHIPPED:
        console.print(f"{name}  [shipped]  {shipped(name)}", markup=False, soft_wrap=True)
    for name, entry in KNOWN.items():
        here = "here" if (folder / entry.file).is_file() else "absent"
        digest = f"SHA-256 {entry.digest}..." if entry.digest else "SHA-256 not published"
        console.print(f"{name}  [{here}]  {entry.about}, {entry.licence}, {digest}", markup=False, soft_wrap=True)
        console.print(f"    {entry.url}", markup=False, soft_wrap=True)
    console.print(f"cache: {folder}", markup=False, soft_wrap=True)
    how = "download: jaxqc weights NAME ...; by hand: put the file into the cache under its own name"
    console.print(how, markup=False, soft_wrap=True)
    return 0


def _get(name: str, entry: Known, mirror: str | None, quiet: bool) -> None:
    from jaxqc.weights.download import download, sha256

    target = cache_folder() / entry.file
    if target.is_file():
        found = sha256(target)
        if not found.startswith(entry.digest):
            raise UserError(f"{target}: SHA-256 {found} does not start with {entry.digest}; delete it and try again")
        print(f"{name}: {target}\nSHA-256 {found}")
        return
    if not entry.direct:
        raise UserError(f"{name}: its address is for a browser; {by_hand(entry)}")
    url = f"{mirror.rstrip('/')}/{entry.file}" if mirror else entry.url
    try:
        with _Bar(entry.file, quiet) as bar:
            found = download(url, target, entry.digest, bar.update)
    except UserError as e:
        raise UserError(f"{e}. By hand: {by_hand(entry)}") from e
    print(f"{name}: {target}\nSHA-256 {found}")


class _Bar:
    """A bar with bytes, speed and time left on stderr, drawn only where that is a terminal."""

    def __init__(self, name: str, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        console = Console(stderr=True)
        columns: list[Any] = [TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()]
        self._bar = Progress(*columns, TimeRemainingColumn(), console=console, disable=quiet or not console.is_terminal)
        self._task = self._bar.add_task(name, total=None)

    def __enter__(self) -> "_Bar":
        self._bar.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    def update(self, done: int, total: int) -> None:
        """Bytes here, and in all (0 = not known)."""
        self._bar.update(self._task, completed=done, total=total or None)
