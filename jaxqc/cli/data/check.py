"""`jaxqc data check`: everything wrong with a data set."""

import argparse
from typing import Any

from jaxqc.cli.parser import Parser, add_verb
from jaxqc.cli.shared import add_keys, add_layout, add_rendering, keys, rendering_of_flags

EXAMPLES = """\
  jaxqc data check DIR
  jaxqc data check mvtec_ad/wood --layout mvtec
  jaxqc data check ~/tensorflow_datasets/oxford_iiit_pet/4.0.0 --mask-key segmentation_mask --foreground 1,3"""


def add(verbs: Any) -> Parser:
    """Adds the verb's parser."""
    parser = add_verb(verbs, "check", "Find everything wrong with a data set in one pass.", EXAMPLES)
    parser.add_argument("data", metavar="DIR")
    add_layout(parser)
    add_keys(parser)
    add_rendering(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Prints what was found; 1 where something is wrong."""
    from rich.console import Console

    from jaxqc.data.check import check_path
    from jaxqc.progress import Progress
    from jaxqc.semi.check_maps import check_label_maps, is_label_set

    rendering = rendering_of_flags(args)
    with Progress("checking", 0, every=2.0) as counter:
        if is_label_set(args.data, args.layout) and keys(args) is None:
            report = check_label_maps(args.data, progress=counter.reach, rendering=rendering)
        else:
            report = check_path(args.data, args.layout, progress=counter.reach, keys=keys(args), rendering=rendering)
    Console().print(report.render())
    return 0 if report.ok else 1
