"""Makes a teacher for EfficientAD or Uninformed Students: a network of descriptions learns what a backbone's layers say
of the same places.

    python scripts/distill_pdn.py --out runs/pdn --name pdn_small --backbone resnet18 --weights FILE --layers 2,3
    python scripts/distill_pdn.py --out runs/pdn --name pdn_tiny --backbone resnet18 --weights synthetic-resnet18

It learns from --data, a folder of pictures, by default from generated textures. The target is the mean neighbourhood
of the layers, pooled to as many channels as a description has and standardised channel by channel (arXiv 2303.14535,
section 3.1). --compact adds the channels' correlation to the loss (arXiv 1911.02357). DIR/training is the run, which
the same command goes on with; --keep (by default DIR/NAME.npz) gets the weights. Then, with one or several:

    jaxqc fit --method efficient_ad --backbone.name NAME --backbone.weights DIR/NAME.npz --backbone.layers 1
    jaxqc fit --method uninformed --backbone.name NAME+NAME --backbone.weights DIR --backbone.layers 1
"""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxqc.anomaly.detectors.base import BackboneConfig, Layers
from jaxqc.anomaly.detectors.image_loss import ImageLoss
from jaxqc.anomaly.features import Backbone, load_backbone, normalised
from jaxqc.anomaly.learned.pictures import unrelated
from jaxqc.anomaly.learned.statistics import channel_statistics
from jaxqc.anomaly.ops.maps import pool_channels
from jaxqc.config import DataConfig, ModelConfig, OptimConfig, Phase, TrainConfig
from jaxqc.data.dataset import ArrayDataset
from jaxqc.data.synthetic.textures import render
from jaxqc.errors import UserError
from jaxqc.memory import use_huge_pages
from jaxqc.models.arrays import layer_shapes
from jaxqc.models.pdn import PDNS, Pdn, PdnSpec
from jaxqc.models.pretrained import LoadReport
from jaxqc.nn.pool import avg3x3
from jaxqc.nn.resizing import resize
from jaxqc.training.checkpoint import load_variables
from jaxqc.training.loop import run
from jaxqc.training.record import weights_digest
from jaxqc.types import ArrayLike
from jaxqc.weights.load import Weights, save_weights

ADAM = OptimConfig("adam", lr=1e-4, weight_decay=1e-5, decay="all", warmup_epochs=0.0, schedule="constant", clip=0.0)


def described(layers: Layers, cells: int, spec: PdnSpec, side: int) -> Float[Array, "b _ _ c"]:
    """A backbone's layers as descriptions [b cells cells channels] of the same places in images of `side` pixels."""
    grid = side // spec.stride
    merged = [pool_channels(resize(avg3x3(jnp.asarray(x)), grid, grid), spec.channels) for x in layers]
    rim = (grid - cells) // 2
    return pool_channels(jnp.concatenate(merged, -1), spec.channels)[:, rim : rim + cells, rim : rim + cells]


def compactness(grid: Float[ArrayLike, "b h w c"]) -> Float[Array, " b"]:
    """The mean squared correlation of two channels over an image's cells: 0 where each says something of its own.

    Examples:
      >>> twice = jnp.arange(4.0).reshape(1, 2, 2, 1) * jnp.array([1.0, -3.0])
      >>> compactness(twice).round(3).tolist()
      [1.0]
    """
    b, height, width, c = grid.shape
    x = jnp.asarray(grid).reshape(b, height * width, c)
    x = x - x.mean(1, keepdims=True)
    x = x / jnp.maximum(jnp.sqrt(jnp.square(x).sum(1, keepdims=True)), 1e-6)
    square = jnp.square(jnp.einsum("bpc,bpd->bcd", x, x))
    return (square.sum((1, 2)) - jnp.trace(square, axis1=1, axis2=2)) / max(1, c * (c - 1))


