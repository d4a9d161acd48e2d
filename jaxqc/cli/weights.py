"""`jaxqc weights`: the known files of pretrained backbones, listed or downloaded."""

import argparse
from types import TracebackType
from typing import Any

from jaxqc.cli.parser import Parser, add_verb
from jaxqc.cli.shared import add_quiet, refuse_given
from jaxqc.errors import UserError
from jaxqc.weights.known import INSTALLED, KNOWN, SHIPPED, Known, by_hand, cache_folder, installed, known, shipped


def add(verbs: Any) -> Parser:
    """Adds the verb's parser."""
    text = "List known files of pretrained backbones; download and verify those named."
    parser = add_verb(verbs, "weights", text, "  jaxqc weights\n  jaxqc weights resnet18 wide_resnet50_2")
    parser.add_argument("names", nargs="*", metavar="NAME", help="short names, as the list shows them")
    mirror = "folder of another server that has the files under their names"
    parser.add_argument("--mirror", metavar="URL", help=mirror)
    add_quiet(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Lists the known files, or downloads and verifies those named."""
    if not args.names:
        refuse_given(args, "goes with names to download, and there is none", "--mirror")
        return _list()
    for name in (name for name in args.names if name in INSTALLED):
        print(f"{name}: {installed(name)}\nSHA-256 {INSTALLED[name].digest}")
    args.names = [name for name in args.names if name not in INSTALLED]
    entries = [known(name) for name in args.names]  # a misspelt name is reported before anything is fetched
    for name, entry in zip(args.names, entries, strict=True):
        _get(name, entry, args.mirror, args.quiet)
    return 0


def _list() -> int:
    from rich.console import Console

    console, folder = Console(), cache_folder()
    for name in SHIPPED:
        console.print(f"{name}  [shipped]  {shipped(name)}", markup=False, soft_wrap=True)
    for name, entry in INSTALLED.items():
        place = entry.find()
        console.print(f"{name}  [{place or 'absent'}]  ImageNet-1k by Google, Apache-2.0", markup=False, soft_wrap=True)
        console.print(f"    pip install 'jaxqc[backbones]', or {entry.project} alone", markup=False, soft_wrap=True)
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
