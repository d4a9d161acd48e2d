"""Runs an ONNX export with onnxruntime and NumPy alone: no JAX, no jaxqc.

python examples/use_onnx.py exports/tiles image.png
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", type=Path)
parser.add_argument("image", nargs="?", help="default: the golden images, whose outputs are compared")
args = parser.parse_args()

meta = json.loads((args.folder / "meta.json").read_text("utf-8"))
session = onnxruntime.InferenceSession(args.folder / "model.onnx", providers=onnxruntime.get_available_providers())
names = [output.name for output in session.get_outputs()]
golden = dict(np.load(args.folder / "golden.npz"))

batch, height, width, _ = meta["input"]["shape"]
images = golden["image"]
if args.image:
    images = np.asarray(Image.open(args.image).convert("RGB").resize((width, height)))[None]
if isinstance(batch, int):
    images = np.resize(images, (batch, *images.shape[1:]))

for name, value in zip(names, session.run(names, {"image": images}), strict=True):
    print(f"{name:14} {value.dtype} {list(value.shape)}  {meta['outputs'][name]['meaning']}")
    if not args.image:
        apart = np.abs(value.astype(np.float64) - golden[name][: len(value)]).max()
        print(f"{'':14} largest difference from the golden output {apart:.1e}")
