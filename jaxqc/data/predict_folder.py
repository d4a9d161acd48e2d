"""A folder of images through a model: decoded ahead in threads, in batches, each answer written beside its fellows."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from jaxqc.data.batches import by_size, decoded_by_pixels
from jaxqc.data.batching import MAX_PIXELS
from jaxqc.data.dataset import Sample
from jaxqc.data.decode import pixel_count, read_image
from jaxqc.data.problems import printable
from jaxqc.data.readers import scan_dataset
from jaxqc.data.rendering import BY_FILE, Rendering
from jaxqc.errors import UserError
from jaxqc.lock import locked
from jaxqc.progress import Progress

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class FolderResult:
    """Files written, what could not be read (one line each, naming the file), and images a second end to end."""

    written: tuple[Path, ...]
    unreadable: tuple[str, ...]
    images_per_second: float
    notes: tuple[str, ...] = ()
    """Lines on what stands beside the images and is none."""


@dataclass
class Account:
    """Lines on what could not be read in a folder of images and on what else lies there, and the speed."""

    unreadable: list[str]
    notes: tuple[str, ...]
    images_per_second: float = 0.0


def images_in(images: str | Path, outs: Sequence[str | Path]) -> tuple[tuple[Sample, ...], Account]:
    """The images below `images` but for those below one of `outs`, which are results of an earlier call.

    Raises:
      UserError: none are there.
    """
    root = Path(images).resolve()
    below = [out for out in (Path(out).resolve() for out in outs) if out != root and out.is_relative_to(root)]
    dataset, problems = scan_dataset(images, layout="folder")
    kept = tuple(s for s in dataset.samples if not any(s.image.resolve().is_relative_to(out) for out in below))
    if not kept:
        given = " and ".join(printable(out) for out in outs)
        raise UserError(f"{printable(images)}: all images are below {given}, where results go; give another folder")
    unreadable = [problem.message for problem in problems if problem.severity == "error"]
    return kept, Account(unreadable, tuple(p.message for p in problems if p.severity == "warning"))


def answered(
    samples: Sequence[Sample],
    account: Account,
    predict: Callable[[list[np.ndarray]], Sequence[Answer]],
    batch: int,
    kind: Callable[[tuple[int, ...]], tuple[int, ...]] = lambda shape: shape,
    progress: bool = True,
    rendering: Rendering = BY_FILE,
) -> Iterator[tuple[Sample, np.ndarray, Answer]]:
    """Each image that can be read with its answer, batch after batch; `account` gets what cannot be read.

    Args: as `each_image`.
    """

    def readable() -> Iterator[tuple[tuple[int, ...], tuple[Sample, np.ndarray]]]:
        size = lambda sample: pixel_count(sample.image)
        read = lambda sample: read_image(sample.image, rendering=rendering)
        for sample, result in decoded_by_pixels(samples, size, read, 2 * batch):
            if isinstance(result, UserError):
                account.unreadable.append(str(result))
                counter.add(1)
            else:
                yield kind(result.shape), (sample, result)

    with Progress("predicting", len(samples), progress) as counter:
        full = False
        pixels = lambda pair: pair[1].shape[0] * pair[1].shape[1]
        for group in by_size(readable(), batch, 2 * batch, pixels, MAX_PIXELS):
            full |= len(group) == batch
            # A remainder reuses the graph of full batches; a batch of few large images has one of its own.
            pad = batch - len(group) if full and sum(map(pixels, group)) < MAX_PIXELS else 0
            found = predict([image for _, image in group] + [group[-1][1]] * pad)[: len(group)]
            for (sample, image), answer in zip(group, found, strict=True):
                yield sample, image, answer
            counter.add(len(group))
    account.images_per_second = counter.rate


def each_image(
    images: str | Path,
    outs: Sequence[str | Path],
    predict: Callable[[list[np.ndarray]], Sequence[Answer]],
    write: Callable[[np.ndarray, Answer, Sequence[Path]], None],
    batch: int,
    kind: Callable[[tuple[int, ...]], tuple[int, ...]] = lambda shape: shape,
    progress: bool = True,
    what: str = "map",
    rendering: Rendering = BY_FILE,
) -> FolderResult:
    """Predicts every image below `images` and writes `OUT/STEM.png` for each of `outs`, keeping subfolders.

    Two images of one folder that differ only in their extension keep it: `a.jpg.png` and `a.bmp.png`. Images below one
    of `outs` are results of an earlier call and left out.

    Args:
      predict: uint8 images [h w c] of one kind → an answer each.
      write: takes the image, its answer and the file to write in each of `outs`.
      batch: most images in a call of `predict`. kind: of an image's shape; those that agree in it go together.
      what: a result's name in messages. rendering: as `jaxqc.data.decode.read_image`.

    Raises:
      UserError: no images there, two results of one name, one that would replace an image, an unwritable file, or
        another program that writes into one of `outs`.
    """
    samples, account = images_in(images, outs)
    targets = [_targets(samples, Path(images), Path(out), what) for out in outs]
    written: list[Path] = []
    with ExitStack() as stack:
        for out in outs:
            stack.enter_context(locked(out))
        for sample, image, answer in answered(samples, account, predict, batch, kind, progress, rendering):
            files = [of[sample.image] for of in targets]
            try:
                for file in files:
                    file.parent.mkdir(parents=True, exist_ok=True)
                write(image, answer, files)
            except OSError as e:
                raise UserError(f"{printable(files[0])}: cannot be written ({e.strerror or e})") from e
            written.append(files[0])
    return FolderResult(tuple(written), tuple(account.unreadable), account.images_per_second, account.notes)


def _targets(samples: tuple[Sample, ...], root: Path, out: Path, what: str) -> dict[Path, Path]:
    """Image file → result file."""
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
            raise UserError(f"{printable(sample.image)}: its {what} would replace an image; give another --out folder")
        if target in taken:
            both = f"{printable(taken[target])} and {printable(sample.image)}"
            raise UserError(f"{both}: their {what}s would have one name; rename one of them")
        taken[target] = sample.image
    return targets
