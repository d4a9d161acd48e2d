"""Hugging Face data sets as Parquet files with image features: `data/train-00000-of-00001.parquet`, or at the top.

The image is the column `image`, or the only one that is none of masks; the mask a column called as masks are
(`matching.MASKS`); the class a `label`, whose names the file's own features give. Without a class the mask tells. The
package `datasets` is not needed. https://huggingface.co/docs/hub/datasets-image
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxqc.data.dataset import Dataset
from jaxqc.data.normals import NORMAL, means_normal
from jaxqc.data.packed import ParquetStore
from jaxqc.data.problems import Problem, printable
from jaxqc.data.readers.matching import MASKS, plain, split_of
from jaxqc.data.store import StoredSample
from jaxqc.errors import UserError

LABELS = ("label", "labels", "class", "category", "defect")
DELIVERIES = ("delivery.parquet",)
"""Tables of images elsewhere, which are no data sets."""


def is_parquet(path: Path) -> bool:
    """True where Parquet files lie in the folder, or in its `data`."""
    return bool(_files(path))


def scan(path: Path) -> tuple[Dataset, list[Problem]]:
    """All rows of all files; reads labels, decodes nothing.

    Raises:
      UserError: no such file, one that cannot be read, or no column of images.
    """
    files = _files(path)
    if not files:
        raise UserError(f"{printable(path)}: no Parquet files here or in data/")
    rows: list[tuple[StoredSample, str]] = []
    for file in files:
        rows += _samples(file, file.relative_to(path).with_suffix("").as_posix())
    kinds = {kind for _, kind in rows} - {"", NORMAL}
    classes = (NORMAL, *sorted(kinds))
    if not rows:
        raise UserError(f"{printable(path)}: its Parquet files hold no rows")
    samples = tuple(
        dataclasses.replace(sample, label=classes.index(kind) if kind else -1, normal=kind == NORMAL)
        for sample, kind in rows
    )
    return Dataset(printable(path.resolve().name), classes, samples, read_as=(f"Parquet: {len(files)} files",)), []


def _files(path: Path) -> list[Path]:
    found = (*sorted(path.glob("*.parquet")), *sorted(path.glob("data/*.parquet")))
    return [file for file in found if file.name not in DELIVERIES]


def _samples(file: Path, name: str) -> list[tuple[StoredSample, str]]:
    """The rows of a file, each with its class."""
    from pyarrow import parquet

    try:
        opened = parquet.ParquetFile(file)
        schema = opened.schema_arrow
        features = _features(schema.metadata or {})
        image, mask, label = _columns(file, schema, features)
        values: list[Any] = opened.read([label]).column(0).to_pylist() if label else [None] * opened.metadata.num_rows
    except (OSError, ValueError) as e:
        raise UserError(f"{printable(file)}: not a readable Parquet file ({printable(e)})") from e
    names = features.get(label, {}).get("names") if label else None
    store, split = ParquetStore(file, image, mask), split_of(file.name.partition("-")[0].partition(".")[0])
    out = []
    for number, value in enumerate(values):
        at = file / str(number)
        kind = _kind(value, names, f"{file}: row {number}")
        kind = NORMAL if kind and means_normal(kind) else kind
        sample = StoredSample(f"{name}/{number}", at, at if mask else None, split=split, store=store, number=number)
        out.append((sample, kind))
    return out


def _kind(value: Any, names: Sequence[str] | None, where: str) -> str:
    """The class of a row, "" for none: a label below 0 is that of a row that nobody labelled."""
    if value is None or (isinstance(value, int) and value < 0):
        return ""
    if not names or not isinstance(value, int):
        return printable(value)
    if value >= len(names):
        raise UserError(f"{printable(where)}: label {value}, and there are {len(names)} names of classes (0 to"
                        f" {len(names) - 1})")  # fmt: skip
    return printable(names[value])


def _features(metadata: dict[bytes, bytes]) -> dict[str, Any]:
    """The features that Hugging Face keeps in a file's own words; {} of others."""
    try:
        return dict(json.loads(metadata[b"huggingface"])["info"]["features"])
    except (KeyError, ValueError, TypeError):
        return {}


def _columns(file: Path, schema: Any, features: dict[str, Any]) -> tuple[str, str, str]:
    """The columns of the image, of the mask and of the class ("" = none)."""
    import pyarrow as pa

    holds = lambda kind: pa.types.is_binary(kind) or (pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0)
    pictures = [field.name for field in schema if holds(field.type)]
    masks = [name for name in pictures if plain(name) in MASKS]
    images = [name for name in pictures if name not in masks]
    image = "image" if "image" in images else images[0] if len(images) == 1 else ""
    if not image or len(masks) > 1:
        held = ", ".join(printable(name) for name in schema.names)
        raise UserError(f"{printable(file)}: which of its columns ({held}) is the image, and which the mask? Name them"
                        " image and mask")  # fmt: skip
    return image, masks[0] if masks else "", next((name for name in LABELS if name in schema.names), "")
