"""NanoTWICE as published: `Normal/*.tif`, `Anomalous/images/*.tif`, `Anomalous/gt/*_gt.png`.

D. Carrera et al., "Defect detection in SEM images of nanofibrous materials", IEEE Trans. Industrial Informatics 13(2),
2017: 45 grey images of 1024 x 700, 5 of them normal. The normal ones train, the others test; cut them for more samples
(`jaxqc.data.crops`), which also gives normal ones to test on.
"""

from pathlib import Path

from jaxqc.data.dataset import Dataset
from jaxqc.data.normals import NORMAL
from jaxqc.data.problems import Problem
from jaxqc.data.readers.folder import image_files
from jaxqc.data.readers.matching import DEFECT, Gathering, mask_table, named

NORMALS, ANOMALOUS, IMAGES, MASKS = "Normal", "Anomalous", "images", "gt"


def is_nanotwice(path: Path) -> bool:
    """True where the folder has normal and anomalous images under the published names."""
    anomalous = named(path, ANOMALOUS)
    return named(path, NORMALS) is not None and anomalous is not None and named(anomalous, IMAGES) is not None


def scan(path: Path) -> tuple[Dataset, list[Problem]]:
    """Pairs images and masks by name. Raises `UserError` where there are no images."""
    found = Gathering(path)
    anomalous = named(path, ANOMALOUS) or path / ANOMALOUS
    masks = mask_table(named(anomalous, MASKS) or anomalous / MASKS)
    for file in image_files(named(path, NORMALS) or path / NORMALS):
        found.add(f"{NORMALS}/{file.stem}", file, NORMAL, "train")
    for file in image_files(named(anomalous, IMAGES) or anomalous / IMAGES):
        place = f"{ANOMALOUS}/{MASKS}/{file.stem}_gt.png"
        found.add(f"{ANOMALOUS}/{file.stem}", file, DEFECT, "test", masks.pop(file.stem, ()), place)
    found.stray([file for files in masks.values() for file in files], f"{ANOMALOUS}/{IMAGES}")
    return found.finish()
