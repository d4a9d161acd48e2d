"""Flags that several verbs have, each above what reads it, and the list of files that could not be used."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from jaxqc.cli.parser import Parser
from jaxqc.config import Layout
from jaxqc.errors import UserError

LAYOUTS = get_args(Layout)


def add_quiet(parser: Parser) -> None:
    """`--quiet`."""
    parser.add_argument("--quiet", action="store_true", help="no progress display")


def add_layout(parser: Parser, layouts: Sequence[str] = LAYOUTS) -> None:
    """`--layout`, one of `layouts`."""
    about = "how it lies on disk, by the name of a published data set (default: told by its folders and files)"
    parser.add_argument("--layout", choices=layouts, default="auto", help=about)


def add_keys(parser: Parser) -> None:
    """The features of a TFDS set."""
    for name in ("image", "mask", "label"):
        parser.add_argument(f"--{name}-key", default="", metavar="NAME", help=f"TFDS: the feature that is the {name}")
    parser.add_argument("--foreground", default="", metavar="VALUES", help="TFDS: mask values that are defects, as 1,3")


def keys(args: argparse.Namespace) -> Any:
    """A TFDS set's features from the command line; None where no flag names one."""
    from jaxqc.data.open import Keys, mask_values

    keys = Keys(args.image_key, args.mask_key, args.label_key, mask_values(args.foreground, "--foreground"))
    return None if keys == Keys() else keys


def add_checkpoint(parser: Parser) -> None:
    """`--checkpoint` and `--which`."""
    parser.add_argument("--checkpoint", required=True, metavar="DIR", help="run folder of a training or a fit")
    parser.add_argument("--which", choices=("best", "last"), default="best", help="which of its checkpoints")


def load_model(args: argparse.Namespace) -> Any:
    """The model of `--checkpoint`, `--which` and `--batch`."""
    from jaxqc import api
    from jaxqc.training.cache import enable_compilation_cache

    if args.batch < 1:
        raise UserError(f"--batch: {args.batch} must be 1 or more")
    enable_compilation_cache()
    return api.load(args.checkpoint, args.which, batch=args.batch)


def add_window(parser: Parser) -> None:
    """`--window`."""
    parser.add_argument(
        "--window", action="store_true", help="segmentation: large images in overlapping windows (default: the run's)"
    )


def add_use(parser: Parser, out: str) -> None:
    """`--out`, `--size`, `--batch` and `--quiet` of a verb that makes maps; out: what goes there."""
    parser.add_argument("--out", metavar="DIR", help=out)
    parser.add_argument(
        "--size",
        type=int,
        metavar="PIXELS",
        help="network input, of a segmentation its long side (default: the run's; 0: image's own)",
    )
    parser.add_argument("--batch", type=int, default=16, metavar="N", help="most images on the device at once")
    add_quiet(parser)


def unreadable(lines: Sequence[str], total: int | None = None, file: Path | None = None) -> int:
    """Lists files that could not be used; the exit code. total: how many there are, where `file` has more of them."""
    total = len(lines) if total is None else total
    if total:
        print(f"{total} files could not be used:", file=sys.stderr)
        for line in lines:
            print(f"  {line}", file=sys.stderr)
        if file is not None:
            print(f"all of them: {file}", file=sys.stderr)
    return 1 if total else 0
