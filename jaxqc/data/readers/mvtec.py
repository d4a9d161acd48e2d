"""The shape that MVTec AD made common: `train/good`, `test/<kind>`, `ground_truth/<kind>`; a folder is one category.

- `mvtec`: masks `NNN_mask.png` (any own data in this shape too: good images alone, test images alone, or no masks at
  all). P. Bergmann et al., "MVTec AD - a comprehensive real-world dataset for unsupervised anomaly detection", CVPR
  2019; 15 categories.
- `loco`: also `validation/good`; masks are `NNN/*.png`, one a region, whose values give the kind of defect: the mask is
  their union. P. Bergmann et al., "Beyond dents and scratches", IJCV 2022 (MVTec LOCO AD); 5 categories.
- `btad`: `train/ok`, `test/ok`, `test/ko`, masks `ground_truth/ko/NNNN.png` or `.bmp`. P. Mishra et al., "VT-ADL", ISIE
  2021; 3 products.
- `textured`: two woven textures, grey, 100 normal images each for training and 50 defective for testing. P. Bergmann et
  al., "Improving unsupervised defect segmentation by applying structural similarity to autoencoders", 2019. Assumed
  here: a folder a texture in the shape of `mvtec`, where `test/good` may be absent and masks have their image's name,
  with or without `_mask`.
"""

from pathlib import Path

from jaxqc.data.dataset import Dataset
from jaxqc.data.normals import NORMAL, means_normal
from jaxqc.data.problems import Problem, printable
from jaxqc.data.readers.matching import IMAGES, MASKS, Gathering, folders, named, normal_folder, paired

TRUTH = "ground_truth"
SPLITS = {"train": "train", "validation": "val", "val": "val", "test": "test"}
"""Folder → split."""


def is_mvtec(path: Path) -> bool:
    """True where the folder has normal samples for training, or nothing for it and test images in folders of kinds.

    Folders called images and masks are none of kinds.
    """
    if normal_folder(path / "train") is not None:
        return True
    return not _kinds(path, "train") and bool(_kinds(path, "test")) and not named(path / "test", *IMAGES, *MASKS)


def is_loco(path: Path) -> bool:
    """As `is_mvtec`, with normal samples for validation."""
    return is_mvtec(path) and normal_folder(path / "validation") is not None


def is_btad(path: Path) -> bool:
    """As `is_mvtec`, with BTAD's names."""
    return is_mvtec(path) and (path / "train" / "ok").is_dir()


def _kinds(path: Path, top: str) -> list[Path]:
    return folders(path / top) if (path / top).is_dir() else []


def scan(path: Path, nonzero: bool = False) -> tuple[Dataset, list[Problem]]:
    """All images in the folders of the splits and below; the class is the folder's name, of normal ones `good`.

    `nonzero`: every mask value but 0 is defect. A set without a folder of masks has none, which is no problem of each
    image: detectors are fitted and images judged without.

    Raises:
      UserError: no images.
    """
    found, masked = Gathering(path), (path / TRUTH).is_dir()
    for top, split in SPLITS.items():
        for folder in _kinds(path, top):
            normal = means_normal(folder.name)
            pairs, left = paired(folder, path / TRUTH / folder.name, without=normal)
            for file, masks in pairs:
                place = f"{TRUTH}/{printable(folder.name)}/{file.stem}_mask.png"
                kind = NORMAL if normal else printable(folder.name)
                ident = file.relative_to(path).with_suffix("").as_posix()
                found.add(ident, file, kind, split, masks, place if masked else "", nonzero=nonzero)
            found.stray(left, f"{top}/{folder.name}")
    return found.finish()


def scan_loco(path: Path) -> tuple[Dataset, list[Problem]]:
    """As `scan`, for masks whose values distinguish kinds of defects."""
    return scan(path, nonzero=True)
