"""`jaxqc ledger export`: the ledger as Parquet or CSV files, or as annotations of people's tools."""

import argparse
from pathlib import Path
from typing import Any

from jaxqc.cli.ledger.flags import add_ledger, add_model, model_of
from jaxqc.cli.parser import Parser, add_verb

EXAMPLES = """\
  jaxqc ledger export --ledger quality.sqlite --out tables
  jaxqc ledger export --ledger quality.sqlite --out coco --format coco --model 3f9a
"""


def add(verbs: Any) -> Parser:
    """Adds the verb's parser."""
    parser = add_verb(
        verbs, "export", "Write images, defects and sightings as Parquet or CSV, or annotations.", EXAMPLES
    )
    add_ledger(parser)
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the files")
    formats = ("parquet", "csv", "coco", "yolo", "labelme", "labelstudio", "png")
    parser.add_argument("--format", choices=formats, default="parquet", help="default: parquet")
    add_model(parser, "all; annotations hold one's, so name it where there are several")
    return parser


def run(args: argparse.Namespace) -> int:
    """Writes the files and prints their names."""
    from jaxqc.inspection.annotate import export_annotations
    from jaxqc.inspection.ledger.exports import export_coco, export_tables
    from jaxqc.inspection.ledger.store import open_ledger
    from jaxqc.lock import locked

    with locked(args.out), open_ledger(args.ledger, create=False) as ledger:
        model = model_of(ledger, args.model)
        if args.format in ("yolo", "labelme", "labelstudio", "png"):
            count = export_annotations(ledger, Path(args.out), args.format, model)
            print(f"{count} images as {args.format} in {args.out}")
        elif args.format == "coco":
            file = Path(args.out) / "instances.json"
            images, annotations = export_coco(ledger, file, model)
            print(f"{images} images, {annotations} annotations in {file}")
        else:
            for file in export_tables(ledger, args.out, args.format, model):
                print(file)
    return 0
