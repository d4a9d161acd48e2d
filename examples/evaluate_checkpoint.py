"""A team's own evaluation: a checkpoint or an export, a folder of images, masks under the same names, an own metric.

    python examples/evaluate_checkpoint.py runs/first images masks

Here a defect counts as found where a tenth of its pixels are marked, and a false alarm is a marked image without one.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

import jaxqc

EVERY_NEIGHBOUR = np.ones((3, 3))


def marked(output: np.ndarray, threshold: float) -> np.ndarray:
    """A label map marks what is not class 0 (background), a defect map what reaches the threshold."""
    return output > 0 if output.dtype == np.uint8 else output >= threshold


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("images", type=Path)
    parser.add_argument("masks", type=Path)
    parser.add_argument("--threshold", type=float, default=0.5)
    args = parser.parse_args()

    model = jaxqc.load(args.checkpoint)
    masks = {path.stem: path for path in args.masks.iterdir()}
    files = sorted(path for path in args.images.iterdir() if path.stem in masks)
    defects = found = clean = alarms = 0
    for start in range(0, len(files), 16):  # so that memory does not grow with the folder
        batch = files[start : start + 16]
        images = [np.asarray(Image.open(path).convert("RGB")) for path in batch]
        for path, output in zip(batch, model.predict(images), strict=True):
            mark = marked(output, args.threshold)
            truth = np.asarray(Image.open(masks[path.stem]).convert("L")) > 127
            regions, count = ndimage.label(truth, EVERY_NEIGHBOUR)
            shares = ndimage.mean(mark, regions, range(1, count + 1)) if count else []
            defects, found = defects + count, found + int(np.sum(np.asarray(shares) >= 0.1))
            clean, alarms = clean + (count == 0), alarms + (count == 0 and bool(mark.any()))
    print(f"{len(files)} images, {found} of {defects} defects found, {alarms} of {clean} images falsely marked")


if __name__ == "__main__":
    main()
