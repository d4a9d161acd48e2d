"""SD-saliency-900 as published: `Source Images/*.bmp`, `Ground truth/*.png`, the class in the name (In_1, Pa_1, Sc_1).

`Free_1` is our addition: a plate without a defect (no class, an empty mask).

G. Song, K. Song, Y. Yan, "Saliency detection for strip steel surface defects using multiple constraints and improved
texture features", Optics and Lasers in Engineering 128, 2020. Inclusion, patches, scratches: 300 images of each.
"""

import re
from pathlib import Path

from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.normals import means_normal
from jaxqc.data.problems import Problem, printable
from jaxqc.data.readers.folder import image_files
from jaxqc.data.walk import folders as folders_in
from jaxqc.errors import UserError

CLASSES = ("In", "Pa", "Sc")
IMAGES, MASKS = "Source Images", "Ground truth"
_NAME = re.compile(r"(In|Pa|Sc|Free)(?![A-Za-z])")


def folders(path: Path) -> tuple[Path, Path] | None:
    """The image and the mask folder, whatever the case of their names; None where one is absent."""
    by_name = {p.name.casefold(): p for p in folders_in(path)}
    images, masks = by_name.get(IMAGES.casefold()), by_name.get(MASKS.casefold())
    return (images, masks) if images and masks else None


def scan(path: Path) -> tuple[Dataset, list[Problem]]:
    """Pairs images and masks by stem. Returns the index of all images with a known class, and what is wrong.

    A sample without a mask stays in (`mask` None) beside its problem, so that later stages can name it.

    Raises:
      UserError: the two folders are absent or hold no image.
    """
    found = folders(path)
    if found is None:
        raise UserError(f"{printable(path)}: expected the folders '{IMAGES}' and '{MASKS}' (layout sd900)")
    problems: list[Problem] = []
    masks: dict[str, Path] = {}
    for file in image_files(found[1]):
        if file.stem in masks:
            problems.append(_duplicate(file, masks[file.stem]))
        masks.setdefault(file.stem, file)
    images: dict[str, Path] = {}
    samples: list[Sample] = []
    for file in image_files(found[0]):
        if file.stem in images:
            problems.append(_duplicate(file, images[file.stem]))
            continue
        images[file.stem] = file
        match = _NAME.match(file.stem)
        if match is None:
            message = f"{printable(file)}: no class in the name; it must begin with In, Pa, Sc or Free (as In_1.bmp)"
            problems.append(Problem(printable(file.stem), "unknown-class", message))
            continue
        mask = masks.get(file.stem)
        if mask is None:
            message = f"{printable(file)}: no mask '{MASKS}/{printable(file.stem)}.png'; add it or remove the image"
            problems.append(Problem(printable(file.stem), "missing-mask", message))
        label = CLASSES.index(match[1]) if match[1] in CLASSES else -1
        samples.append(Sample(printable(file.stem), file, mask, label, normal=means_normal(match[1])))
    for stem in masks.keys() - images.keys():
        message = f"{printable(masks[stem])}: a mask without an image in '{IMAGES}'"
        problems.append(Problem(printable(stem), "stray-mask", message, "warning"))
    if not images:
        raise UserError(f"{printable(found[0])}: no images in this folder (looked for .bmp, .png, .jpg, ...)")
    return Dataset(printable(path.resolve().name), CLASSES, tuple(samples)), problems


def _duplicate(file: Path, other: Path) -> Problem:
    message = f"{printable(file)}: has the same id as {printable(other.name)}; rename or remove one"
    return Problem(printable(file.stem), "duplicate-id", message)
