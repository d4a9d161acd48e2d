"""A plain folder of images (or one image file): nothing is known of masks, classes or splits. For prediction.

| file                                         | is                                          |
|----------------------------------------------|---------------------------------------------|
| ending of `EXTENSIONS`, also in capitals     | an image                                    |
| no ending, begins as an image                | an image                                    |
| another ending or hidden, begins as an image | left out and named: half a file or a copy   |
| ending of `ENDINGS`, or the text of a link   | left out and named: it may hold images      |
| any other, and hidden folders                | left out, counted on one line               |
"""

import dataclasses
import os
import re
from collections import Counter
from collections.abc import Container, Sequence
from pathlib import Path

from jaxqc.data import foreign
from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.decode import EXTENSIONS
from jaxqc.data.opening import decoder_of
from jaxqc.data.pages import file_of, in_pages
from jaxqc.data.problems import Problem, printable
from jaxqc.data.store import StoredSample
from jaxqc.data.walk import Walk, walk
from jaxqc.errors import UserError

NAMED = 4
"""Files of the one line that are named."""


def image_files(path: Path, recursive: bool = False) -> list[Path]:
    """Files with an image's ending, in natural order; without hidden ones and what is no file (`jaxqc.data.walk`).

    Examples:
      >>> for name in ("10.png", "2.JPG", ".3.png", "notes.txt"):
      ...     Path(name).touch()
      >>> [file.name for file in image_files(Path("."))]
      ['2.JPG', '10.png']
    """
    return images_of(walk(path, recursive))


def images_of(found: Walk) -> list[Path]:
    """The files of a walk with an image's ending."""
    return [file for file in found.files if _extension(file.name) in EXTENSIONS]


def scan(path: Path, without: Sequence[Path] = ()) -> tuple[Dataset, list[Problem]]:
    """The image at `path`, or all images in that folder and those below it, and what there is beside them.

    Ids are paths relative to the folder. Every entry is a sample or part of a problem: an error may be an image, a
    warning is none. without: resolved folders whose files are counted only where they are images: results. A file among
    them is not counted either.

    Raises:
      UserError: the folder cannot be read, or holds no images.
    """
    if path.is_file():
        return in_pages(Dataset(printable(path.name), (), (Sample(printable(path.name), path),)))
    found = walk(path)
    if not found.folders:
        raise UserError(found.problems[0].message)
    own = {folder for folder in found.folders if any(folder.resolve().is_relative_to(out) for out in without)}
    own |= {file for file in found.files if file.parent == path and file.resolve() in without}
    files, problems = _divide(path, found, own)
    if not files:
        others = sum(1 for _ in path.iterdir())
        holds = f"{others} other files or folders" if others else "nothing"
        first = f"; the first: {problems[0].message}" if problems else ""
        raise UserError(f"{printable(path)}: no images in this folder (it holds {holds}); known: {_known()}{first}")
    samples = tuple(Sample(printable(f.relative_to(path).as_posix()), f) for f in files)
    dataset, more = in_pages(Dataset(printable(path.name), (), samples))
    return dataset, [*problems, *more]


def unused(root: Path, dataset: Dataset, problems: Sequence[Problem]) -> list[Problem]:
    """Warnings of what the folder of a data set holds beside its samples: images, and entries that may be some.

    problems: those that are known; what they begin with is not named again.
    """
    found = walk(root)
    # Samples in a larger file have the address FILE/NUMBER.
    files, beside = _divide(root, found, {s.image.parent for s in dataset.samples if isinstance(s, StoredSample)})
    drawn = lambda s: s.truth.files if s.truth is not None else ()
    named_files = ((s.image, s.mask, *s.more_masks, *drawn(s)) for s in dataset.samples)
    used = {os.path.abspath(file_of(f)) for files in named_files for f in files if f is not None}
    named = {problem.message.partition(": ")[0] for problem in problems}
    left = [file for file in files if os.path.abspath(file) not in used and printable(file) not in named]
    # A set may well link one folder twice and use it under both names.
    linked = {folder for file in used for folder in Path(file).parents} if found.again else ()
    again = {printable(link) for link in found.again if Path(os.path.abspath(link)) in linked}
    known = lambda problem: problem.kind == "other-files" or problem.message.partition(": ")[0] in named | again
    out = [dataclasses.replace(problem, severity="warning") for problem in beside if not known(problem)]
    if left:
        message = f"{printable(root)}: {len(left)} images are in no sample and left out (as {_first(root, left)})"
        out.append(Problem(dataset.name, "unused-images", message, "warning"))
    return out


