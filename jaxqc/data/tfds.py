"""Reading prepared TensorFlow Datasets (ArrayRecord files) as a `Dataset`, without TensorFlow.

Any set with an image feature opens; to train on it, it needs a mask feature: an image of one channel, or a tensor of
integers. Which value means defect is taken from the masks where they are binary ({0, 1} or {0, 255}) and asked for
otherwise. A set must have been prepared as ArrayRecord: `tfds.builder(NAME, file_format="array_record")` and its
`download_and_prepare()`, which needs TensorFlow (the extra `tfds-build`) for most sets; for ours see `tfds_builders/`.
"""

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from jaxqc.data.dataset import Dataset
from jaxqc.data.problems import printable
from jaxqc.data.records import array_record
from jaxqc.data.store import StoredSample
from jaxqc.errors import UserError, suggest

IMAGE_KEYS = ("image",)
MASK_KEYS = ("mask", "segmentation_mask", "segmentation_label", "label_map", "segmentation", "annotation")
LABEL_KEYS = ("label", "class", "category")
ID_KEYS = ("id", "image_id", "file_name", "filename", "image/filename", "name")
SPLITS = {"validation": "val"}
"""TFDS's names of splits, where ours differ."""
_PROBES = 8


@dataclass(frozen=True)
class TfdsStore:
    """The examples of one split of a prepared set (a `jaxqc.data.store.Store`)."""

    folder: Path
    split: str
    image: str
    mask: str
    """Feature of the mask; "" = the set has none or it is not wanted: masks are all zero."""
    foreground: tuple[int, ...] = ()
    """Mask values that mean defect; () = every value but 0 of a binary mask."""

    def read(self, number: int) -> tuple[UInt8[np.ndarray, "h w c"], UInt8[np.ndarray, "h w"]]:
        """Image and mask of example `number`, in the order of the set's files.

        Raises:
          UserError: the example is damaged, its image is not uint8 of 1 or 3 channels, or its mask needs `foreground`.
        """
        where = f"{printable(self.folder)}/{self.split}/{number}"
        try:
            example = _source(str(self.folder), self.split, (self.image, self.mask))[number]
        except (RuntimeError, ValueError, OSError, AttributeError) as e:  # cv2's None for undecodable bytes: Attribute
            raise UserError(f"{where}: damaged example ({printable(e)}); prepare the set again") from e
        image = np.asarray(example[self.image])
        mask = np.asarray(example[self.mask]) if self.mask else np.zeros(image.shape[:2], np.uint8)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3):
            raise UserError(f"{where}: {self.image} is {image.dtype} {image.shape}, not uint8 [h w 1] or [h w 3]")
        mask = mask.reshape(mask.shape[:2])
        if self.foreground:
            return image, np.isin(mask, self.foreground).astype(np.uint8)
        if not _binary(mask):
            raise UserError(_ask(where, self.mask, np.unique(mask)))
        return image, (mask != 0).astype(np.uint8)


def open_tfds(
    path: str | Path,
    image: str = "",
    mask: str = "",
    label: str = "",
    foreground: Sequence[int] = (),
) -> Dataset:
    """Opens a prepared TFDS set; reads labels and ids, decodes no image but a few masks.

    Args:
      path: the folder that holds `dataset_info.json` (`~/tensorflow_datasets/NAME/VERSION`), or one above it where only
        one set lies below (of several versions, the newest).
      image, mask, label: names of the features; "" finds them by kind and usual names. `label` is a `ClassLabel`.
      foreground: mask values that mean defect, where the mask is not binary.

    Raises:
      UserError: no prepared set there, a format without random access, or features that cannot be distinguished.
    """
    folder = _folder(Path(path))
    info = _info(str(folder))
    features = dict(info.features)
    kinds = _kinds(features)
    image = _choose(folder, "image", image, [k for k in kinds["image"] if k != mask], IMAGE_KEYS)
    mask = _choose(folder, "mask", mask, [k for k in kinds["mask"] if k != image], MASK_KEYS, needed=False)
    label = _choose(folder, "label", label, kinds["label"], LABEL_KEYS, needed=False)
    classes = tuple(features[label].names) if label else ()
    samples: list[StoredSample] = []
    for split in sorted(map(str, info.splits)):
        store = TfdsStore(folder, split, image, mask, tuple(foreground))
        address = folder / split
        ours = SPLITS.get(split, split)
        for number, (id_, index) in enumerate(_rows(folder, split, label, kinds["id"])):
            at = address / str(number)
            samples.append(StoredSample(id_, at, at if mask else None, index, ours, store=store, number=number))
    if not samples:
        raise UserError(f"{printable(folder)}: the set has no examples; prepare it again")
    if len({s.id for s in samples}) < len(samples):  # ids that repeat over splits name nothing
        samples = [dataclasses.replace(s, id=f"{s.split}/{s.number}") for s in samples]
    if mask and not foreground:
        for i in np.unique(np.linspace(0, len(samples) - 1, _PROBES).astype(int)):
            samples[i].read()  # refuses a mask that needs `foreground` now rather than in the middle of training
    return Dataset(info.name, classes, tuple(samples))


