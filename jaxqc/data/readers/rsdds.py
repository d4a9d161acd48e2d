"""RSDDs as published: `Type-I RSDDs dataset/` and `Type-II RSDDs dataset/`, each with images and `GroundTruth/`.

J. Gan, Q. Li, J. Wang, H. Yu, "A hierarchical extractor-based visual rail surface inspection system", IEEE Sensors
Journal 17(23), 2017: 67 rails of express and 128 of heavy lines, long narrow images with one defect or more each. The
two types are two data sets. Assumed here: the images lie in `Rail surface images/` (else in the only other folder that
holds images), and a mask has its image's name.

No image is normal: cut them (`jaxqc.data.crops`), and the crops without a defect are. No split is published: half of
the images train here, drawn by name; all crops of an image go with it.
"""

from pathlib import Path

from jaxqc.data.dataset import Dataset
from jaxqc.data.grouped import propose_split
from jaxqc.data.normals import NORMAL
from jaxqc.data.problems import Problem
from jaxqc.data.readers.folder import image_files
from jaxqc.data.readers.matching import DEFECT, Gathering, folders, mask_table, named

IMAGES, TRUTH = "Rail surface images", "GroundTruth"
TRAIN_SHARE = 0.5


def is_rsdds(path: Path) -> bool:
    """True where the folder has the two folders under their published names."""
    return named(path, TRUTH) is not None and named(path, IMAGES) is not None


def has_truth(path: Path) -> bool:
    """True where the folder has masks, and one other folder with images."""
    return _folders(path) is not None


def scan(path: Path) -> tuple[Dataset, list[Problem]]:
    """Pairs images and masks by name. Raises `UserError` where there are no images."""
    found = Gathering(path)
    images, truth = _folders(path) or (path / IMAGES, path / TRUTH)
    masks = mask_table(truth)
    for file in image_files(images):
        found.add(file.stem, file, DEFECT, "", masks.pop(file.stem, ()), f"{truth.name}/{file.name}")
    found.stray([file for files in masks.values() for file in files], images.name)
    dataset, problems = found.finish((NORMAL, DEFECT))
    return propose_split(dataset, TRAIN_SHARE, mixed=True), problems


def _folders(path: Path) -> tuple[Path, Path] | None:
    truth, images = named(path, TRUTH), named(path, IMAGES)
    if truth is not None and images is None:
        others = [p for p in folders(path) if p != truth and image_files(p)]
        images = others[0] if len(others) == 1 else None
    return (images, truth) if images and truth else None
