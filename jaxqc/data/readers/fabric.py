"""The fabric data set of dot-, star- and box-patterned cloth: a folder a pattern, in it a folder a kind, and masks.

C. Tsang, H. Ngan, G. Pang, "Fabric inspection based on the Elo rating method", Pattern Recognition 51, 2016: of each of
three patterns 25 normal and 25 defective images of 256 x 256 grey, five kinds of defects. The paper fixes no layout on
disk. Assumed here, and what to bring the files into (also own data with a folder a class): `<pattern>/` with the normal
images in a folder called `defect-free` (`good`, `normal`, ...), the defective ones in a folder a kind, and their masks
in `ground_truth/<kind>/` (or all in `ground_truth/`; also called `masks`) under their image's name, or nowhere. Six in
ten normal images train, drawn by name; all of them where there are no defective ones.
"""

from pathlib import Path

from jaxqc.data.dataset import Dataset
from jaxqc.data.grouped import propose_split
from jaxqc.data.normals import NORMAL, means_normal
from jaxqc.data.problems import Problem, printable
from jaxqc.data.readers.folder import image_files
from jaxqc.data.readers.matching import Gathering, folders, mask_table, named, normal_folder, paired

TRUTH = "ground_truth"
TRAIN_SHARE = 0.6


def is_fabric(path: Path) -> bool:
    """True where the folder has a folder of normal images."""
    return normal_folder(path) is not None


def scan(path: Path) -> tuple[Dataset, list[Problem]]:
    """Pairs images and masks by kind and name. Raises `UserError` where there are no images."""
    found = Gathering(path)
    truth = named(path, TRUTH) or named(path, "masks") or path / TRUTH
    flat = truth.is_dir() and not any(image_files(p, recursive=True) for p in folders(truth))
    shared = mask_table(truth) if flat else {}
    for folder in folders(path):
        if folder == truth:
            continue
        normal = means_normal(folder.name)
        pairs, left = paired(folder, truth / folder.name, without=flat or normal)
        for file, own in pairs:
            ident = file.relative_to(path).with_suffix("").as_posix()
            place = f"{truth.name}/{printable(folder.name)}/{file.stem}.png" if truth.is_dir() else ""
            masks = shared.pop(file.stem, []) if flat and not normal else own
            found.add(ident, file, NORMAL if normal else printable(folder.name), "", masks, place)
        found.stray(left, folder.name)
    found.stray([file for files in shared.values() for file in files], path.name)
    dataset, problems = found.finish()
    return propose_split(dataset, TRAIN_SHARE), problems