def imitation(network: Pdn, backbone: Backbone, data: ArrayDataset, batch: int, compact: float = 0.0) -> ImageLoss:
    """The training: the mean squared error of each image's descriptions. compact: weight of `compactness`."""
    side = data.images.shape[1]
    cells = layer_shapes(network, side, side)["layer1"][1]
    target = lambda kept, images: described(backbone.apply(kept["backbone"], images), cells, network.spec, side)
    frozen = {"backbone": dict(backbone.variables)}
    statistics = channel_statistics(data, lambda kept, images: {"0": target(kept, images)}, frozen, batch)["0"]

    def each(params: Any, kept: Any, images: Any) -> Float[Array, " b"]:
        own = network.apply({"params": params}, normalised(images))["layer1"]
        wanted = (target(kept, images) - kept["statistics"]["mean"]) / kept["statistics"]["deviation"]
        apart = jnp.square(own - wanted).mean((1, 2, 3))
        return apart + compact * compactness(own) if compact else apart

    start = lambda key: network.init(key, jnp.zeros((1, side, side, 3)))["params"]
    return ImageLoss(start, each, frozen | {"statistics": statistics})


def pictures(folder: str, count: int, side: int) -> ArrayDataset:
    """Those of a folder, or so many generated textures."""
    images = unrelated(folder, side, 0) if folder else np.stack([render(1, index, side)[0] for index in range(count)])
    n, name = len(images), Path(folder).resolve().name if folder else "textures"
    none = np.zeros(images.shape[:3], np.uint8)
    return ArrayDataset(name, (), tuple(map(str, range(n))), images, none, np.full(n, -1, np.int32))


def main(argv: list[str] | None = None) -> int:
    """Runs the script; the exit code is that of `jaxqc`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="the .npz to write (default: DIR/NAME.npz)")
    parser.add_argument("--name", choices=PDNS, default="pdn_small")
    parser.add_argument("--backbone", default="resnet18", help="the network whose layers are described")
    parser.add_argument("--weights", default="", help="its file, or a name that `jaxqc weights` lists")
    parser.add_argument("--layers", default="", help="its layers, such as 2,3 (default: 2,3)")
    parser.add_argument("--data", default="", metavar="FOLDER", help="pictures to learn from (default: textures)")
    parser.add_argument("--count", type=int, default=2000, help="textures, where there is no --data")
    parser.add_argument("--size", type=int, default=256, help="side of the pictures in pixels")
    parser.add_argument("--compact", type=float, default=0.0, help="weight of the channels' correlation (default: 0)")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--epochs", type=float, default=100.0)
    args = parser.parse_args(argv)
    try:
        layers = tuple(int(x) for x in args.layers.split(",")) if args.layers else (2, 3)
        if args.size % 4 or args.size < 64:
            raise UserError(f"--size: {args.size} must be a multiple of 4, 64 at least")
        backbone = load_backbone(BackboneConfig(args.backbone, args.weights, layers))
        data = pictures(args.data, args.count, args.size)
        held_out = max(1, len(data) // 20)
        if len(data) - held_out < args.batch:
            few = f"{len(data)} pictures, of which {held_out} are held out, are fewer than a batch"
            raise UserError(f"{few}; give more, or --batch {max(1, len(data) - held_out)}")
        network, every = Pdn(PDNS[args.name]), np.arange(len(data))
        train, val = data.take(every[held_out:]), data.take(every[:held_out])
        config = TrainConfig(
            method="detector",
            model=ModelConfig(args.name),
            data=DataConfig(size=args.size),
            optim=ADAM,
            phases=(Phase(args.epochs, args.size, args.batch),),
            eval_size=args.size,
            eval_every_epochs=max(1.0, args.epochs / 10),
            checkpoint_every_epochs=max(1.0, args.epochs / 20),
            best_metric="loss",
        )
        method = imitation(network, backbone, train, args.batch, args.compact)
        done = run(method, config, train, val, args.out / "training", proof=False)
        params = load_variables(args.out / "training", "best")[0]["params"]
        variables = jax.tree.map(partial(np.asarray, dtype=np.float32), {"params": params})
        keep = args.keep or args.out / f"{args.name}.npz"
        report = LoadReport(args.name, (1,), len(jax.tree.leaves(variables)))
        origin = f"scripts/distill_pdn.py: {args.backbone} layers {','.join(map(str, layers))} on {data.name}"
        save_weights(keep, Weights(args.name, (1,), variables, report, origin, weights_digest(variables)))
    except UserError as e:
        print(f"distill_pdn: {' '.join(str(e).split())}", file=sys.stderr)
        return 2
    what = "loss" if args.compact else "mean squared error"
    print(f"{keep}: {done.step} steps, {what} {done.best['loss']:.4f} of held-out pictures")
    return 0


if __name__ == "__main__":
    use_huge_pages()
    sys.exit(main())
