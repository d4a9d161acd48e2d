"""What the verbs that use a trained model take: `evaluate`, `predict`, `inspect` and `verify`."""

from typing import Any

from jaxqc.arguments.parser import LAYOUT_HELP, LAYOUTS, MakeVerb, Parser, keys_arguments

INSPECT_EXAMPLES = """\
  jaxqc inspect --checkpoint runs/first --images DIR --out inspected
  jaxqc inspect --checkpoint runs/tiles --images lots.csv --out inspected --rules rules.py --mm-per-pixel .05
A manifest (.csv, .parquet) has the columns `image` and `lot`, and any of `supplier`, `product`, `line`, `machine` and
`time`; further ones are kept. In a folder, a subfolder is a lot. The same command again goes on where it ended.
Exit code 1: done, but some files could not be inspected; OUT/problems.csv has them with the reasons.
"""


def model_verbs(top: Any, verb: MakeVerb) -> None:
    """Adds them to the parsers of all verbs; `verb` makes one."""
    evaluate = verb(
        top,
        "evaluate",
        "Measure a trained network or fitted detector: metrics per class and overall, worst cases as pictures.",
        "  jaxqc evaluate --checkpoint runs/first --data DIR\n"
        "  jaxqc evaluate --checkpoint runs/first --data OTHER --split all --out report\n"
        "  jaxqc evaluate --checkpoint runs/camvid --data DIR --split select --sizes 518 378 392",
    )
    _checkpoint(evaluate)
    evaluate.add_argument("--data", required=True, metavar="DIR", help="data set with masks")
    evaluate.add_argument("--layout", choices=LAYOUTS, default="auto", help=LAYOUT_HELP)
    keys_arguments(evaluate)
    evaluate.add_argument("--protocol", choices=("index", "seed", "field"), help="default: the run's own")
    evaluate.add_argument(
        "--split",
        choices=("test", "train", "all", "val", "select", "labeled", "unlabeled"),
        metavar="NAME",
        help="test (default), train or all; of a segmentation: val (default), select, labeled, unlabeled or all",
    )
    evaluate.add_argument("--splits", default="", metavar="DIR", help="segmentation: split lists (default: the run's)")
    evaluate.add_argument(
        "--sizes",
        type=int,
        nargs="+",
        default=[],
        metavar="PIXELS",
        help="segmentation: compare mean IoU and speed at these long sides with the first",
    )
    _window(evaluate)
    evaluate.add_argument("--worst", type=int, default=10, metavar="N", help="how many worst cases to draw")
    _run_options(evaluate, "metrics, scores and pictures (default: CHECKPOINT/evaluation-PROTOCOL-SPLIT)")

    predict = verb(
        top,
        "predict",
        "Write a defect map (8-bit grey PNG, same name) or a label map (palette PNG) for every image of a folder.",
        "  jaxqc predict --checkpoint runs/first --images DIR --out maps\n"
        "  jaxqc predict --checkpoint runs/camvid --images DIR --out labels --overlays pictures --size 384",
    )
    _checkpoint(predict)
    predict.add_argument("--images", required=True, metavar="DIR", help="folder (with its subfolders) or one image")
    predict.add_argument("--overlays", default="", metavar="DIR", help="segmentation: pictures with a legend, too")
    _window(predict)
    _run_options(predict, "the maps (default: maps)")

    look = verb(top, "inspect", "Inspect images with any model: defects, lots with grade and risk, suppliers.",
                INSPECT_EXAMPLES)  # fmt: skip
    _checkpoint(look)
    look.add_argument("--images", required=True, metavar="DIR", help="folder, manifest or one image")
    look.add_argument("--out", required=True, metavar="DIR", help="folder of the results")
    look.add_argument("--rules", metavar="FILE", help="rules of inspection, a .py file (it is run: it is code)")
    look.add_argument(
        "--ledger", metavar="FILE", help="SQLite file or postgresql://user@host/database (default: OUT/ledger.sqlite)"
    )
    look.add_argument("--mm-per-pixel", type=float, metavar="X", help="scale of the images: lengths in mm too")
    look.add_argument("--threshold", type=float, metavar="X", help="of the maps, in (0, 1] (default: the checkpoint's)")
    look.add_argument("--worst", type=int, default=12, metavar="N", help="pictures of each lot in the report")
    look.add_argument("--aql", type=float, default=1.0, metavar="X", help="percent, of the report's sampling plans")
    look.add_argument("--batch", type=int, default=16, metavar="N", help="images on a device at once")
    look.add_argument("--devices", type=int, default=0, metavar="N", help="that take batches in turns (default: all)")
    look.add_argument("--quiet", action="store_true", help="no progress display")

    check = verb(
        top,
        "verify",
        "Recompute a checkpoint's golden output and say how far off this machine is.",
        "  jaxqc verify runs/first",
    )
    check.add_argument("checkpoint", metavar="DIR", help="run folder")
    check.add_argument("--tolerance", type=float, metavar="X", help="largest difference (default: by dtype)")


def _checkpoint(parser: Parser) -> None:
    parser.add_argument("--checkpoint", required=True, metavar="DIR", help="run folder of a training or a fit")
    parser.add_argument("--which", choices=("best", "last"), default="best", help="which of its checkpoints")


def _window(parser: Parser) -> None:
    parser.add_argument(
        "--window", action="store_true", help="segmentation: large images in overlapping windows (default: the run's)"
    )


def _run_options(parser: Parser, out: str) -> None:
    parser.add_argument("--out", metavar="DIR", help=out)
    parser.add_argument(
        "--size",
        type=int,
        metavar="PIXELS",
        help="network input, of a segmentation its long side (default: the run's; 0: image's own)",
    )
    parser.add_argument("--batch", type=int, default=16, metavar="N", help="most images on the device at once")
    parser.add_argument("--quiet", action="store_true", help="no progress display")
