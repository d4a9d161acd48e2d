"""The check of a set of label maps: what `jaxqc data check` prints of a folder with a manifest."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from jaxqc.data.check import DataReport, report_of
from jaxqc.data.dataset import Sample, with_rendering
from jaxqc.data.decode import MAX_PIXELS
from jaxqc.data.label_maps import LabelMaps
from jaxqc.data.problems import Problem, printable
from jaxqc.data.rendering import BY_FILE, Rendering
from jaxqc.errors import UserError
from jaxqc.semi.data import manifest_of, scan_pairs
from jaxqc.semi.labels import read_labels, refuse_unclear, trained_voids
from jaxqc.semi.manifest import FILES


def is_label_set(path: str | Path, layout: str = "auto") -> bool:
    """True: a folder whose manifest names the classes of label maps.

    Examples:
      >>> is_label_set("nowhere")
      False
    """
    file = next((f for name in FILES if (f := Path(path) / name).is_file()), None)
    if layout != "auto" or file is None:
        return False
    try:
        found = json.loads(file.read_text("utf-8-sig"))
    except (OSError, ValueError):
        return True  # reading it will say what is wrong
    if isinstance(found, dict):
        return "classes" in found
    return isinstance(found, list) and all(isinstance(name, str) for name in found)  # others list files, as records


def check_label_maps(
    path: str | Path,
    max_pixels: int = MAX_PIXELS,
    progress: Callable[[int, int], None] | None = None,
    rendering: Rendering = BY_FILE,
) -> DataReport:
    """Decodes every image and label map of a set, as its manifest reads them, and collects what is wrong.

    rendering: as `jaxqc.data.decode.read_image`.

    Raises:
      UserError: no data set there, or a manifest that contradicts itself.
    """
    root = Path(path)
    dataset, found = scan_pairs(root)
    manifest = manifest_of(root, dataset)
    where = f"{printable(root)}: masks"

    def read(sample: Sample, most: int) -> np.ndarray:
        mask = sample.mask or Path()
        inside = mask.relative_to(root) if mask.is_relative_to(root) else mask
        return read_labels(root, inside.as_posix(), manifest, most)

    def problems(counts: list[np.ndarray | None]) -> list[Problem]:
        known = [c for c in counts if c is not None]
        out = [Problem(dataset.name, "void-class", line, "warning") for line in trained_voids(manifest)]
        try:
            refuse_unclear(manifest, [(int(c[-1]), int(c[0]), int(c[1:-1].sum())) for c in known], where)
        except UserError as e:
            out.append(Problem(dataset.name, "unclear-255", str(e)))
        total = np.sum(known, axis=0) if known else np.ones(len(manifest.classes) + 1)
        absent = [name for name, n in zip(manifest.classes, total, strict=False) if not n]
        return out + [Problem(dataset.name, "no-pixels", f"no mask shows {name!r}", "warning") for name in absent]

    dataset = with_rendering(dataset, rendering)
    return report_of(root, dataset, found, max_pixels, progress, LabelMaps(manifest.classes, read, problems))