def _divide(root: Path, found: Walk, own: Container[Path] = ()) -> tuple[list[Path], list[Problem]]:
    """The images of a walk, and its problems with one for each file that may be an image and one for all others.

    own: folders in which only images count, and files that do not count.
    """
    images: list[Path] = []
    others: list[Path] = []
    problems = [*found.problems]
    for file in (*found.files, *found.hidden):
        hidden, ending = file.name.startswith("."), _extension(file.name)
        if not hidden and ending in EXTENSIONS:  # not opened before it is its turn
            images.append(file)
        elif file in own or file.parent in own:
            continue
        elif fault := _fault(file, ending):
            problems.append(Problem(printable(file.relative_to(root).as_posix()), "not-inspected", fault))
        elif is_image(file):
            images.append(file)
        else:
            others.append(file)
    if others:
        problems.append(Problem(printable(root.name), "other-files", _count(root, others), "warning"))
    return images, problems


def _fault(file: Path, ending: str) -> str:
    """The reason why a file that may be an image is left out; "" for one that is none, or has no ending."""
    hidden = file.name.startswith(".")
    if ending in foreign.ENDINGS and not hidden:
        return f"{printable(file)}: files with the ending {ending} are not read; give its images as PNG or TIFF files"
    if (ending or hidden) and begins_as_image(file):
        way = "its name begins with a dot" if hidden else f"its ending is '{printable(ending)}'"
        return f"{printable(file)}: begins as an image but {way}; rename it to have it used, or remove it"
    if target := "" if hidden else _link_as_text(file):
        return (
            f"{printable(file)}: a link that became text ({printable(target)}); make it a link, or copy what it names"
        )
    return ""


def _link_as_text(file: Path) -> str:
    """The path that is all of a file's text, where something lies there: archives keep links so, and git elsewhere."""
    try:
        with file.open(encoding="utf-8") as stream:
            text = stream.read(4096).strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return text if text.strip("./\\") and "\n" not in text and os.path.exists(file.parent / text) else ""


def is_image(file: Path) -> bool:
    """True for a file with an image's ending, or without an ending and with an image's first bytes; not a hidden one.

    Examples:
      >>> Path("a.PNG").touch()
      >>> is_image(Path("a.PNG")), is_image(Path("b.png"))
      (True, False)
    """
    ending = _extension(file.name)
    known = ending in EXTENSIONS or (not ending and begins_as_image(file))
    return known and file.is_file() and not file.name.startswith(".")


def begins_as_image(file: Path) -> bool:
    """True where a regular file's first bytes are an image's; short marks must be followed as their format asks."""
    if not file.is_file():
        return False
    try:
        with file.open("rb") as stream:
            start = stream.read(12)
    except OSError:
        return False
    if start.startswith(b"BM"):
        return len(start) > 9 and not any(start[6:10])
    if start.startswith(b"RIFF"):
        return start[8:] == b"WEBP"
    if start.startswith(b"P"):
        return re.match(rb"P[1-6]\s[\s#0-9]", start) is not None
    return decoder_of(start) is not None


def _count(root: Path, files: Sequence[Path]) -> str:
    """One line on files that are no images: how many of each ending, and the first few."""
    hidden = lambda file: file.name.startswith(".")
    endings = Counter("hidden" if hidden(file) else _extension(file.name) or "without an ending" for file in files)
    kinds = ", ".join(f"{n} {printable(ending)}" for ending, n in endings.most_common(NAMED))
    more = ", ..." if len(endings) > NAMED else ""
    what = f"{len(files)} other entries are hidden or no images, and left out: {kinds}{more}"
    return f"{printable(root)}: {what} (as {_first(root, files)})"


def _first(root: Path, files: Sequence[Path]) -> str:
    return ", ".join(printable(file.relative_to(root).as_posix()) for file in files[:NAMED])


def _extension(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _known() -> str:
    return " ".join(sorted(EXTENSIONS))
