"""Several products below one folder, each a folder in the shape of MVTec AD (`jaxqc.data.readers.mvtec`)."""

import dataclasses
from pathlib import Path

from jaxqc.data.dataset import Dataset
from jaxqc.data.normals import NORMAL
from jaxqc.data.problems import Problem, printable
from jaxqc.data.readers import mvtec
from jaxqc.data.walk import folders


def is_products(path: Path) -> bool:
    """True where two folders or more have the shape of MVTec AD."""
    return sum(mvtec.is_mvtec(place) for place in folders(path)) > 1


def scan(path: Path) -> tuple[Dataset, list[Problem]]:
    """The products' samples, `PRODUCT/` before each id and group; kinds of the same name are one class.

    Raises:
      UserError: a product without images.
    """
    problems: list[Problem] = []
    found: list[tuple[str, Dataset]] = []
    for place in folders(path):
        name = printable(place.name)
        if not mvtec.is_mvtec(place):
            message = f"{printable(place)}: no product (no train/good): left out"
            problems.append(Problem(name, "no-product", message, "warning"))
            continue
        own, wrong = (mvtec.scan_loco if mvtec.is_loco(place) else mvtec.scan)(place)
        problems += [dataclasses.replace(p, where=f"{name}/{p.where}") for p in wrong]
        found.append((name, own))
    kinds = {kind for _, own in found for kind in own.classes} - {NORMAL}
    classes = (NORMAL, *sorted(kinds))
    samples = tuple(
        dataclasses.replace(
            s,
            id=f"{name}/{s.id}",
            group=s.group and f"{name}/{s.group}",
            label=classes.index(own.classes[s.label]) if s.label >= 0 else s.label,
            product=name,
        )
        for name, own in found
        for s in own.samples
    )
    return Dataset(printable(path.resolve().name), classes, samples), problems