def _rows(folder: Path, split: str, label: str, id_keys: list[str]) -> list[tuple[str, int]]:
    """Id and label of each example of a split, without decoding its images."""
    keys = [k for k in ID_KEYS if k in id_keys][:1]
    source = _source(str(folder), split, ())
    rows = []
    try:
        for i in range(len(source)):
            # without an id and a label one example is enough: that it reads shows the files to be there
            example = source[i] if keys or label or i == 0 else {}
            id_ = example[keys[0]] if keys else f"{split}/{i}"
            id_ = id_.decode(errors="backslashreplace") if isinstance(id_, bytes) else str(id_)
            rows.append((id_, int(example[label]) if label else -1))
    except (RuntimeError, ValueError, OSError) as e:
        raise UserError(f"{printable(folder)}: split {split} cannot be read ({printable(e)}); prepare it again") from e
    return rows


def _kinds(features: dict[str, Any]) -> dict[str, list[str]]:
    """Top-level features by what they could be."""
    from tensorflow_datasets import features as f

    kinds: dict[str, list[str]] = {"image": [], "mask": [], "label": [], "id": []}
    for key, feature in sorted(features.items()):  # read back from a protobuf map, the order changes from run to run
        if isinstance(feature, f.Image):
            kinds["image"].append(key)
        if isinstance(feature, f.ClassLabel):
            kinds["label"].append(key)
        elif isinstance(feature, f.Text):
            kinds["id"].append(key)
        elif isinstance(feature, f.Tensor | f.Image):
            shape: Any = feature.shape
            kind: Any = feature.np_dtype
            flat = len(shape) == 2 or (len(shape) == 3 and shape[2] == 1)
            if flat and np.dtype(kind).kind in "iub":
                kinds["mask"].append(key)
    # an image of one channel may be the picture itself: the usual name decides
    kinds["mask"] = [k for k in kinds["mask"] if k not in IMAGE_KEYS]
    colour = [k for k in kinds["image"] if k not in kinds["mask"]]
    kinds["image"] = colour or kinds["image"]
    return kinds


def _choose(folder: Path, what: str, given: str, found: list[str], usual: tuple[str, ...], needed: bool = True) -> str:
    if given:
        features = dict(_info(str(folder)).features)
        if given not in features:
            raise UserError(f"{printable(folder)}: no feature {given!r} for the {what}{suggest(given, features)}")
        if given not in found:
            fit = f"; these could be: {', '.join(found)}" if found else ""
            raise UserError(f"{printable(folder)}: feature {given!r} cannot be the {what}{fit}")
        return given
    named = [k for k in usual if k in found]
    if named or len(found) == 1:
        return (named or found)[0]
    if found:
        raise UserError(f"{printable(folder)}: any of {', '.join(found)} could be the {what}; name one{_flag(what)}")
    if needed:
        raise UserError(f"{printable(folder)}: no feature that could be the {what}; name it{_flag(what)}")
    return ""


def _flag(what: str) -> str:
    return f" by --{what}-key, of a recipe --data.{what}-key"


def _binary(mask: np.ndarray) -> bool:
    """Values of {0, 1} or {0, 255} only."""
    return bool((mask <= 1).all() or ((mask == 0) | (mask == 255)).all())


def _ask(where: str, key: str, values: np.ndarray) -> str:
    shown = ", ".join(map(str, values[:8])) + (", ..." if len(values) > 8 else "")
    return f"{where}: {key} has values {shown}; name those of defects by --foreground, in a recipe --data.foreground"


def _folder(path: Path) -> Path:
    """The folder of `dataset_info.json`, at `path` or below it."""
    name = "dataset_info.json"
    if not path.is_dir():
        raise UserError(f"{printable(path)}: no such folder; give the one of a prepared TFDS set")
    found = sorted(p.parent for p in (path / name, *path.glob(f"*/{name}"), *path.glob(f"*/*/{name}")) if p.is_file())
    sets = sorted({p.parent for p in found})
    if not found:
        raise UserError(f"{printable(path)}: no prepared TFDS set here or below (no {name}); prepare it first")
    if path in found:
        return path
    if len(sets) > 1:
        raise UserError(f"{printable(path)}: several TFDS sets lie below; give one, as {printable(found[0])}")
    return max(found, key=_version)


def _version(folder: Path) -> list[tuple[bool, int, str]]:
    """Sorts version folders by their numbers: 1.10.0 after 1.9.0."""
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in folder.name.split(".")]


def _info(folder: str) -> Any:
    return _builder(folder).info


@functools.lru_cache(maxsize=16)
def _builder(folder: str) -> Any:
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder_from_directory(folder)
        formats = {f.value for f in builder.info.available_file_formats()}
    except Exception as e:  # TFDS raises many kinds; whatever it is, this folder does not open
        raise UserError(f"{printable(folder)}: not a readable TFDS set ({printable(e)}); prepare it again") from e
    if "array_record" not in formats:
        held = ", ".join(sorted(formats)) or "no data"
        raise UserError(f"{printable(folder)}: holds {held}; prepare the set with file_format='array_record'")
    return builder


@functools.lru_cache(maxsize=64)
def _source(folder: str, split: str, decoded: tuple[str, ...]) -> Any:
    """Random access to a split, decoding only the images named; one a process and split."""
    from tensorflow_datasets import decode, features

    array_record(folder)
    builder = _builder(folder)
    images = [key for key, kind in builder.info.features.items() if isinstance(kind, features.Image)]
    skip = {key: decode.SkipDecoding() for key in images if key not in decoded}
    return builder.as_data_source(split, decoders=skip or None, file_format="array_record")
