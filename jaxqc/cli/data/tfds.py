"""`jaxqc data tfds`: SD-saliency-900 as a TFDS set."""

import argparse
from typing import Any

from jaxqc.cli.parser import Parser, add_verb


def add(verbs: Any) -> Parser:
    """Adds the verb's parser."""
    text = "Prepare SD-saliency-900 as a TensorFlow Datasets set (ArrayRecord), split as it is or by seed 0."
    parser = add_verb(verbs, "tfds", text, "  jaxqc data tfds DIR ~/tensorflow_datasets")
    parser.add_argument("data", metavar="DIR", help="the published folders, or index.csv")
    parser.add_argument("out", metavar="OUT", help="folder of all TFDS sets")
    return parser


def run(args: argparse.Namespace) -> int:
    """Prepares it."""
    from jaxqc.data.tfds_builders.sd_saliency_900 import prepare

    print(f"prepared {prepare(args.data, args.out)}")
    return 0
