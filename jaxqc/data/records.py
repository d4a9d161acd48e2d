"""Decoded uint8 records in one ArrayRecord file: a data set that streams at memory speed, each sample one read away.

Record i < n is sample i: the image's bytes [h w c] and the mask's bits (`numpy.packbits` of [h w]). Record n is a JSON
table of contents: format, name, classes, shape, the data's digest, and id, label, split, group of each sample. It comes
last because the digest is known last; ArrayRecord needs its own end of file anyway, so a truncated file never opens.
"""

import functools
import hashlib
import importlib
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from jaxqc.atomic import clear_remains_of, whole_file
from jaxqc.data.dataset import ArrayDataset, Dataset
from jaxqc.data.pipeline import eval_batches
from jaxqc.data.problems import printable
from jaxqc.data.store import StoredSample
from jaxqc.errors import UserError

FORMAT = "jaxqc-records-1"
SUFFIX = ".array_record"
# Measured on 200x200 grey images: uncompressed reads 2.7 times as fast as zstd at 2.6 times the space.
_WRITE = "group_size:1,uncompressed"
_READ = "readahead_buffer_size:0,max_parallelism:0"  # the library's own advice for random access
_FIELDS = ("id", "label", "split", "group", "product")  # the last in sets of several alone


@dataclass(frozen=True)
class RecordStore:
    """The pixels of one record file (a `jaxqc.data.store.Store`)."""

    file: Path
    shape: tuple[int, int, int]
    """Height, width and channels (1 or 3) of every image."""
    digest: str
    """`ArrayDataset.digest()` of all the file's samples."""

    def read(self, number: int) -> tuple[UInt8[np.ndarray, "h w c"], UInt8[np.ndarray, "h w"]]:
        """Image and mask of record `number`.

        Raises:
          UserError: the record is damaged, or the file has been replaced since it was opened.
        """
        where, (h, w, c) = f"{printable(self.file)}/{number}", self.shape
        try:
            (data,) = _reader(str(self.file), self.digest).read([number])
        except RuntimeError as e:
            raise UserError(f"{where}: damaged record ({e}); write the file again") from e
        pixels = h * w * c
        if len(data) != pixels + -(-h * w // 8):
            raise UserError(f"{where}: {len(data)} bytes are not an image of {h}x{w}x{c} and its mask")
        image = np.frombuffer(data, np.uint8, pixels).reshape(h, w, c)
        return image, np.unpackbits(np.frombuffer(data, np.uint8, offset=pixels), count=h * w).reshape(h, w)


def write_records(
    dataset: Dataset | ArrayDataset,
    path: str | Path,
    size: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Decodes a data set into one record file, in index order and constant memory, and opens it.

    The file appears under its name only when it is whole. `size` as in `make_loader`; `progress(done, total)`.

    Raises:
      UserError: a sample cannot be read, sizes differ with `size=0`, or the file cannot be written.

    Examples:
      >>> from jaxqc.data.synthetic.boards import write_mvtec
      >>> from jaxqc.data.open import open_data
      >>> dataset = write_records(open_data(write_mvtec("wood", normals=1, defects=1, size=32)), "wood.records")
      >>> image, mask = dataset.samples[0].read()
      >>> image.shape
      (32, 32, 3)
    """
    if size < 0:
        raise UserError(f"size: {size} must not be negative (0 keeps the images' own)")
    path = Path(path)
    writer_of = array_record(path).ArrayRecordWriter
    try:
        if path.is_dir():
            raise IsADirectoryError(f"a folder; give a file, as {path.name}/train{SUFFIX}")
        path.parent.mkdir(parents=True, exist_ok=True)
        clear_remains_of(path)
        with whole_file(path) as part:
            with tempfile.TemporaryFile(dir=path.parent) as masks, eval_batches(dataset, 16, size) as batches:
                writer = writer_of(str(part), _WRITE)
                try:
                    contents = _write_samples(dataset, batches, writer, masks, progress)
                    writer.write(json.dumps(contents).encode())
                finally:
                    writer.close()
            with part.open("rb") as f:
                os.fsync(f.fileno())
    except (OSError, RuntimeError) as e:
        raise UserError(f"{printable(path)}: cannot be written ({e})") from e
    return open_records(path)


def open_records(path: str | Path) -> Dataset:
    """Opens a file that `write_records` made; reads its table of contents and no pixels.

    Raises:
      UserError: no such file, truncated, damaged, or some other program's.
    """
    path = Path(path)
    contents = _contents(_open(path), path)
    store = RecordStore(path, tuple(contents["shape"]), contents["digest"])
    samples = []
    for number, (id_, label, split, group, *product) in enumerate(contents["samples"]):
        address, more = path / str(number), {"product": "".join(product), "store": store, "number": number}
        samples.append(StoredSample(id_, address, address, label, split, group, **more))
    return Dataset(contents["name"], tuple(contents["classes"]), tuple(samples))


def _write_samples(dataset: Any, batches: Any, writer: Any, masks: Any, progress: Any) -> dict[str, Any]:
    """Writes one record a sample and returns the table of contents. `masks` is scratch space: the digest wants all
    images before all masks, and neither need fit in memory."""
    total = len(dataset)
    if isinstance(dataset, ArrayDataset):
        rows = [(id_, int(label), "", "") for id_, label in zip(dataset.ids, dataset.labels, strict=True)]
    else:
        several = any(s.product for s in dataset.samples)
        rows = [(s.id, s.label, s.split, s.group, *(s.product,) * several) for s in dataset.samples]
    digest, shape, done = hashlib.sha256(), (), 0
    digest.update("\0".join(row[0] for row in rows).encode())
    digest.update("\0".join(dataset.classes).encode())
    for batch in batches:
        count = int(batch["weight"].sum())
        images, bits = batch["image"][:count], batch["mask"][:count]
        if not done:
            shape = images.shape[1:]
            digest.update(_kind((total, *shape), "uint8"))
        digest.update(np.ascontiguousarray(images).data)
        masks.write(np.ascontiguousarray(bits).data)
        for image, mask in zip(images, bits, strict=True):
            writer.write(image.tobytes() + np.packbits(mask).tobytes())
        done += count
        if progress is not None:
            progress(done, total)
    digest.update(_kind((total, *shape[:2]), "uint8"))
    masks.seek(0)
    while chunk := masks.read(1 << 20):
        digest.update(chunk)
    labels = np.array([row[1] for row in rows], np.int32)
    digest.update(_kind(labels.shape, "int32"))
    digest.update(labels.data)
    return {
        "format": FORMAT,
        "name": dataset.name,
        "classes": dataset.classes,
        "shape": shape,
        "count": total,
        "digest": digest.hexdigest(),
        "fields": _FIELDS[: len(rows[0])] if rows else _FIELDS,
        "samples": rows,
    }


def _kind(shape: tuple[int, ...], dtype: str) -> bytes:
    """As `ArrayDataset.digest` announces an array."""
    return repr((shape, dtype)).encode()


def array_record(path: str | Path) -> Any:
    """The package that reads and writes ArrayRecord files.

    Raises:
      UserError: naming `path`: it is not installed, as on Windows, for which it has no wheel.
    """
    try:
        return importlib.import_module("array_record.python.array_record_module")
    except ImportError as e:
        raise UserError(
            f"{printable(path)}: needs the package array_record, which has no wheel for Windows; elsewhere pip install"
            " array_record; without it give the data set's folder, with data.mode resident or stream"
        ) from e


def _open(path: Path) -> Any:
    reader_of = array_record(path).ArrayRecordReader
    try:
        if not path.is_file():
            raise UserError(f"{printable(path)}: no such file; `write_records` makes one")
        reader = reader_of(str(path), _READ)
        if reader.ok() and reader.num_records():
            return reader
        reader.close()  # says why: opening itself does not
        reason = "no records"
    except RuntimeError as e:
        reason = str(e)
    raise UserError(f"{printable(path)}: not a whole record file ({reason}); write it again")


def _contents(reader: Any, path: Path) -> dict[str, Any]:
    """The table of contents, checked against the file."""
    count = reader.num_records() - 1
    try:
        (last,) = reader.read([count])
        contents = json.loads(last)
        known = contents["format"] == FORMAT
    except RuntimeError as e:
        raise UserError(f"{printable(path)}: damaged table of contents ({e}); write it again") from e
    except (ValueError, TypeError, KeyError):
        known, contents = False, {}
    if not known:
        raise UserError(
            f"{printable(path)}: an ArrayRecord file, but not one of {FORMAT}; TFDS sets open as layout tfds"
        )
    if not contents["count"] == len(contents["samples"]) == count:
        raise UserError(f"{printable(path)}: {count} records, but {contents['count']} promised; write it again")
    return contents


@functools.lru_cache(maxsize=32)
def _reader(path: str, digest: str) -> Any:
    """One open file a process; handles cannot travel between processes, paths can."""
    reader = _open(Path(path))
    if _contents(reader, Path(path))["digest"] != digest:
        raise UserError(f"{printable(path)}: replaced by other data while in use; open it again")
    return reader
