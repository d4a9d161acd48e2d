"""`jaxqc data records`: a data set as one record file."""

import argparse
from typing import Any

from jaxqc.cli.parser import Parser, add_verb
from jaxqc.cli.shared import add_keys, add_layout, add_rendering, keys, print_notes, rendering_of_flags

EXAMPLES = """\
  jaxqc data records DIR steel.array_record
  jaxqc train --config FILE --data steel.array_record"""


def add(verbs: Any) -> Parser:
    """Adds the verb's parser."""
    parser = add_verb(verbs, "records", "Pack a data set, decoded, into one record file that streams fast.", EXAMPLES)
    parser.add_argument("data", metavar="DIR")
    parser.add_argument("out", metavar="FILE")
    add_layout(parser)
    add_keys(parser)
    add_rendering(parser)
    parser.add_argument("--size", type=int, default=0, metavar="PIXELS", help="resize to squares (default: keep)")
    return parser


def run(args: argparse.Namespace) -> int:
    """Packs it."""
    from jaxqc.data.dataset import with_rendering
    from jaxqc.data.depth import remarks
    from jaxqc.data.open import open_data
    from jaxqc.data.records import write_records

    dataset = with_rendering(open_data(args.data, args.layout, keys=keys(args)), rendering_of_flags(args))
    print_notes(remarks(dataset))
    dataset = write_records(dataset, args.out, args.size)
    print(f"{len(dataset)} samples in {args.out}")
    return 0
