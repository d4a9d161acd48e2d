"""Makes the shipped backbone: stem and layers 1 and 2 of ResNet-18, with a head of their own, learn generated textures.

    python scripts/train_texture_backbone.py --out runs/textures
    python scripts/train_texture_backbone.py --out runs/textures --keep jaxqc/weights/data/synthetic_resnet18.npz

DIR/data gets the images (`jaxqc.data.synthetic.textures`), DIR/run the training run, and --keep (by default
DIR/backbone.npz) the weights, kernels in half precision. Nothing is downloaded. Any field of the recipe is a flag.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

# Textures are made by many tiny matrix products, which a thread pool slows down. Read when numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxqc.config import load_config
from jaxqc.data.classes import open_classes
from jaxqc.data.splits import apply_protocol
from jaxqc.data.synthetic.textures import CLASSES, PATTERNS, TINTS, write_classes
from jaxqc.errors import UserError
from jaxqc.memory import use_huge_pages
from jaxqc.models.pretrained import flatten
from jaxqc.models.resnet import ResNet, build_backbone
from jaxqc.nn.conv import Pointwise
from jaxqc.overrides import override
from jaxqc.pretraining.method import Classifier
from jaxqc.pretraining.train import digest
from jaxqc.training.checkpoint import load_variables
from jaxqc.training.loop import run
from jaxqc.types import AXIS, Batch, Variables
from jaxqc.version import __version__
from jaxqc.weights.files import write_own
from jaxqc.weights.load import FORMAT

DRAWN = 64
"""Side in pixels of the images on disk."""
RECIPE = "resnet18_textures"
KEPT = (1, 2)
"""Layers that are trained and shipped; what a detector at 128 pixels uses."""


class Shallow(nn.Module):
    """`KEPT` layers of a ResNet, pooled by mean and maximum (a mark is small), normalised, and two linear heads.

    A class is a pattern and a tint: its logit is the sum of theirs, so the joint softmax is the product of two.
    """

    backbone: ResNet
    axis_name: str | None = None

    @nn.compact
    def __call__(self, image: jax.Array, train: bool = False) -> dict[str, jax.Array]:
        x = list(self.backbone(image, train).values())
        pooled = jnp.concatenate([*(y.mean((1, 2)) for y in x), *(y.max((1, 2)) for y in x)], -1)
        pooled = nn.BatchNorm(use_running_average=not train, momentum=0.9, axis_name=self.axis_name)(pooled)
        pattern = Pointwise(len(PATTERNS), name="pattern")(pooled)
        tint = Pointwise(len(TINTS), name="tint")(pooled)
        return {"logits": (pattern[:, :, None] + tint[:, None, :]).reshape(len(x[0]), -1)}


class TextureClassifier(Classifier):
    """The classifier's method with the shallow network; while it learns, faint images are stretched by a random part of
    what they lack: most of them say little to fresh weights."""

    def prepare(self, batch: Batch, keys: jax.Array, size: int, train: bool) -> Batch:
        out = super().prepare(batch, keys, size, train)
        if not train:
            return out
        image = out["image"]
        mean = image.mean((1, 2), keepdims=True)
        part = jax.vmap(lambda key: jax.random.uniform(jax.random.fold_in(key, 2)))(keys)[:, None, None, None]
        gain = jnp.clip(0.9 / (jnp.std(image - mean, (1, 2, 3), keepdims=True) + 1e-3), 1, 6) ** part
        return {**out, "image": mean + gain * (image - mean)}

    @property
    def network(self) -> Any:
        return Shallow(build_backbone(self.model, KEPT, axis_name=AXIS), AXIS)

    @property
    def inference_network(self) -> Any:
        return Shallow(build_backbone(self.model, KEPT))


def main() -> int:
    """Runs the script; the exit code is that of `jaxqc`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="the .npz to write (default: DIR/backbone.npz)")
    parser.add_argument("--train", type=int, default=24000, help="images to learn from")
    parser.add_argument("--val", type=int, default=1200, help="images to measure on")
    args, rest = parser.parse_known_args()
    try:
        config = override(load_config(RECIPE), rest)
        data = args.out / "data"
        if not (args.out / "data.done").is_file():
            print(f"drawing {args.train + args.val} images of {len(CLASSES)} classes", file=sys.stderr)
            write_classes(data, args.train, args.val, DRAWN, config.seed)
            (args.out / "data.done").touch()
        dataset = open_classes(data)
        if dataset.classes != CLASSES:
            raise UserError(f"--train: {args.train} images do not show all {len(CLASSES)} classes; draw 10000 or more")
        train, val = apply_protocol(dataset, "index")
        method = TextureClassifier(config.model.name, dataset.classes, config.model.dtype, config.augment)
        result = run(method, config, train, val, args.out / "run")
        best, _, _ = load_variables(args.out / "run", "best")
        variables = {group: best[group]["backbone"] for group in ("params", "batch_stats")}
    except UserError as e:
        print(f"train_texture_backbone: {' '.join(str(e).split())}", file=sys.stderr)
        return 2
    top1 = result.best["top1"]
    origin = (
        f"scripts/train_texture_backbone.py: {len(CLASSES)} classes of jaxqc.data.synthetic.textures, "
        f"seed {config.seed}, "
        f"{args.train} images of {config.eval_size} pixels, {result.step} steps, top-1 {top1:.4f} on {args.val} others"
    )
    keep = args.keep or args.out / "backbone.npz"
    kept = write_kept(keep, variables, origin)
    print(f"{keep}: {keep.stat().st_size / 1e6:.2f} MB, {kept} values; {origin}")
    return 0


def write_kept(path: Path, variables: Variables, origin: str) -> int:
    """Writes a backbone in our own format, kernels as float16; how many values."""
    halved = jax.tree_util.tree_map_with_path(_halved, variables)
    arrays = {"/".join(place): value for place, value in flatten(halved).items()}
    tree = jax.tree.map(lambda x: x.astype(np.float32), halved)  # what is read back
    meta = {"format": FORMAT, "model": "resnet18", "source": "synthetic-resnet18", "sha256": digest(tree)}
    meta |= {"layers": list(KEPT), "classes": 0, "jaxqc": __version__, "origin": origin, "licence": "Apache-2.0"}
    write_own(path, arrays, meta)
    return sum(a.size for a in arrays.values())


def _halved(place: Any, value: Any) -> np.ndarray:
    return np.asarray(value, np.float16 if place[-1].key == "kernel" else np.float32)


if __name__ == "__main__":
    use_huge_pages()
    sys.exit(main())
