"""What the verbs of data sets take: `data check`, `synthetic`, `records`, `split` and `tfds`."""

from typing import Any

from jaxqc.arguments.parser import LAYOUT_HELP, LAYOUTS, MakeVerb, keys_arguments


def data_verbs(top: Any, verb: MakeVerb) -> None:
    """Adds `data` and its verbs to the parsers of all verbs; `verb` makes one."""
    data = top.add_parser("data", help="Check, generate or pack data sets.", description="Data sets.")
    verbs = data.add_subparsers(dest="data_verb", required=True, metavar="VERB")
    check = verb(
        verbs,
        "check",
        "Find everything wrong with a data set in one pass.",
        "  jaxqc data check DIR\n  jaxqc data check mvtec_ad/wood --layout mvtec\n"
        "  jaxqc data check ~/tensorflow_datasets/oxford_iiit_pet/4.0.0 --mask-key segmentation_mask --foreground 1,3",
    )
    check.add_argument("data", metavar="DIR")
    check.add_argument("--layout", choices=(*LAYOUTS, "folder"), default="auto", help=LAYOUT_HELP)
    keys_arguments(check)
    make = verb(
        verbs,
        "synthetic",
        "Generate strip-steel plates (layout of SD-saliency-900) or wooden boards (of MVTec AD) with exact masks.",
        "  jaxqc data synthetic plates --count 300\n  jaxqc data synthetic boards --kind wood --count 200",
    )
    make.add_argument("out", metavar="DIR")
    make.add_argument("--kind", choices=("steel", "wood"), default="steel", help="wood: 3/5 are normal and to fit")
    make.add_argument("--count", type=int, default=300, metavar="N")
    make.add_argument("--size", type=int, default=200, metavar="PIXELS")
    make.add_argument("--seed", type=int, default=0)
    pack = verb(
        verbs,
        "records",
        "Pack a data set, decoded, into one record file that streams fast.",
        "  jaxqc data records DIR steel.array_record\n  jaxqc train --config FILE --data steel.array_record",
    )
    pack.add_argument("data", metavar="DIR")
    pack.add_argument("out", metavar="FILE")
    pack.add_argument("--layout", choices=[x for x in LAYOUTS if x != "records"], default="auto", help=LAYOUT_HELP)
    keys_arguments(pack)
    pack.add_argument("--size", type=int, default=0, metavar="PIXELS", help="resize to squares (default: keep)")
    split = verb(
        verbs,
        "split",
        "Divide a segmentation set into labelled, unlabelled, selection and test images, or check such lists.",
        "  jaxqc data split DIR --out splits/16 --labeled 1/16 --seed 0\n"
        "  jaxqc data split DIR --out splits/16 --check",
    )
    split.add_argument("data", metavar="DIR", help="index.csv, or images/ and masks/; a manifest.json with class names")
    split.add_argument("--out", required=True, metavar="DIR", help="folder of the four lists and the manifest")
    split.add_argument("--labeled", default="1/16", metavar="SHARE", help="of the training images, as 1/16 or .25")
    split.add_argument("--select", default="1/10", metavar="SHARE", help="of the training images, to choose models by")
    split.add_argument("--test", default="1/5", metavar="SHARE", help="of all images, where the data have no split")
    split.add_argument("--seed", type=int, default=0)
    split.add_argument(
        "--group", default="", metavar="COLUMN", help="of index.csv: what has it in common stays together"
    )
    split.add_argument("--manifest", default="", metavar="FILE", help="class names and colours (default: DIR's own)")
    split.add_argument("--check", action="store_true", help="check the lists in --out instead of making them")
    split.add_argument("--quiet", action="store_true", help="no progress display")
    prepare = verb(
        verbs,
        "tfds",
        "Prepare SD-saliency-900 as a TensorFlow Datasets set (ArrayRecord), split as it is or by seed 0.",
        "  jaxqc data tfds DIR ~/tensorflow_datasets",
    )
    prepare.add_argument("data", metavar="DIR", help="the published folders, or index.csv")
    prepare.add_argument("out", metavar="OUT", help="folder of all TFDS sets")
