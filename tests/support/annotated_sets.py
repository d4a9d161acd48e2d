"""Tiny annotated sets in the formats of people's tools: of two images the first has a square, the second nothing."""

import base64
import io
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = (24, 32)
"""Height and width of all images."""
SQUARE = [(4, 6), (12, 6), (12, 14), (4, 14)]
"""Corners x, y of 8 x 8 pixels."""
_rng = np.random.default_rng(8)


def picture(file: Path) -> str:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(_rng.integers(0, 256, SIZE).astype(np.uint8)).save(file)
    return file.name


def square(grown: int = 0) -> np.ndarray:
    mask = np.zeros(SIZE, np.uint8)
    mask[6 : 14 + grown, 4 : 12 + grown] = 1
    return mask


def write(file: Path, value: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(value if isinstance(value, str) else json.dumps(value))


def flat(points: list[tuple[int, int]]) -> list[float]:
    return [float(v) for point in points for v in point]


def coco(root: Path, shape: Any = None, folder: str = "images", name: str = "annotations/instances_train.json") -> None:
    names = [picture(root / folder / f"{i}.png") for i in range(2)]
    images = [{"id": i, "file_name": n, "height": SIZE[0], "width": SIZE[1]} for i, n in enumerate(names)]
    segmentation = [flat(SQUARE)] if shape is None else shape
    annotation = {"id": 1, "image_id": 0, "category_id": 3, "segmentation": segmentation, "bbox": [4, 6, 8, 8]}
    whole = {"images": images, "annotations": [annotation | {"iscrowd": 0}], "categories": [{"id": 3, "name": "pit"}]}
    write(root / name, whole)


def roboflow(root: Path) -> None:
    coco(root, folder="train", name="train/_annotations.coco.json")


def crowd(root: Path) -> None:
    counts, column = [], 0
    for x in range(SIZE[1]):
        column += SIZE[0]
        if 4 <= x < 12:
            counts += [column - SIZE[0] + 6, 8] if not counts else [16, 8]
    counts.append(SIZE[0] * SIZE[1] - sum(counts))
    coco(root, {"size": list(SIZE), "counts": counts})


def panoptic(root: Path) -> None:
    picture(root / "images/0.png")
    picture(root / "images/1.png")
    colours = np.zeros((*SIZE, 3), np.uint8)
    colours[square() > 0] = (4, 1, 0)
    (root / "annotations/panoptic_train").mkdir(parents=True)
    Image.fromarray(colours).save(root / "annotations/panoptic_train/0.png")
    images = [{"id": i, "file_name": f"{i}.png", "height": SIZE[0], "width": SIZE[1]} for i in range(2)]
    annotation = {"image_id": 0, "file_name": "0.png", "segments_info": [{"id": 260, "category_id": 1}]}
    categories = [{"id": 1, "name": "pit"}]
    whole = {"images": images, "annotations": [annotation], "categories": categories}
    write(root / "annotations/panoptic_train.json", whole)


def yolo(root: Path) -> None:
    for i in range(2):
        picture(root / f"train/images/{i}.png")
    shares = " ".join(f"{x / SIZE[1]} {y / SIZE[0]}" for x, y in SQUARE)
    write(root / "train/labels/0.txt", f"1 {shares}\n")
    write(root / "train/labels/1.txt", "")
    write(root / "data.yaml", "train: ../train/images\nnc: 2\nnames: ['dust', 'pit']\n")


def labelme(root: Path) -> None:
    points = [[4, 6], [11, 13]]
    for i in range(2):
        picture(root / f"train/{i}.png")
        shapes = [{"label": "pit", "points": points, "shape_type": "rectangle"}] * (i == 0)
        whole = {"version": "5.5.0", "shapes": shapes, "imagePath": f"{i}.png", "imageData": None}
        write(root / f"train/{i}.json", whole | {"imageHeight": SIZE[0], "imageWidth": SIZE[1]})


def cvat(root: Path) -> None:
    points = ";".join(f"{x}.0,{y}.0" for x, y in SQUARE)
    for i in range(2):
        picture(root / f"images/{i}.png")
    size = f'width="{SIZE[1]}" height="{SIZE[0]}"'
    shape = f'<polygon label="pit" source="manual" occluded="0" points="{points}" z_order="0"></polygon>'
    mask = '<mask label="pit" rle="0, 64" left="4" top="6" width="8" height="8" z_order="1"></mask>'
    one = f'<image id="0" name="0.png" subset="Train" {size}>{shape}{mask}</image>'
    two = f'<image id="1" name="1.png" subset="Train" {size}></image>'
    text = f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>{one}{two}</annotations>'
    write(root / "annotations.xml", text)


def label_studio(root: Path) -> None:
    tasks = []
    for i in range(2):
        picture(root / f"train/{i}.png")
        points = [[100 * x / SIZE[1], 100 * y / SIZE[0]] for x, y in SQUARE]
        value = {"points": points, "polygonlabels": ["pit"], "closed": True}
        result = {"type": "polygonlabels", "value": value, "original_width": SIZE[1], "original_height": SIZE[0]}
        done = {"id": i, "was_cancelled": False, "result": [result] * (i == 0)}
        tasks.append({"id": i, "annotations": [done], "data": {"image": f"/data/upload/1/0a1b2c3d-{i}.png"}})
    write(root / "project-1.json", tasks)


def supervisely(root: Path) -> None:
    write(root / "meta.json", {"classes": [{"title": "pit"}]})
    packed = io.BytesIO()
    Image.fromarray(np.full((8, 8), 255, np.uint8)).save(packed, "PNG")
    data = base64.b64encode(zlib.compress(packed.getvalue())).decode()
    for i in range(2):
        picture(root / f"train/img/{i}.png")
        bitmap = {"classTitle": "pit", "geometryType": "bitmap", "bitmap": {"data": data, "origin": [4, 6]}}
        exterior = [[4, 6], [11, 6], [11, 13], [4, 13]]
        polygon = {"classTitle": "pit", "geometryType": "polygon", "points": {"exterior": exterior, "interior": []}}
        objects = [bitmap, polygon] * (i == 0)
        size = {"height": SIZE[0], "width": SIZE[1]}
        write(root / f"train/ann/{i}.png.json", {"size": size, "objects": objects})


def voc(root: Path) -> None:
    palette = [0, 0, 0, 128, 0, 0, 0, 128, 0]
    for i in range(2):
        picture(root / f"JPEGImages/{i}.png")
        mask = Image.fromarray(square() * np.uint8(1 - i), "P")
        mask.putpalette(palette)
        for folder in ("SegmentationClass", "SegmentationObject"):
            (root / folder).mkdir(exist_ok=True)
            mask.save(root / folder / f"{i}.png")
    write(root / "labelmap.txt", "# label:color_rgb:parts:actions\nbackground:0,0,0::\npit:128,0,0::\ndust:0,128,0::\n")
    write(root / "ImageSets/Segmentation/train.txt", "0\n1\n")


def city(root: Path) -> None:
    """Colours of classes, with a border without a label."""
    for i in range(2):
        picture(root / f"train/images/{i}.png")
        colours = np.full((*SIZE, 3), (70, 70, 70), np.uint8)
        colours[0] = (224, 224, 192)
        colours[square() > 0] = (220, 20, 60) if i == 0 else (70, 70, 70)
        (root / "train/masks").mkdir(exist_ok=True)
        Image.fromarray(colours).save(root / f"train/masks/{i}.png")
    write(root / "manifest.json", {"classes": ["background", "pit"], "colors": [[70, 70, 70], [220, 20, 60]]})


Make = Callable[[Path], None]
FORMATS: dict[str, tuple[str, Make]] = {
    "COCO polygons": ("coco", coco),
    "COCO run lengths": ("coco", crowd),
    "COCO panoptic": ("coco", panoptic),
    "COCO of Roboflow": ("coco", roboflow),
    "YOLO": ("yolo", yolo),
    "labelme": ("labelme", labelme),
    "CVAT": ("cvat", cvat),
    "Label Studio": ("labelstudio", label_studio),
    "Supervisely": ("supervisely", supervisely),
    "Pascal VOC": ("voc", voc),
    "colours of classes": ("pairs", city),
}
