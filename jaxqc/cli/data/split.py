"""`jaxqc data split`: lists of labelled, unlabelled, selection and test images, made or checked."""

import argparse
from pathlib import Path
from typing import Any

from jaxqc.cli.parser import Parser, add_verb
from jaxqc.cli.shared import add_quiet, print_notes, refuse_given

EXAMPLES = """\
  jaxqc data split DIR --out splits/16 --labeled 1/16 --seed 0
  jaxqc data split DIR --out splits/16 --check"""


def add(verbs: Any) -> Parser:
    """Adds the verb's parser."""
    text = "Divide a segmentation set into labelled, unlabelled, selection and test images, or check such lists."
    parser = add_verb(verbs, "split", text, EXAMPLES)
    add = parser.add_argument
    add("data", metavar="DIR", help="index.csv, or images/ and masks/; a manifest.json with class names")
    add("--out", required=True, metavar="DIR", help="folder of the four lists and the manifest")
    add("--labeled", default="1/16", metavar="SHARE", help="of the training images, as 1/16 or .25")
    add("--select", default="1/10", metavar="SHARE", help="of the training images, to choose models by")
    add("--test", default="1/5", metavar="SHARE", help="of all images, where the data have no split")
    add("--seed", type=int, default=0)
    add("--group", default="", metavar="COLUMN", help="of index.csv: what has it in common stays together")
    add("--manifest", default="", metavar="FILE", help="class names and colours (default: DIR's own)")
    add("--check", action="store_true", help="check the lists in --out instead of making them")
    add_quiet(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Makes and checks the lists, or checks those that are there."""
    from jaxqc.progress import Progress
    from jaxqc.semi.check import check_splits
    from jaxqc.semi.data import make_splits, manifest_of, open_pairs, parse_share, read_splits, write_splits
    from jaxqc.semi.manifest import FILES, read_manifest, write_manifest

    out = Path(args.out)
    if args.check:
        making = ("--labeled", "--select", "--test", "--seed", "--group")
        refuse_given(args, "--check reads lists that are there, and makes none", *making)
        splits = read_splits(out)
        manifest = read_manifest(args.manifest or (out if (out / FILES[0]).is_file() else args.data))
    else:
        shares = [parse_share(getattr(args, name), f"--{name}") for name in ("labeled", "select", "test")]
        dataset = open_pairs(args.data, args.group)
        print_notes(dataset.warnings)
        splits = make_splits(dataset, args.data, *shares, seed=args.seed)
        manifest = manifest_of(args.data, dataset, args.manifest)
    with Progress("checking", 0, enabled=not args.quiet, every=2.0) as counter:
        report = check_splits(splits, args.data, manifest, progress=counter.reach)
    if not args.check:
        write_splits(out, splits)
        unlabelled = any(pixels[-1] for pixels in report.pixels.values())
        write_manifest(out / FILES[0], manifest.ignoring if unlabelled else manifest)
    print("\n".join(report.lines()))
    return 0
