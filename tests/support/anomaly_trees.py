"""Tiny data sets on disk in the published layouts of the anomaly-detection sets."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (24, 16)
"""Height and width of every image."""
_rng = np.random.default_rng(11)


def image(file: Path, size: tuple[int, int] = SIZE) -> None:
    """Grey noise; no two files are equal."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(_rng.integers(0, 256, size).astype(np.uint8)).save(file)


def mask(file: Path, boxes: tuple[tuple[int, int], ...] = ((2, 3),), value: int = 255) -> None:
    """Squares of 4 x 4 pixels at (top, left); none of them = empty."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros(SIZE, np.uint8)
    for top, left in boxes:
        pixels[top : top + 4, left : left + 4] = value
    Image.fromarray(pixels).save(file)


def mvtec(root: Path) -> Path:
    for i in range(3):
        image(root / f"train/good/{i:03}.png")
    image(root / "test/good/000.png")
    for kind in ("hole", "cut"):
        for i in range(2):
            image(root / f"test/{kind}/{i:03}.png")
            mask(root / f"ground_truth/{kind}/{i:03}_mask.png")
    (root / "license.txt").write_text("x")
    return root


def loco(root: Path) -> Path:
    for i in range(2):
        image(root / f"train/good/{i:03}.png")
    image(root / "validation/good/000.png")
    image(root / "test/good/000.png")
    for kind in ("logical_anomalies", "structural_anomalies"):
        image(root / f"test/{kind}/000.png")
        mask(root / f"ground_truth/{kind}/000/000.png", ((0, 0),), 255)
        mask(root / f"ground_truth/{kind}/000/001.png", ((10, 8),), 21)
    (root / "defects_config.json").write_text("[]")
    return root


def btad(root: Path) -> Path:
    for i in range(2):
        image(root / f"train/ok/{i:04}.bmp")
        image(root / f"test/ko/{i:04}.bmp")
        mask(root / f"ground_truth/ko/{i:04}.png")
    image(root / "test/ok/0000.bmp")
    return root


def visa(root: Path) -> Path:
    rows = ["object,split,label,image,mask"]
    for i, split in enumerate(("train", "train", "test")):
        image(root / f"Data/Images/Normal/{i:04}.JPG")
        rows.append(f"{root.name},{split},normal,{root.name}/Data/Images/Normal/{i:04}.JPG,")
    image(root / "Data/Images/Anomaly/000.JPG")
    mask(root / "Data/Masks/Anomaly/000.png", value=3)
    rows.append(
        f"{root.name},test,anomaly,{root.name}/Data/Images/Anomaly/000.JPG,{root.name}/Data/Masks/Anomaly/000.png"
    )
    rows.append("other,test,normal,other/Data/Images/Normal/0000.JPG,")
    file = root.parent / "split_csv/1cls.csv"
    file.parent.mkdir()
    file.write_text("\n".join(rows) + "\n")
    return root


def ksdd(root: Path) -> Path:
    for board in ("kos01", "kos02", "kos10", "kos50"):
        for part in range(3):
            image(root / board / f"Part{part}.jpg")
            mask(root / board / f"Part{part}_label.bmp", ((2, 3),) if part == 1 else ())
    return root


def ksdd2(root: Path) -> Path:
    for split, first in (("train", 10000), ("test", 20000)):
        for i in range(first, first + 3):
            image(root / split / f"{i}.png")
            mask(root / split / f"{i}_GT.png", ((2, 3),) if i == first else ())
    return root


def mt(root: Path) -> Path:
    numbers = {"Free": (100, 120, 5000, 5021, 9000, 12000), "Blowhole": (140, 5060), "Uneven": (20000,)}
    for kind, chosen in numbers.items():
        for number in chosen:
            name = f"exp{number % 6 + 1}_num_{number}"
            image(root / f"MT_{kind}/Imgs/{name}.jpg")
            mask(root / f"MT_{kind}/Imgs/{name}.png", () if kind == "Free" else ((2, 3),))
    (root / "README.md").write_text("x")
    return root


def rsdds(root: Path) -> Path:
    for i in (1, 2, 10, 11):
        image(root / f"Rail surface images/rail_{i}.jpg")
        mask(root / f"GroundTruth/rail_{i}.jpg")
    return root


def aitex(root: Path) -> Path:
    for name in ("0001_002_00", "0044_019_04", "0099_999_01"):
        image(root / f"Defect_images/{name}.png")
    mask(root / "Mask_images/0001_002_00_mask.png")
    mask(root / "Mask_images/0044_019_04_mask1.png", ((0, 0),))
    mask(root / "Mask_images/0044_019_04_mask2.png", ((10, 8),))
    mask(root / "Mask_images/0099_999_01_mask.png")
    for fabric in ("2306881-210020u", "2306894-210033u"):
        for i in range(5):
            image(root / f"NODefect_images/{fabric}/{i:04}_000_0{fabric[6]}.png")
    return root


def nanotwice(root: Path) -> Path:
    for i in range(2):
        image(root / f"Normal/ITIA10{i}.tif")
    for i in range(3):
        image(root / f"Anomalous/images/ITIA11{i}.tif")
        mask(root / f"Anomalous/gt/ITIA11{i}_gt.png")
    return root


def fabric(root: Path) -> Path:
    for i in range(4):
        image(root / f"defect-free/{i}.bmp")
    for kind in ("hole", "thin bar"):
        image(root / kind / "1.bmp")
        mask(root / "ground_truth" / kind / "1.png")
    return root


def textured(root: Path) -> Path:
    for i in range(2):
        image(root / f"train/good/{i:03}.png")
        image(root / f"test/defective/{i:03}.png")
        mask(root / f"ground_truth/defective/{i:03}.png")
    return root


TREES: dict[str, Callable[[Path], Path]] = {
    f.__name__: f for f in (mvtec, loco, visa, btad, ksdd, ksdd2, mt, rsdds, aitex, nanotwice, fabric, textured)
}
