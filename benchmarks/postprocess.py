"""From maps to defects at 1, 8 and 64 images a batch: our path, the same measures by three libraries, and the scoring.

    python -m benchmarks.postprocess --json build/bench/postprocess.jsonl
    python -m benchmarks.postprocess --model tscarnet      # also the share of scoring, by a network of this size

`regions` is what `jaxqc inspect` does after scoring: mask, opening, 8-connected regions, and of each the box, centroid,
oriented length and width, mean and peak score and polygon; `in threads` spreads a batch over the cores. SciPy and
scikit-image do the same work with what they have: their areas are compared with ours before anything is timed.
`plates` are maps of a few defects; `noise` are maps with more than the 64 that an image keeps.
"""

import argparse
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage, spatial

from benchmarks.lib.common import Candidate, arguments, finish, interleave, result
from benchmarks.lib.machine import Row
from benchmarks.lib.networks import CLASSES, chosen_config, model_arguments, random_variables, with_command
from jaxqc.data.synthetic.plates import synthetic_arrays
from jaxqc.inspection.defects import Scored, find_batch, find_regions
from jaxqc.inspection.rules import DefectRules
from jaxqc.metrics.regions import disk, labelled

RULES = DefectRules()
COLUMNS = ("name", "maps", "batch", "side", "defects", "images_per_s", "ms", "spread", "of_scoring")
FOOTPRINT = np.zeros((2 * RULES.opening + 1,) * 2, bool)
FOOTPRINT[tuple((disk(RULES.opening) + RULES.opening).T)] = True

Measures = list[tuple[Any, ...]]


def plates(batch: int, side: int) -> list[np.ndarray]:
    """Maps as a network gives them: defects with soft edges over a little noise."""
    masks = synthetic_arrays(batch, side, seed=2, defect_free=0.0).masks.astype(np.float32)
    soft = ndimage.gaussian_filter(masks, (0, 1, 1))
    noise = ndimage.gaussian_filter(np.random.default_rng(0).random(soft.shape, np.float32), (0, 1, 1))
    return list(np.clip(0.9 * soft + 0.1 * noise, 0, 1))


def noise(batch: int, side: int) -> list[np.ndarray]:
    """Maps with a hundred defects or more at threshold .5."""
    smooth = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=(batch, side, side)), (0, 2.5, 2.5))
    return list((0.42 + smooth / (6 * smooth.std())).astype(np.float32))


def by_scipy(values: np.ndarray) -> Measures:
    """The same measures with SciPy, and contourpy (which matplotlib brings) for the outline."""
    from contourpy import contour_generator

    mask = ndimage.binary_dilation(ndimage.binary_erosion(values >= 0.5, FOOTPRINT, border_value=1), FOOTPRINT)
    regions, count = labelled(mask)
    areas = np.bincount(regions.ravel(), minlength=count + 1)
    boxes = ndimage.find_objects(regions)
    out: Measures = []
    for i in [i for i in np.argsort(-areas[1:], kind="stable") + 1 if areas[i] >= RULES.smallest][: RULES.kept]:
        box = boxes[i - 1]
        inside = regions[box] == i
        scores = values[box][inside]
        rows, columns = np.nonzero(inside)
        edges = np.argwhere(np.pad(inside, 1) & ~ndimage.binary_erosion(np.pad(inside, 1)))
        corners = np.concatenate([edges + np.array((y, x)) for y in (-0.5, 0.5) for x in (-0.5, 0.5)])
        hull = corners[spatial.ConvexHull(corners).vertices]
        outline = contour_generator(z=np.pad(inside, 1).astype(np.float32)).lines(0.499)[0]
        out.append(
            (int(areas[i]), box, rows.mean(), columns.mean(), *_sides(hull), scores.mean(), scores.max(), outline)
        )
    return out


def _sides(hull: np.ndarray) -> tuple[float, float]:
    """Sides of the smallest rectangle round a convex polygon: one of them lies along one of its edges."""
    edges = np.diff(np.vstack([hull, hull[:1]]), axis=0)
    along = edges / np.linalg.norm(edges, axis=1, keepdims=True)
    across = np.stack([-along[:, 1], along[:, 0]], 1)
    sides = np.stack([np.ptp(hull @ along.T, axis=0), np.ptp(hull @ across.T, axis=0)])
    best = sides[:, sides.prod(0).argmin()]
    return float(best.max()), float(best.min())


