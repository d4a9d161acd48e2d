"""`jaxqc inspect`: images into the ledger, lots graded, a report."""

import argparse
import sys
from typing import Any

from jaxqc.cli.parser import Parser, add_verb
from jaxqc.cli.shared import add_checkpoint, add_engine, add_quiet, load_model, of_product, unreadable, warned

EXAMPLES = """\
  jaxqc inspect --checkpoint runs/first --images DIR --out inspected
  jaxqc inspect --checkpoint runs/tiles --images lots.csv --out inspected --rules rules.py --mm-per-pixel .05
  jaxqc inspect --checkpoint runs/first --images DIR --out inspected --piece '^([^_]+)_'
  jaxqc inspect --checkpoint runs/parts --images DIR --out inspected --product bolts
  jaxqc inspect --checkpoint runs/first --images DIR --out inspected --watch
  jaxqc inspect --checkpoint runs/first --images rtsp://camera/stream --out inspected --every 5
A manifest (.csv, .tsv, .txt, .parquet) has the columns `image` and `lot`, and any of `supplier`, `product`, `line`,
`machine`, `time` and `piece`; further ones are kept. In a folder, a subfolder is a lot. Views of one piece have the
same `piece`, by the column or by --piece: 17_top.png and 17_side.png are views of piece 17 above. Pieces are counted,
each by its worst view. The same command again goes on where it ended. Warnings, such as times that were not read, are
printed at the end, a line a kind.
Exit code 1: done, but some files could not be inspected; OUT/problems.csv has them with the reasons.
A corrected manifest moves its images to the lots that it names; a picture may lie in several lots.
"""


def add(verbs: Any) -> Parser:
    """Adds the verb's parser."""
    text = "Inspect images with any model: defects, lots with grade and risk, suppliers."
    parser = add_verb(verbs, "inspect", text, EXAMPLES)
    add_checkpoint(parser)
    add_engine(parser)
    add = parser.add_argument
    add("--images", required=True, metavar="DIR", help="folder, manifest, image, video file or rtsp:// address")
    add("--out", required=True, metavar="DIR", help="folder of the results")
    taken = "go on with files that come into the folder, once they are complete"
    add("--watch", nargs="?", type=float, const=0.0, metavar="S", help=f"{taken}; end S seconds after the last one")
    add("--every", type=int, metavar="N", help="of a video or camera: inspect each N-th frame (default: each)")
    about = "images of a data set alone, not its masks: the layout's name, or auto; its splits are the lots"
    add("--layout", default="", metavar="NAME", help=f"{about} (default: all images of the folder)")
    rule = "regular expression on file names: its group 1, or all it matches, is the piece's id within its lot"
    add("--piece", metavar="REGEX", help=f"{rule}; with a / in it, on paths")
    add("--rules", metavar="FILE", help="rules of inspection, a .py file (it is run: it is code)")
    add("--ledger", metavar="FILE", help="SQLite file or postgresql://user@host/database (default: OUT/ledger.sqlite)")
    add("--mm-per-pixel", type=float, metavar="X", help="scale of the images: lengths in mm too")
    product = "a detector of several products: the one on the images, by whose thresholds they are judged"
    add("--product", metavar="NAME", help=f"{product} (default: those of all together)")
    add("--threshold", type=float, metavar="X", help="of the maps, in (0, 1] (default: the checkpoint's)")
    add("--worst", type=int, default=12, metavar="N", help="pictures of each lot in the report")
    add("--aql", type=float, default=1.0, metavar="X", help="percent, of the report's sampling plans")
    add("--batch", type=int, default=16, metavar="N", help="images on a device at once")
    add("--devices", type=int, default=0, metavar="N", help="that take batches in turns (default: all)")
    add_quiet(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Inspects, prints lots and suppliers, and lists files that could not be used."""
    from jaxqc import api
    from jaxqc.data.problems import printable
    from jaxqc.inspection.results import SHOWN
    from jaxqc.inspection.rules import load_rules
    from jaxqc.inspection.tables import show_lots, show_suppliers

    rules = load_rules(args.rules)  # a mistake in them shows before a model is loaded
    model = of_product(load_model(args), args.product)
    found = api.inspect(
        model,
        args.images,
        args.out,
        rules=rules,
        ledger=args.ledger,
        layout=args.layout,
        piece=args.piece,
        mm_per_pixel=args.mm_per_pixel,
        threshold=args.threshold,
        devices=args.devices,
        worst=args.worst,
        aql=args.aql,
        progress=not args.quiet and args.watch is None,
        watch=args.watch,
        every=args.every,
        note=lambda text: print(text, file=sys.stderr),
    )
    show_lots(found.lots)
    show_suppliers(found.suppliers)
    known = f", {found.known} were there already or are copies" if found.known else ""
    print(f"{found.new} images into {found.ledger}{known}; {found.images_per_second:.1f} images/s")
    if found.corrected:
        print(f"{found.corrected} images lay in another lot, or were described otherwise, before: corrected;"
              f" {found.out / 'problems.csv'} has them")  # fmt: skip
    for line in found.incomplete[:SHOWN]:
        print(f"note: lot {line}", file=sys.stderr)
    if len(found.incomplete) > SHOWN:
        print(f"note: {len(found.incomplete) - SHOWN} more lots are incomplete; the report has all", file=sys.stderr)
    for lot in found.empty[:SHOWN]:
        print(f"note: of lot {printable(lot)!r} no image could be inspected", file=sys.stderr)
    if len(found.empty) > SHOWN:
        more = f"note: nor of {len(found.empty) - SHOWN} more lots; lots_without_images in {found.out / 'summary.json'}"
        print(f"{more} has all", file=sys.stderr)
    print(f"report: {found.report}")
    warned(found.warnings, found.out / "problems.csv")
    return unreadable(found.reasons, found.bad, found.out / "problems.csv")
