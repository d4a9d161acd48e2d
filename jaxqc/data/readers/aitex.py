"""AITEX as published: `Defect_images/`, `Mask_images/`, `NODefect_images/<fabric>/`, 4096 x 256 grey images of fabric.

J. Silvestre-Blanes et al., "A public fabric database for defect detection methods and results", Autex Research Journal
19(4), 2019: 245 images of 7 fabrics, 140 of them normal. A name is `NNNN_DDD_FF.png`: number, code of the defect (000 =
none), code of the fabric; its mask is `NNNN_DDD_FF_mask.png`, and where there are several (`_mask1`, `_mask2`) the mask
is their union. The published set lacks one mask (0100_025_08), which is reported. No split is published: the defective
images test here, and of the normal ones seven in ten train, drawn by name.
"""

from pathlib import Path

from jaxqc.data.dataset import Dataset
from jaxqc.data.grouped import propose_split
from jaxqc.data.normals import NORMAL
from jaxqc.data.problems import Problem
from jaxqc.data.readers.folder import image_files
from jaxqc.data.readers.matching import DEFECT, Gathering, mask_table, named

IMAGES, MASKS, NORMALS = "Defect_images", "Mask_images", "NODefect_images"
CODES = {
    "002": "broken_end",
    "006": "broken_yarn",
    "010": "broken_pick",
    "016": "weft_curling",
    "019": "fuzzy_ball",
    "022": "cut_selvage",
    "023": "crease",
    "025": "warp_ball",
    "027": "knots",
    "029": "contamination",
    "030": "nep",
    "036": "weft_crack",
}
"""Codes of defects in file names; one that is not listed is a class under its number."""
TRAIN_SHARE = 0.7


def is_aitex(path: Path) -> bool:
    """True where the folder has defective and normal images under the published names."""
    return named(path, IMAGES) is not None and named(path, NORMALS) is not None


def scan(path: Path) -> tuple[Dataset, list[Problem]]:
    """Pairs images and masks by name. Raises `UserError` where there are no images."""
    found = Gathering(path)
    images, normals = named(path, IMAGES), named(path, NORMALS)
    masks = mask_table(named(path, MASKS) or path / MASKS)
    for file in image_files(images or path / IMAGES):
        _, _, code = file.stem.partition("_")
        code = code.split("_")[0]
        kind = CODES.get(code, code) or DEFECT
        found.add(file.stem, file, kind, "", masks.pop(file.stem, ()), f"{MASKS}/{file.stem}_mask.png")
    found.stray([file for files in masks.values() for file in files], IMAGES)
    for file in image_files(normals or path / NORMALS, recursive=True):
        found.add(f"{file.parent.name}/{file.stem}", file, NORMAL, "")
    dataset, problems = found.finish()
    return propose_split(dataset, TRAIN_SHARE), problems