def by_scikit_image(values: np.ndarray) -> Measures:
    """The same measures with scikit-image; length and width are its ellipse's axes."""
    from skimage import measure, morphology

    regions = measure.label(morphology.binary_opening(values >= 0.5, FOOTPRINT, mode="ignore"), connectivity=2)
    found = [r for r in measure.regionprops(regions, values) if r.area >= RULES.smallest]
    out: Measures = []
    for r in sorted(found, key=lambda r: -r.area)[: RULES.kept]:
        outline = measure.find_contours(np.pad(r.image, 1).astype(np.float32), 0.499)[0]
        polygon = measure.approximate_polygon(outline, RULES.simplify)
        out.append((int(r.area), r.bbox, *r.centroid, r.axis_major_length, r.axis_minor_length, r.intensity_mean,
                    r.intensity_max, polygon))  # fmt: skip
    return out


def candidates(maps: list[np.ndarray], pool: ThreadPoolExecutor) -> dict[str, Candidate]:
    """Every way that is installed; raises AssertionError where one finds other defects."""
    images = [Scored(m) for m in maps]
    ours = [[d.area for d in find_regions(image, 0.5, RULES).defects] for image in images]
    peers: dict[str, Callable[[np.ndarray], Measures]] = {"SciPy": by_scipy}
    try:
        import skimage  # noqa: F401

        peers["scikit-image"] = by_scikit_image
    except ImportError:
        print("scikit-image is not installed: left out")
    for name, call in peers.items():
        assert [[m[0] for m in call(values)] for values in maps] == ours, f"{name} finds other defects"
    out = {
        "regions": Candidate(lambda: list(find_batch(images, 0.5, RULES))),
        "regions in threads": Candidate(lambda: list(find_batch(images, 0.5, RULES, pool=pool))),
    }
    return out | {name: Candidate(lambda call=call: [call(m) for m in maps]) for name, call in peers.items()}


def scoring(args: argparse.Namespace, batch: int, folder: Path) -> Candidate:
    """uint8 images to maps on the host, with random weights."""
    from benchmarks.inference import our_candidates
    from jaxqc.saliency.networks import build

    config = chosen_config(args)
    variables = random_variables(build(config.model.name, len(CLASSES), config.model.width))
    return our_candidates(config, variables, batch, args.side, folder)["jaxqc end to end from uint8"]


def run(args: argparse.Namespace) -> list[Row]:
    rows: list[Row] = []
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ThreadPoolExecutor(cores) as pool, tempfile.TemporaryDirectory() as folder:
        for kind, make, batches in (("plates", plates, args.batches), ("noise", noise, args.noise_batches)):
            for batch in batches:
                maps = make(batch, args.side)
                tasks = candidates(maps, pool)
                if args.model and kind == "plates":
                    tasks["scoring"] = scoring(args, batch, Path(folder) / str(batch))
                count = sum(len(find_regions(Scored(m), 0.5, RULES).defects) for m in maps) / batch
                timings = interleave(tasks, args.rounds, args.seconds)
                for name, timing in timings.items():
                    more: Row = {"maps": kind, "batch": batch, "side": args.side, "defects": round(count, 1)}
                    if "scoring" in timings and name != "scoring":
                        more["of_scoring"] = timing.median / timings["scoring"].median
                    rows.append(result("postprocess", name, timing, images=batch, **more))
    return rows


def main() -> None:
    parser = model_arguments(arguments(__doc__.splitlines()[0]), batch=1)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--noise-batches", type=int, nargs="*", default=[8], help="of the maps with most defects")
    parser.add_argument("--side", type=int, default=200, help="side of the maps")
    args = parser.parse_args()
    finish(with_command(run(args)), args.json, f"maps of {args.side}x{args.side} to defects", COLUMNS)


if __name__ == "__main__":
    main()
