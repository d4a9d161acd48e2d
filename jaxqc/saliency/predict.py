"""Maps of a folder of images, written as 8-bit grey PNG files."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from jaxqc.data.batches import Counter, by_size, decoded
from jaxqc.data.dataset import Sample
from jaxqc.data.decode import read_image
from jaxqc.data.problems import printable
from jaxqc.data.readers import open_dataset
from jaxqc.errors import UserError


class Predictor(Protocol):
    """A model of either kind."""

    batch: int
    mixes_sizes: bool
    """Whether images of several sizes are one batch to it."""

    def predict(self, images: list[np.ndarray], *, size: int | None) -> Sequence[np.ndarray]:
        """uint8 images → maps in [0, 1] at their own sizes."""
        ...


@dataclass(frozen=True)
class FolderResult:
    """Files written, what could not be read (one line each, naming the file), and images a second end to end."""

    written: tuple[Path, ...]
    unreadable: tuple[str, ...]
    images_per_second: float


def predict_folder(
    model: Predictor, images: str | Path, out: str | Path, size: int | None = None, progress: bool = True
) -> FolderResult:
    """Writes `out/STEM.png` (0 = no defect, 255 = defect) for each image below `images`, keeping subfolders.

    Two images of one folder that differ only in their extension keep it: `a.jpg.png` and `a.bmp.png`.

    Raises:
      UserError: no images there, or `out` cannot be written.
    """
    from PIL import Image

    dataset = open_dataset(images, layout="folder")
    root, below = Path(images).resolve(), Path(out).resolve()
    if below != root and below.is_relative_to(root):  # maps of an earlier call are no images of this one
        kept = tuple(s for s in dataset.samples if not s.image.resolve().is_relative_to(below))
        if not kept:
            raise UserError(f"{printable(images)}: all images are below --out {printable(out)}; give another folder")
        dataset = replace(dataset, samples=kept)
    targets = _targets(dataset.samples, Path(images), Path(out))
    unreadable: list[str] = []
    written: list[Path] = []

    def readable():
        for sample, result in decoded(dataset.samples, lambda s: read_image(s.image), 2 * model.batch):
            if isinstance(result, UserError):
                unreadable.append(str(result))
                counter.add(1)
            else:
                yield () if model.mixes_sizes else result.shape, (sample, result)

    with Counter("predicting", len(dataset), progress) as counter:
        full = False
        for group in by_size(readable(), model.batch, 2 * model.batch):
            full |= len(group) == model.batch
            pad = model.batch - len(group) if full else 0  # a remainder reuses the graph of full batches
            maps = model.predict([image for _, image in group] + [group[-1][1]] * pad, size=size)[: len(group)]
            for (sample, _), values in zip(group, maps, strict=True):
                target = targets[sample.image]
                try:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(np.rint(values * 255).astype(np.uint8)).save(target)
                except OSError as e:
                    raise UserError(f"{printable(target)}: cannot be written ({e.strerror or e})") from e
                written.append(target)
            counter.add(len(group))
    return FolderResult(tuple(written), tuple(unreadable), counter.rate)


def _targets(samples: tuple[Sample, ...], root: Path, out: Path) -> dict[Path, Path]:
    """Image file → map file."""
    base = root if root.is_dir() else root.parent
    stems: dict[Path, int] = {}
    for sample in samples:
        key = sample.image.with_suffix("")
        stems[key] = stems.get(key, 0) + 1
    targets = {}
    inputs = {sample.image.resolve() for sample in samples}
    taken: dict[Path, Path] = {}
    for sample in samples:
        place = out / sample.image.relative_to(base)
        unique = stems[sample.image.with_suffix("")] == 1
        targets[sample.image] = place.with_name((place.stem if unique else place.name) + ".png")
        target = targets[sample.image].resolve()
        if target in inputs:
            raise UserError(f"{printable(sample.image)}: its map would replace an image; give another --out folder")
        if target in taken:
            both = f"{printable(taken[target])} and {printable(sample.image)}"
            raise UserError(f"{both}: their maps would have one name; rename one of them")
        taken[target] = sample.image
    return targets
