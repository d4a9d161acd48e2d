"""MT Defect (magnetic tiles) as published: `MT_<class>/Imgs/exp<E>_num_<N>.jpg` with the mask `.png` of the same name.

Y. Huang, C. Qiu, K. Yuan, "Surface defect saliency of magnetic tile", The Visual Computer 36, 2020: 1344 images, five
kinds of defects and `Free`. A tile was shot in a row under several exposures E, and N counts on over the shots, so
neighbours in N show the same tile: a sample's group is its run of numbers without a gap above 300. Nothing says which
normal samples train: groups with a defect test here, and of the other groups four in five train.
"""

import dataclasses
import re
from itertools import pairwise
from pathlib import Path

from jaxqc.data.dataset import Dataset
from jaxqc.data.grouped import propose_split
from jaxqc.data.normals import means_normal
from jaxqc.data.problems import Problem, printable
from jaxqc.data.readers.folder import image_files
from jaxqc.data.readers.matching import Gathering, folders

PREFIX = "MT_"
NORMAL = "Free"
GAP = 300
"""Shots of one tile lie closer in number than this (sorted numbers of the whole set leave few gaps near it)."""
TRAIN_SHARE = 0.8
_NUMBER = re.compile(r"exp\d+_num_(\d+)")


def is_mt(path: Path) -> bool:
    """True where the folder holds the folders of the classes."""
    return path.is_dir() and any(p.name.startswith(PREFIX) and (p / "Imgs").is_dir() for p in folders(path))


def scan(path: Path) -> tuple[Dataset, list[Problem]]:
    """Classes are the folders' names without `MT_`, sorted. Raises `UserError` where there are no images."""
    found = Gathering(path, NORMAL)
    kinds = set()
    for folder in folders(path):
        if not folder.name.startswith(PREFIX) or not (folder / "Imgs").is_dir():
            continue
        name = printable(folder.name.removeprefix(PREFIX))
        kind = NORMAL if means_normal(name) else name
        kinds.add(kind)
        files = image_files(folder / "Imgs")
        masks = {f.stem: f for f in files if f.suffix.lower() == ".png"}
        for file in files:
            if file.suffix.lower() != ".png":
                mask = masks.pop(file.stem, None)
                found.add(file.stem, file, kind, "", [mask] if mask else [], f"{folder.name}/Imgs/{file.stem}.png")
        found.stray(masks.values(), f"{folder.name}/Imgs")
    dataset, problems = found.finish(sorted(kinds))
    return propose_split(_grouped(dataset), TRAIN_SHARE), problems


def _grouped(dataset: Dataset) -> Dataset:
    """Names each sample's group after the first number of its run; one named otherwise stays alone."""
    matches = [_NUMBER.fullmatch(s.id) for s in dataset.samples]
    numbers = sorted({int(match[1]) for match in matches if match})
    start = {n: n for n in numbers}
    for before, number in pairwise(numbers):
        if number - before <= GAP:
            start[number] = start[before]
    samples = tuple(
        dataclasses.replace(s, group=str(start[int(match[1])])) if match else s
        for s, match in zip(dataset.samples, matches, strict=True)
    )
    return dataclasses.replace(dataset, samples=samples)
