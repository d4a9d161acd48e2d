"""`jaxqc evaluate`: metrics, scores and pictures of any model."""

import argparse
from typing import Any

from jaxqc.cli.parser import Parser, add_verb
from jaxqc.cli.shared import (
    add_checkpoint,
    add_engine,
    add_keys,
    add_layout,
    add_use,
    add_window,
    check_given,
    keys,
    load_model,
    print_notes,
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
    add_engine(parser)
    parser.add_argument("--data", required=True, metavar="DIR", help="data set with masks, for a detector also without")
    add_layout(parser)
    add_keys(parser)
    parser.add_argument(
        "--protocol", choices=("index", "seed", "field"), help="default: the run's own; of other data their split"
    )
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
    rules = "rules of the inspections for which misses and false alarms are counted (default: the usual ones)"
    parser.add_argument("--rules", default=None, metavar="FILE", help=rules)
    threshold = "threshold of the map in those inspections, in (0, 1] (default: the model's own)"
    parser.add_argument("--threshold", type=float, default=None, metavar="T", help=threshold)
    parser.add_argument("--worst", type=int, default=10, metavar="N", help="how many worst cases to draw")
    add_use(parser, "metrics, scores and pictures (default: CHECKPOINT/evaluation-PROTOCOL-SPLIT)")
    return parser


OPTIONS = {flag: flag.removeprefix("--") for flag in ("--protocol", "--layout", "--splits", "--window", "--sizes")}
OPTIONS |= dict.fromkeys(("--image-key", "--mask-key", "--label-key", "--foreground", "--normal", "--unmasked"), "keys")
"""Flags of some kinds of model only, and the options of `jaxqc.evaluate` that they are."""


def run(args: argparse.Namespace) -> int:
    """Measures, prints the metrics, and lists files that could not be used."""
    from jaxqc import api

    model = load_model(args)
    check_given(args, model, "evaluate", OPTIONS)
    result = api.evaluate(
        model,
        args.data,
        args.out or "",
        run=args.checkpoint,
        split=args.split or "test",
        size=args.size,
        worst=args.worst,
        progress=not args.quiet,
        protocol=args.protocol,
        layout=args.layout if "--layout" in args.given else None,
        keys=keys(args),
        splits=args.splits,
        window=args.window or None,
        sizes=tuple(args.sizes),
        rules=args.rules,
        threshold=args.threshold,
        note=lambda line: print_notes([line]),
    )
    result.print()
    print(result.closing())
    return unreadable(result.unreadable)
