"""`jaxqc evaluate`: metrics, scores and pictures of any model."""

import argparse
from pathlib import Path
from typing import Any

from jaxqc.cli.parser import Parser, add_verb
from jaxqc.cli.shared import (
    add_checkpoint,
    add_keys,
    add_layout,
    add_use,
    add_window,
    is_detector,
    is_segmentation,
    keys,
    load_model,
    only_segmentation,
    unreadable,
)

EXAMPLES = """\
  jaxqc evaluate --checkpoint runs/first --data DIR
  jaxqc evaluate --checkpoint runs/first --data OTHER --split all --out report
  jaxqc evaluate --checkpoint runs/camvid --data DIR --split select --sizes 518 378 392"""


def add(verbs: Any) -> Parser:
    """Adds the verb's parser."""
    text = "Measure a trained network or fitted detector: metrics per class and overall, worst cases as pictures."
    parser = add_verb(verbs, "evaluate", text, EXAMPLES)
    add_checkpoint(parser)
    parser.add_argument("--data", required=True, metavar="DIR", help="data set with masks")
    add_layout(parser)
    add_keys(parser)
    parser.add_argument("--protocol", choices=("index", "seed", "field"), help="default: the run's own")
    parser.add_argument(
        "--split",
        choices=("test", "train", "all", "val", "select", "labeled", "unlabeled"),
        metavar="NAME",
        help="test (default), train or all; of a segmentation: val (default), select, labeled, unlabeled or all",
    )
    parser.add_argument("--splits", default="", metavar="DIR", help="segmentation: split lists (default: the run's)")
    sizes = "segmentation: compare mean IoU and speed at these long sides with the first"
    parser.add_argument("--sizes", type=int, nargs="+", default=[], metavar="PIXELS", help=sizes)
    add_window(parser)
    parser.add_argument("--worst", type=int, default=10, metavar="N", help="how many worst cases to draw")
    add_use(parser, "metrics, scores and pictures (default: CHECKPOINT/evaluation-PROTOCOL-SPLIT)")
    return parser


def run(args: argparse.Namespace) -> int:
    """Measures, prints the metrics, and lists files that could not be used."""
    from jaxqc import api

    model = load_model(args)
    if is_segmentation(model):
        return _segmentation(args, model)
    only_segmentation(args, "splits", "sizes", "window")
    args.split = args.split or "test"
    if is_detector(model):
        return _detector(args, model)
    protocol = "none" if args.split == "all" else args.protocol or model.config.data.protocol
    out = args.out or str(Path(args.checkpoint) / f"evaluation-{protocol}-{args.split}")
    result = api.evaluate(
        model,
        args.data,
        out,
        run=args.checkpoint,
        protocol=args.protocol,
        split=args.split,
        layout=args.layout,
        keys=keys(args),
        size=args.size,
        worst=args.worst,
        progress=not args.quiet,
    )
    result.print()
    print(f"{result.images_per_second:.1f} images/s; written to {out}")
    return unreadable(result.unreadable)


def _segmentation(args: argparse.Namespace, model: Any) -> int:
    from jaxqc import api

    split = "val" if args.split in (None, "test") else str(args.split)
    out = args.out or str(Path(args.checkpoint) / f"evaluation-{split}")
    result = api.evaluate_segmentation(
        model,
        args.data,
        out,
        run=args.checkpoint,
        split=split,
        splits=args.splits,
        fast=args.size,
        window=args.window or None,
        sizes=tuple(args.sizes),
        worst=args.worst,
        progress=not args.quiet,
    )
    result.print()
    print(f"lists of {result.about['lists']}; {result.images_per_second:.1f} images/s from files; written to {out}")
    return unreadable(result.unreadable)


def _detector(args: argparse.Namespace, model: Any) -> int:
    from jaxqc import api

    out = args.out or str(Path(args.checkpoint) / f"evaluation-{args.split}")
    result = api.evaluate_detector(model, args.data, out, args.split, args.layout, args.worst, not args.quiet)
    result.print()
    print(f"{result.images_per_second:.1f} images/s from files; written to {out}")
    return unreadable(result.unreadable)
