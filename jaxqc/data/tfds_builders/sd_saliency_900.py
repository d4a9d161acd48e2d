"""TFDS builder of SD-saliency-900: strip-steel images with inclusions, patches or scratches, and their masks.

    python -c "from jaxqc.data.tfds_builders.sd_saliency_900 import prepare; print(prepare('DIR', 'OUT'))"

DIR, or its folder `sd-saliency-900`, holds the data in the published layout (`Source Images/`, `Ground truth/`; split
by protocol `seed`) or with an `index.csv` (splits as given there). Images travel as PNG bytes, which TFDS stores
untouched: so preparing works with and without TensorFlow. (The program `tfds build` of TFDS 4.9.10 wants Apache Beam.)
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from jaxqc.data.dataset import Dataset
from jaxqc.data.load import load_sample
from jaxqc.data.problems import printable
from jaxqc.data.readers import open_dataset, sd900
from jaxqc.data.records import array_record
from jaxqc.data.splits import apply_protocol
from jaxqc.errors import UserError

FOLDER = "sd-saliency-900"


class SdSaliency900(tfds.core.GeneratorBasedBuilder):
    """900 grey images of 200x200 pixels, 300 of each defect class, with binary masks (255 = defect)."""

    name = "sd_saliency_900"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}  # noqa: RUF012
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"Put the data's folders 'Source Images' and 'Ground truth' (or index.csv and what it names) into {FOLDER}/."
    )

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=(self.__doc__ or "").strip(),
            features=tfds.features.FeaturesDict(
                {
                    "id": tfds.features.Text(),
                    "image": tfds.features.Image(shape=(None, None, 1), encoding_format="png"),
                    "mask": tfds.features.Image(shape=(None, None, 1), encoding_format="png"),
                    "label": tfds.features.ClassLabel(names=list(sd900.CLASSES)),
                }
            ),
            supervised_keys=("image", "mask"),
            citation=(
                "G. Song, K. Song, Y. Yan: Saliency detection for strip steel surface defects using multiple"
                " constraints and improved texture features. Optics and Lasers in Engineering 128, 2020."
            ),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        parts = _splits(_open(Path(dl_manager.manual_dir)))
        return {name: self._generate_examples(part) for name, part in parts.items()}

    def _generate_examples(self, dataset: Dataset) -> Iterator[tuple[str, dict[str, Any]]]:
        for sample in dataset.samples:
            image, mask = load_sample(sample)
            if image.shape[2] == 3 and (image != image[..., :1]).any():
                raise UserError(f"{printable(sample.image)}: a colour image in a set of grey ones; convert it to grey")
            label = dataset.classes[sample.label]
            yield (
                sample.id,
                {
                    "id": sample.id,
                    "image": _png(image[..., 0]),
                    "mask": _png(mask * np.uint8(255)),
                    "label": label,
                },
            )


def prepare(source: str | Path, out: str | Path) -> Path:
    """Writes the TFDS set (ArrayRecord) below `out` and returns its folder, ready for `jaxqc.data.tfds.open_tfds`.

    Raises:
      UserError: `source` is not a readable SD-saliency-900, or array_record is not installed.
    """
    folder = Path(source)
    _refuse_others(_open(folder), folder)  # a one-line error for a bad folder, before TFDS starts
    array_record(out)
    config = tfds.download.DownloadConfig(manual_dir=folder.resolve(), register_checksums=False)
    builder = SdSaliency900(data_dir=str(out), file_format="array_record")
    builder.download_and_prepare(download_config=config)
    return Path(builder.data_dir)


def _refuse_others(dataset: Dataset, folder: Path) -> None:
    """Raises UserError for samples of classes that this TFDS set does not have."""
    named = lambda s: dataset.classes[s.label] if s.label >= 0 else "none"
    other = next((s for s in dataset.samples if named(s) not in sd900.CLASSES), None)
    if other is not None:
        raise UserError(
            f"{printable(folder)}: {printable(other.id)!r} is of class {printable(named(other))}, and this TFDS set is"
            f" SD-saliency-900 with the classes {', '.join(sd900.CLASSES)}; any data set becomes one file of records by"
            " jaxqc data records"
        )


def _open(folder: Path) -> Dataset:
    below = folder / FOLDER
    return open_dataset(below if below.is_dir() else folder)


def _splits(dataset: Dataset) -> dict[str, Dataset]:
    names = sorted({s.split for s in dataset.samples} - {""})
    if names:
        return {name: dataset.split(name) for name in names}
    train, val = apply_protocol(dataset, "seed")
    return {"train": train, "val": val}


def _png(plane: np.ndarray) -> io.BytesIO:
    file = io.BytesIO()
    Image.fromarray(plane).save(file, "PNG")
    file.seek(0)
    return file
