"""A data set of any layout as one of layout `index`: images as they are, masks as PNG files, and `index.csv`."""

import dataclasses
import json
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from jaxqc.atomic import write_text
from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.decode import MAX_PIXELS, values_of
from jaxqc.data.load import in_threads, load_sample
from jaxqc.data.normals import is_normal
from jaxqc.data.pages import place
from jaxqc.data.problems import printable
from jaxqc.data.readers.index_csv import FILE
from jaxqc.data.store import StoredSample
from jaxqc.data.stored import Stored
from jaxqc.data.tables.write import write_table
from jaxqc.errors import UserError

COLUMNS = ("id", "cls", "image", "mask", "split", "group", "product")
IMAGES, MASKS, MANIFEST, BACKGROUND = "images", "masks", "manifest.json", "background"
Progress = Callable[[int, int], None]


def import_dataset(
    dataset: Dataset, out: str | Path, label_maps: bool = False, progress: Progress | None = None
) -> tuple[Path, tuple[str, ...]]:
    """Writes the data set below `out`. Returns the index, and a line for each sample whose files cannot be read.

    Images are copied byte by byte; those of larger files and crops are written as PNG. A sample with neither mask nor
    the word that it is good has no mask then either.

    Args:
      label_maps: masks hold class numbers, named in `manifest.json`, as sets with few labels have them.

    Raises:
      UserError: `out` holds something, it cannot be written, or there are too many classes for a label map.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{printable(out)}: is not empty; give a folder that is new or empty")
    kinds = _kinds(dataset) if label_maps else ()
    if len(kinds) > 254:
        raise UserError(f"{dataset.name}: {len(kinds)} classes are more than a label map holds (254)")
    names = dict(zip((s.id for s in dataset.samples), _names(dataset.samples), strict=True))
    left: list[str] = []

    def bring(sample: Sample) -> dict[str, str] | UserError:
        try:
            return _bring(sample, dataset, out, names[sample.id], kinds)
        except UserError as e:
            return e

    rows: list[dict[str, str]] = []
    for done, row in enumerate(in_threads(bring, dataset.samples), 1):
        if isinstance(row, UserError):
            left.append(str(row))
        else:
            rows.append(row)
        if progress is not None:
            progress(done, len(dataset))
    if not rows:
        raise UserError(f"{dataset.name}: none of its {len(dataset)} samples can be read; the first: {left[0]}")
    if kinds:
        write_text(out / MANIFEST, json.dumps({"classes": [BACKGROUND, *kinds]}, ensure_ascii=False) + "\n")
    write_table(out / FILE, COLUMNS, rows)
    return out / FILE, tuple(left)


def _bring(sample: Sample, dataset: Dataset, out: Path, name: str, kinds: Sequence[str]) -> dict[str, str]:
    """Writes one sample's files; its row of the index."""
    masked = sample.mask is not None or is_normal(sample, dataset)
    pixels, mask = load_sample(dataclasses.replace(sample, noise=0.0), unmasked=not masked)
    whole = sample.crop is None and not isinstance(sample, StoredSample)
    file, page = place(sample.image)
    image = out / IMAGES / (name + (file.suffix if whole and file.suffix else ".png"))
    row = {"id": sample.id, "split": sample.split, "group": sample.group, "product": sample.product, "mask": ""}
    row |= {"cls": dataset.classes[sample.label] if sample.label >= 0 else "", "image": f"{image.relative_to(out)}"}
    try:
        image.parent.mkdir(parents=True, exist_ok=True)
        if whole and page:
            _write_page(image, values_of(sample.image))
        elif whole:
            shutil.copyfile(sample.image, image)
        else:
            Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(image)
        if masked:
            file = out / MASKS / f"{name}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            values = _labels(sample, dataset, mask, kinds) if kinds else mask * np.uint8(255)
            Image.fromarray(values).save(file)
            row["mask"] = f"{file.relative_to(out)}"
    except OSError as e:
        raise UserError(f"{printable(e.filename or image)}: cannot be written ({e.strerror or e})") from e
    return row


def _write_page(file: Path, stored: Stored) -> None:
    """Writes a page's values as a TIFF of one page, with the range that its file states."""
    import tifffile

    colour = "rgb" if stored.values.ndim == 3 else "miniswhite" if stored.inverted else "minisblack"
    highest = [(281, "H", 1, int(stored.stated[1]), True)] if stored.stated else []
    tifffile.imwrite(file, stored.values, photometric=colour, compression="zlib", extratags=highest)


def _kinds(dataset: Dataset) -> tuple[str, ...]:
    """The classes of defects; of annotated sets those of the regions."""
    drawn = next((s.truth for s in dataset.samples if s.truth is not None), None)
    if drawn is not None:
        return tuple(getattr(drawn, "kinds", ()))
    used = {s.label for s in dataset.samples if s.label >= 0 and not is_normal(s, dataset)}
    return tuple(dataset.classes[i] for i in sorted(used)) or ("defect",)


def _labels(
    sample: Sample, dataset: Dataset, mask: UInt8[np.ndarray, "h w"], kinds: Sequence[str]
) -> UInt8[np.ndarray, "h w"]:
    if sample.truth is not None:
        return sample.truth.labels(sample, MAX_PIXELS)
    kind = dataset.classes[sample.label] if sample.label >= 0 else ""
    if kind not in kinds and len(kinds) > 1 and mask.any():
        raise UserError(
            f"{printable(sample.image)}: a defect of class {printable(kind) or 'none'}, and a label map has a number"
            f" for each of {', '.join(map(printable, kinds))}; give {printable(sample.id)!r} its class"
        )
    return mask * np.uint8(1 + kinds.index(kind) if kind in kinds else 1)


def _names(samples: Sequence[Sample]) -> Iterator[str]:
    """A path for each sample: its id, without what would lead out of the folder or what file systems refuse."""
    taken: set[str] = set()
    for sample in samples:
        parts = (re.sub(r'[<>:"\\|?*\x00-\x1f]', "_", part) for part in sample.id.split("/"))
        name = "/".join(part for part in parts if part.strip(". ")) or "sample"
        unique, number = name, 2
        while unique.casefold() in taken:
            unique, number = f"{name}_{number}", number + 1
        taken.add(unique.casefold())
        yield unique
