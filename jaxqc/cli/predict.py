"""`jaxqc predict`: defect maps or label maps of a folder."""

import argparse
from typing import Any

from jaxqc.cli.parser import Parser, add_verb
from jaxqc.cli.shared import (
    add_checkpoint,
    add_engine,
    add_use,
    add_window,
    check_given,
    load_model,
    print_notes,
    refuse_given,
    unreadable,
)
from jaxqc.errors import UserError, suggest

EXAMPLES = """\
  jaxqc predict --checkpoint runs/first --images DIR --out maps
  jaxqc predict --checkpoint runs/first --images DIR --out drawn --format labelme
  jaxqc predict --checkpoint runs/camvid --images DIR --out labels --overlays pictures --size 384"""


def add(verbs: Any) -> Parser:
    """Adds the verb's parser."""
    text = "Write a defect map (8-bit grey PNG, same name) or a label map (palette PNG) for every image of a folder."
    parser = add_verb(verbs, "predict", text, EXAMPLES)
    add_checkpoint(parser)
    add_engine(parser)
    parser.add_argument("--images", required=True, metavar="DIR", help="folder (with its subfolders) or one image")
    about = "map (default), or annotations to correct: coco, yolo, labelme, labelstudio, png (masks)"
    parser.add_argument("--format", default="map", metavar="NAME", help=about)
    parser.add_argument("--overlays", default="", metavar="DIR", help="segmentation: pictures with a legend, too")
    add_window(parser)
    add_use(parser, "the maps (default: maps)")
    return parser


def run(args: argparse.Namespace) -> int:
    """Writes the maps, and lists files that could not be used."""
    if args.format != "map":
        return _annotate(args)
    model, out = load_model(args), args.out or "maps"
    kind = check_given(args, model, "predict", {"--overlays": "overlays", "--window": "window"})
    own = {name: getattr(args, name) for name in ("overlays", "window") if getattr(args, name)}
    result = kind.predict(model, args.images, out, size=args.size, progress=not args.quiet, **own)
    print(f"{len(result.written)} maps in {out}, {result.images_per_second:.1f} images/s")
    print_notes(result.notes)
    return unreadable(result.unreadable)


def _annotate(args: argparse.Namespace) -> int:
    """Writes regions as annotations."""
    from jaxqc.data.annotations.writers import WRITERS

    if args.format not in WRITERS:
        raise UserError(f"--format: {args.format!r}{suggest(args.format, ('map', *WRITERS))}")
    refuse_given(args, "goes with maps, and --format writes regions", "--overlays", "--window", "--size")
    from jaxqc.inspection.annotate import predict_annotations

    out = args.out or "annotations"
    result = predict_annotations(load_model(args), args.images, out, args.format, progress=not args.quiet)
    print(f"{len(result.written)} images as {args.format} in {out}, {result.images_per_second:.1f} images/s")
    print_notes(result.notes)
    return unreadable(result.unreadable)
