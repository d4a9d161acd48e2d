"""Shared parts of the readers of annotations: images found by their names, classes of their regions, the index."""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

from jaxqc.data.annotations.colors import is_background
from jaxqc.data.annotations.shapes import Drawing, Region, Shape
from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.normals import NORMAL
from jaxqc.data.problems import Problem, printable
from jaxqc.data.readers.folder import image_files
from jaxqc.errors import UserError


class Images:
    """The images below a folder, found by the names that annotations have for them. without: pictures that are none."""

    def __init__(self, root: Path, without: Callable[[Path], bool] = lambda file: False) -> None:
        self.root = root
        self.files = [file for file in image_files(root, recursive=True) if not without(file)]
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        for file in self.files:
            self._by_name[file.name].append(file)

    def find(self, name: str, beside: Path, hint: str = "") -> Path:
        """The image of that name: the one whose path ends as `name` does, of several the one nearest to the annotations
        `beside`, or below a folder called `hint`.

        Raises:
          UserError: none, or several that are equally near.
        """
        wanted = PurePosixPath(PureWindowsPath(name).as_posix() if "\\" in name else name)
        found = self._by_name.get(wanted.name, [])
        for parts in (wanted.parts, wanted.parts[-1:]):
            ending = [f for f in found if f.parts[-len(parts) :] == parts]
            if not ending:
                continue
            near = [f for f in ending if hint and hint in f.relative_to(self.root).parts] or ending
            near = [f for f in near if f.is_relative_to(beside)] or near if len(near) > 1 else near
            if len(near) > 1:
                names = ", ".join(printable(f.relative_to(self.root)) for f in near[:3])
                raise UserError(f"image {printable(name)!r} may be any of {names}; give the path in the annotations")
            return near[0]
        raise UserError(f"image {printable(name)!r} is not below {printable(self.root)}; add it or the right path")


class _Entry(NamedTuple):
    sample: Sample
    file: Path
    regions: list[tuple[Shape | None, str, str]]
    size: tuple[int, int] | None = None


class Annotated:
    """Samples of annotated images; their class is that of their regions, of several all names joined by `+`."""

    def __init__(self, root: Path, how: str) -> None:
        self.root, self.how = root, how
        self.problems: list[Problem] = []
        self._entries: dict[str, _Entry] = {}
        self._told: Counter[str] = Counter()
        self._assumed: Counter[str] = Counter()

    def add(
        self,
        image: Path,
        file: Path,
        regions: Iterable[tuple[Shape | None, str, str]],
        split: str = "",
        size: tuple[int, int] | None = None,
        assumed: str = "",
    ) -> None:
        """One image. regions: (shape, class, place in the file); a shape of None has a class but no area: a box, a
        point or a line. Regions of a class that means good or background count as nothing.

        assumed: words on what was taken for granted about images as this one.
        """
        ident = self._ident(image)
        if ident in self._entries:
            self.fault(ident, "duplicate-id", f"{printable(file)}: image {printable(image.name)} is annotated twice")
            return
        kept: list[tuple[Shape | None, str, str]] = []
        for shape, kind, where in regions:
            if is_background(kind):
                self._told[f"regions of {printable(kind)} are no defects"] += 1
            else:
                kept.append((shape, printable(kind), where))
        vague = any(shape is None for shape, _, _ in kept)
        sample = Sample(ident, image, None if vague else file, split=split, normal=not kept)
        self._entries[ident] = _Entry(sample, file, kept, size)
        self._told["images have no annotated defect and are good"] += not kept
        if vague:
            assumed = "images have boxes, lines or points, which are no masks: they have a class and no mask"
        if assumed:
            self._assumed[assumed] += 1

    def fault(self, where: str, kind: str, message: str) -> None:
        """An error that keeps one image out."""
        self.problems.append(Problem(where, kind, message))

    def unlisted(self, images: Iterable[Path], file: Path, split: str = "") -> None:
        """Images that the annotations do not name: nobody has looked at them."""
        for image in images:
            ident = self._ident(image)
            if ident not in self._entries:
                self._entries[ident] = _Entry(Sample(ident, image, split=split), file, [])
                self._assumed["images are in no annotation: they have neither mask nor class"] += 1

    def finish(self) -> tuple[Dataset, list[Problem]]:
        """The data set and its problems.

        Raises:
          UserError: no image at all.
        """
        if not self._entries:
            reason = f"; the first: {self.problems[0].message}" if self.problems else ""
            raise UserError(f"{printable(self.root)}: no annotated image{reason}")
        entries = self._entries.values()
        kinds = tuple(sorted({kind for entry in entries for _, kind, _ in entry.regions}))
        of = lambda entry: NORMAL if entry.sample.normal else "+".join(sorted({kind for _, kind, _ in entry.regions}))
        names = {of(entry) for entry in entries} - {""}
        classes = (*[NORMAL] * (NORMAL in names), *sorted(names - {NORMAL}))
        samples = []
        for entry in entries:
            drawn = [Region(shape, kinds.index(kind), where) for shape, kind, where in entry.regions if shape]
            truth = Drawing(entry.file, tuple(drawn), kinds, entry.size) if entry.sample.mask else None
            label = classes.index(of(entry)) if of(entry) else -1
            samples.append(dataclasses.replace(entry.sample, label=label, truth=truth))
        told = (self.how, *(f"{n} {what}" for what, n in self._told.items() if n))
        dataset = Dataset(printable(self.root.resolve().name), classes, tuple(samples), read_as=told)
        notes = (f"{dataset.name}: {n} {what}" for what, n in self._assumed.items() if n)
        return dataset, [*self.problems, *(Problem(dataset.name, "assumed", note, "warning") for note in notes)]

    def _ident(self, image: Path) -> str:
        """The path without its ending, or with it where another image has that already."""
        inside = image.relative_to(self.root)
        ident = printable(inside.with_suffix("").as_posix())
        taken = self._entries.get(ident)
        return ident if taken is None or taken.sample.image == image else printable(inside.as_posix())
