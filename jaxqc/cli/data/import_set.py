"""`jaxqc data import`: a data set of any layout as one with `index.csv`."""

import argparse
from typing import Any

from jaxqc.cli.parser import Parser, add_verb
from jaxqc.cli.shared import add_keys, add_layout, add_quiet, keys, print_notes, unreadable

EXAMPLES = """\
  jaxqc data import EXPORT parts --layout coco
  jaxqc data import EXPORT parts --label-maps
Images are copied, masks written as PNG. --label-maps writes class numbers and a manifest.json, for few labels."""


def add(verbs: Any) -> Parser:
    """Adds the verb's parser."""
    text = "Write a data set of any layout, annotations of people's tools too, as images, masks and index.csv."
    parser = add_verb(verbs, "import", text, EXAMPLES)
    parser.add_argument("data", metavar="SRC", help="its folder")
    parser.add_argument("out", metavar="DIR", help="a new or empty folder")
    add_layout(parser)
    add_keys(parser)
    parser.add_argument("--label-maps", action="store_true", help="masks with class numbers, and a manifest.json")
    add_quiet(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Writes it; 1 where some samples could not be read."""
    from jaxqc.data.importing import import_dataset
    from jaxqc.data.open import open_data
    from jaxqc.progress import Progress

    dataset = open_data(args.data, args.layout, keys=keys(args), masks=False)
    print_notes((*(f"read as {line}" for line in dataset.read_as), *dataset.warnings))
    with Progress("importing", 0, enabled=not args.quiet, every=2.0) as counter:
        index, left = import_dataset(dataset, args.out, args.label_maps, counter.reach)
    print(f"{len(dataset) - len(left)} samples in {index}")
    return unreadable(left)
