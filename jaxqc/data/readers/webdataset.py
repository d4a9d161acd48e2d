"""WebDataset: tar files whose members belong together by their name up to the first dot.

`NAME.jpg` (or another image) is the image, `NAME.mask.png` (or `.seg.png`, `.gt.png`, ...) its mask, `NAME.cls` the
class as a number or a word. Without a class the mask tells. A tar file or folder called train, val or test (also
`train-000000.tar`) is a split. Only the index of a file is read. https://github.com/webdataset/webdataset
"""

import dataclasses
import re
import tarfile
from pathlib import Path

from jaxqc.data.dataset import Dataset
from jaxqc.data.normals import NORMAL, means_normal
from jaxqc.data.opening import EXTENSIONS
from jaxqc.data.packed import Place, TarStore
from jaxqc.data.problems import Problem, printable, refuse
from jaxqc.data.readers.matching import MASKS, plain, split_of
from jaxqc.data.store import StoredSample
from jaxqc.errors import UserError

CLASS = "cls"
LONGEST = 4096
"""Most bytes of a member that is a class."""


def is_tar(path: Path) -> bool:
    """True where tar files lie in the folder, or in one below it."""
    return bool(_files(path))


def scan(path: Path) -> tuple[Dataset, list[Problem]]:
    """All samples of all files; decodes nothing.

    Raises:
      UserError: no such file, a compressed or damaged one, or no image in any.
    """
    problems: list[Problem] = []
    rows: list[tuple[StoredSample, str]] = []
    for file in _files(path):
        rows += _samples(file, file.relative_to(path).with_suffix("").as_posix(), problems)
    if not rows:
        refuse(problems, printable(path))
        raise UserError(f"{printable(path)}: no tar files with images (NAME.jpg, NAME.mask.png, NAME.cls)")
    classes = (NORMAL, *sorted({kind for _, kind in rows} - {"", NORMAL}))
    samples = tuple(
        dataclasses.replace(sample, label=classes.index(kind) if kind else -1, normal=kind == NORMAL)
        for sample, kind in rows
    )
    told = (f"WebDataset: {len(_files(path))} tar files",)
    return Dataset(printable(path.resolve().name), classes, samples, read_as=told), problems


def _files(path: Path) -> list[Path]:
    return [*sorted(path.glob("*.tar")), *sorted(path.glob("*/*.tar"))]


def _samples(file: Path, name: str, problems: list[Problem]) -> list[tuple[StoredSample, str]]:
    parts: dict[str, dict[str, tarfile.TarInfo]] = {}
    kinds: dict[str, str] = {}
    try:
        with tarfile.open(file, "r:") as tar:
            for member in tar:
                key, field = _divide(member.name)
                if member.isfile() and field:
                    parts.setdefault(key, {})[field] = member
                    if field == CLASS and member.size <= LONGEST and (stream := tar.extractfile(member)):
                        kinds[key] = printable(stream.read().decode("utf-8", "replace").strip())
    except (tarfile.TarError, OSError, EOFError) as e:
        raise UserError(f"{printable(file)}: not an uncompressed tar file ({printable(e)})") from e
    split = split_of(re.split(r"[-_.]", file.stem)[0]) or split_of(file.parent.name)
    places: list[tuple[Place, Place | None]] = []
    found = []
    for key, fields in parts.items():
        images = [f for f in fields if f".{f.rpartition('.')[2]}" in EXTENSIONS]
        masks = [f for f in images if plain(f.partition(".")[0]) in MASKS]
        pictures = [f for f in images if f not in masks]
        where = f"{name}/{key}"
        if len(pictures) != 1 or len(masks) > 1:
            message = (
                f"{printable(file)}: {printable(key)}: {len(pictures)} images and {len(masks)} masks; it takes one"
            )
            problems.append(Problem(printable(where), "bad-sample", message))
            continue
        place = lambda field, fields=fields: Place(fields[field].offset_data, fields[field].size)
        places.append((place(pictures[0]), place(masks[0]) if masks else None))
        found.append((where, bool(masks), kinds.get(key, "")))
    store = TarStore(file, tuple(places))
    out = []
    for number, (where, masked, kind) in enumerate(found):
        at = file / where.rpartition("/")[2]
        sample = StoredSample(printable(where), at, at if masked else None, split=split, store=store, number=number)
        out.append((sample, NORMAL if kind and means_normal(kind) else kind))
    return out


def _divide(name: str) -> tuple[str, str]:
    """A member's key and field: what stands before and behind the first dot of its last part."""
    folder, _, last = name.rpartition("/")
    stem, _, field = last.partition(".")
    return f"{folder}/{stem}".lstrip("./"), field.lower() if stem else ""
