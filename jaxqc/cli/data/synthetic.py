"""`jaxqc data synthetic`: plates or boards with exact masks."""

import argparse
import os
from typing import Any

from jaxqc.cli.parser import Parser, add_verb
from jaxqc.errors import UserError

EXAMPLES = """\
  jaxqc data synthetic plates --count 300
  jaxqc data synthetic boards --kind wood --count 200"""


def add(verbs: Any) -> Parser:
    """Adds the verb's parser."""
    text = "Generate strip-steel plates (layout of SD-saliency-900) or wooden boards (of MVTec AD) with exact masks."
    parser = add_verb(verbs, "synthetic", text, EXAMPLES)
    parser.add_argument("out", metavar="DIR")
    kind = "wood: 3/5 are normal and to fit"
    parser.add_argument("--kind", choices=("steel", "wood"), default="steel", help=kind)
    parser.add_argument("--count", type=int, default=300, metavar="N")
    parser.add_argument("--size", type=int, default=200, metavar="PIXELS")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def run(args: argparse.Namespace) -> int:
    """Writes them."""
    # Many tiny matrix products, which numpy's thread pool slows down tenfold; read when numpy is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if args.kind == "wood":
        from jaxqc.data.synthetic.boards import write_mvtec

        if args.count < 5:
            raise UserError(
                f"--count: {args.count}; boards to fit, normal ones and defective ones to test need 5 in all"
            )
        test, defective = args.count // 5, args.count // 5
        folder = write_mvtec(args.out, args.count - test - defective, defective, args.size, args.seed, test)
        print(f"{args.count} boards of {args.size} x {args.size} pixels in {folder}")
        return 0
    from jaxqc.data.synthetic.plates import write_sd900

    folder = write_sd900(args.out, args.count, args.size, args.seed)
    print(f"{args.count} plates of {args.size} x {args.size} pixels in {folder}")
    return 0
