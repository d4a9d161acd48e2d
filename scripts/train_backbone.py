"""Trains a backbone as a classifier: python scripts/train_backbone.py --config FILE --data DIR --out DIR.

    python scripts/train_backbone.py --config resnet50_cbam_imagenet \\
        --data ~/tensorflow_datasets/imagenet2012 --out runs/resnet50_cbam
    python scripts/train_backbone.py --config resnet50_cbam_imagenet --weights resnet50 \\
        --data DIR --out runs/gates --phases.0.epochs 20 --optim.lr .05

DIR holds a folder a class (or train/CLASS and val/CLASS), or is a prepared TFDS set. Any field of the recipe is a flag.
The run's folder gets backbone.npz, which every detector and `jaxqc convert` take.
"""

import argparse
import sys

from jaxqc.config import load_config
from jaxqc.errors import UserError
from jaxqc.memory import use_huge_pages
from jaxqc.overrides import override


def main(argv: list[str] | None = None) -> int:
    """Runs the command; the exit code is that of `jaxqc`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "--config", required=True, metavar="RECIPE", help="name or file of one with method='classifier'"
    )
    parser.add_argument("--data", required=True, metavar="DIR", help="folders of classes, or a prepared TFDS set")
    parser.add_argument("--out", required=True, metavar="DIR", help="run folder; a run in it goes on")
    parser.add_argument("--weights", metavar="FILE", help="weights to start from: a file, or a name of `jaxqc weights`")
    parser.add_argument("--quiet", action="store_true", help="no progress display")
    args, rest = parser.parse_known_args(argv)
    try:
        config = override(load_config(args.config), rest)

        from jaxqc.training.parallel import start_processes

        start_processes()
        from jaxqc.pretraining.train import FILE, train_backbone

        result, weights = train_backbone(config, args.data, args.out, args.weights, progress=not args.quiet)
    except UserError as e:
        print(f"train_backbone: {' '.join(str(e).split())}", file=sys.stderr)
        return 2
    best = ", ".join(f"{name} {value:.4f}" for name, value in result.best.items())
    print(f"{args.out}: {result.step} steps in {result.seconds:.0f} s; best step {result.best_step}: {best}")
    print(f"{args.out}/{FILE}: {weights.model}, {weights.source}, SHA-256 of its values {weights.sha256}")
    return 0


if __name__ == "__main__":
    use_huge_pages()
    sys.exit(main())
