"""`jaxqc ledger export`: the ledger as tables, annotations of people's tools, or a data set to learn from."""

import argparse
from pathlib import Path
from typing import Any

from jaxqc.cli.ledger.flags import add_ledger, add_model, model_of
from jaxqc.cli.parser import Parser, add_verb
from jaxqc.cli.shared import add_quiet, refuse_given
from jaxqc.errors import UserError

EXAMPLES = """\
  jaxqc ledger export --ledger quality.sqlite --out tables
  jaxqc ledger export --ledger quality.sqlite --out coco --format coco --model 3f9a
  jaxqc ledger export --ledger quality.sqlite --dataset reviewed
--dataset writes the pictures that people judged as a data set for `jaxqc fit --from RUN --data reviewed` and `jaxqc
train`: good ones, also those that the model had called, and defective ones with the masks that people drew. Whole lots
are held out in split test. Exit code 1: a judged picture's file is gone or another one now.
"""
OF_DATASET = ("--held-out", "--seed", "--without-mask", "--quiet")


def add(verbs: Any) -> Parser:
    """Adds the verb's parser."""
    text = "Write images, defects and sightings as Parquet or CSV, annotations, or what people judged as a data set."
    parser = add_verb(verbs, "export", text, EXAMPLES)
    add_ledger(parser)
    add = parser.add_argument
    add("--out", metavar="DIR", help="folder of the files")
    formats = ("parquet", "csv", "coco", "yolo", "labelme", "labelstudio", "png")
    add("--format", choices=formats, default="parquet", help="default: parquet")
    add_model(parser, "all; annotations hold one's, so name it where there are several")
    add("--dataset", metavar="DIR", help="a new folder: the judged pictures as a data set with index.csv")
    add("--held-out", type=float, default=0.3, metavar="X", help="share of the lots in split test (default: 0.3)")
    add("--seed", type=int, default=0, metavar="N", help="draws these lots (default: 0)")
    add("--without-mask", action="store_true", help="use rejected pictures too in which nobody marked the defect")
    add_quiet(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Writes the files and prints their names."""
    from jaxqc.inspection.annotate import export_annotations
    from jaxqc.inspection.ledger.exports import export_coco, export_tables
    from jaxqc.inspection.ledger.store import open_ledger
    from jaxqc.lock import locked

    if (args.out is None) == (args.dataset is None):
        raise UserError("--out, --dataset: give one of them: a folder for tables and annotations, or for a data set")
    if args.dataset is not None:
        refuse_given(args, "goes with --out, and a data set has one form", "--format", "--model")
        return _dataset(args)
    refuse_given(args, "goes with --dataset", *OF_DATASET)
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


def _dataset(args: argparse.Namespace) -> int:
    from jaxqc.data.problems import printable
    from jaxqc.inspection.ledger.store import open_ledger
    from jaxqc.inspection.reviewing.exported import LEFT_OUT, export_reviewed

    with open_ledger(args.ledger, create=False) as ledger:
        done = export_reviewed(ledger, args.dataset, share=args.held_out, seed=args.seed,
                               without_mask=args.without_mask, progress=not args.quiet)  # fmt: skip
    for line in done.lines():
        print(line)
    where = printable(args.dataset)
    if done.used < done.judged:
        print(f"each of them: {where}/{LEFT_OUT}")
    print(f"next: jaxqc fit --from RUN --data {where} --out RUN_2")
    return 1 if done.lost else 0
