"""Runs an export with JAX and NumPy alone: no jaxqc, no flax.

python examples/use_export.py exports/first image.png
"""

import argparse
import json
from pathlib import Path

import jax
import numpy as np
from jax import export
from PIL import Image

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", type=Path)
parser.add_argument("image", nargs="?", help="default: the golden images, whose outputs are compared")
args = parser.parse_args()

meta = json.loads((args.folder / "meta.json").read_text("utf-8"))
graph = export.deserialize(bytearray((args.folder / "model.stablehlo").read_bytes()))
weights = jax.device_put(dict(np.load(args.folder / "weights.npz")))
run = jax.jit(graph.call)  # compiled once for each shape of the batch
golden = dict(np.load(args.folder / "golden.npz"))

batch, height, width, _ = meta["input"]["shape"]  # a name, as "b", where any number will do
images = golden["image"]
if args.image:
    picture = Image.open(args.image).convert("RGB")
    picture = picture.resize((width, height)) if isinstance(width, int) else picture
    images = np.asarray(picture)[None]
if isinstance(batch, int):
    images = np.resize(images, (batch, *images.shape[1:]))

for name, value in run(weights, images).items():
    value = np.asarray(value)
    print(f"{name:14} {value.dtype} {list(value.shape)}  {meta['outputs'][name]['meaning']}")
    if not args.image:
        apart = np.abs(value.astype(np.float64) - golden[name][: len(value)]).max()
        print(f"{'':14} largest difference from the golden output {apart:.1e}")
