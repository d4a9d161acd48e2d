"""Prepared TFDS sets with features and examples of a test's choice, among them one like a published pets set."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

Examples = dict[str, list[dict[str, Any]]]


def png(array: np.ndarray) -> io.BytesIO:
    file = io.BytesIO()
    Image.fromarray(array.squeeze()).save(file, "PNG")
    file.seek(0)
    return file


class Foreign(tfds.core.GeneratorBasedBuilder):
    """A set with features and examples of the test's choice."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, features: dict[str, Any], examples: Examples, **kwargs: Any) -> None:
        self.chosen, self.examples = features, examples
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(self.chosen))

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {split: self._generate_examples(rows) for split, rows in self.examples.items()}

    def _generate_examples(self, rows: list[dict[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
        yield from enumerate(rows)


def write(out: Path, features: dict[str, Any], examples: Examples) -> Path:
    builder = Foreign(features, examples, data_dir=str(out), file_format="array_record")
    builder.download_and_prepare()
    return Path(builder.data_dir)


GREY = tfds.features.Image(shape=(None, None, 1))
RGB = tfds.features.Image(shape=(None, None, 3))


def pets(out: Path, rng: np.random.Generator) -> tuple[Path, dict[str, tuple[np.ndarray, np.ndarray, int]]]:
    """Like a published pets set: an RGB image, a mask of 1, 2 and 3, two class labels, file names."""
    features = {
        "image": RGB,
        "segmentation_mask": GREY,
        "label": tfds.features.ClassLabel(names=["x", "y", "z"]),
        "species": tfds.features.ClassLabel(num_classes=2),
        "file_name": tfds.features.Text(),
    }
    truth, examples = {}, {}
    for split, n in (("train", 6), ("validation", 3)):
        rows = []
        for i in range(n):
            image, mask = rng.integers(0, 256, (20, 24, 3), np.uint8), rng.integers(1, 4, (20, 24), np.uint8)
            truth[f"{split}{i}"] = (image, mask, i % 3)
            fields = {"image": png(image), "segmentation_mask": png(mask), "label": i % 3, "species": 0}
            rows.append({**fields, "file_name": f"{split}{i}"})
        examples[split] = rows
    return write(out, features, examples), truth
