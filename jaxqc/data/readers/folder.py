"""A plain folder of images (or one image file): nothing is known of masks, classes or splits. For prediction."""

import os
import re
from pathlib import Path

from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.decode import EXTENSIONS
from jaxqc.data.problems import printable
from jaxqc.errors import UserError


def image_files(path: Path, recursive: bool = False) -> list[Path]:
    """Files with an image's extension, in natural order (`2.png` before `10.png`); hidden files are left out.

    Raises:
      UserError: the folder cannot be read.
    """

    def stop(error: OSError) -> None:
        raise UserError(f"{printable(error.filename)}: cannot be read ({error.strerror})") from error

    found: list[Path] = []
    for folder, subfolders, names in os.walk(path, onerror=stop):
        subfolders[:] = [s for s in subfolders if recursive and not s.startswith(".")]
        found += [Path(folder, n) for n in names if not n.startswith(".") and _extension(n) in EXTENSIONS]
    return sorted(found, key=lambda p: _natural(str(p)))


def scan(path: Path) -> Dataset:
    """The image at `path`, or all images in that folder and those below it. Ids are paths relative to the folder.

    Raises:
      UserError: nothing there, or no images in it.
    """
    if path.is_file():
        return Dataset(printable(path.name), (), (Sample(printable(path.name), path),))
    files = image_files(path, recursive=True)
    if not files:
        others = sum(1 for _ in path.iterdir())
        holds = f"{others} other files or folders" if others else "nothing"
        raise UserError(f"{printable(path)}: no images in this folder (it holds {holds}); known: {_known()}")
    samples = tuple(Sample(printable(f.relative_to(path).as_posix()), f) for f in files)
    return Dataset(printable(path.name), (), samples)


def _extension(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _natural(text: str) -> list[tuple[int, str]]:
    """Sort key that compares runs of digits as numbers."""
    return [(int(t), "") if t.isascii() and t.isdigit() else (-1, t) for t in re.split(r"([0-9]+)", text)]


def _known() -> str:
    return " ".join(sorted(EXTENSIONS))
