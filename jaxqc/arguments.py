"""What each verb of the command line takes, its help and examples; every mistake is one line with a suggestion."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, get_args

from jaxqc.config import Layout
from jaxqc.errors import UserError, suggest
from jaxqc.export_arguments import export_verb
from jaxqc.fields import leaves
from jaxqc.ledger_arguments import ledger_verbs

LAYOUTS = get_args(Layout)
_LAYOUT_HELP = "how it lies on disk, by the name of a published data set (default: told by its folders and files)"

Verb = Callable[..., int]
Field = tuple[str, Any, Any]
"""Dotted name, type and value of a recipe's field."""
Recipes = Mapping[str, Callable[[], Sequence[Any]]]
"""Verbs that take a recipe, and what makes one of each kind, the usual one first; called only for their fields."""

TRAIN_EXAMPLES = """\
  jaxqc train --config configs/tscarnet_sd900.py --data DIR
  jaxqc train --config configs/tscarnet_sd900.py --data DIR --out runs/first --optim.lr .01 --seed 3
  jaxqc train --config configs/minet_sd900.py --data DIR --phases '[{"epochs": 20, "size": 96, "batch": 16}]'
  jaxqc train --config configs/mvpmatch_camvid.py --data DIR --views.splits splits/16 --out runs/few-labels
The same command with the same --out goes on with a run that was ended. Any field of the recipe is a flag:
"""
FIT_EXAMPLES = """\
  jaxqc fit --config configs/gaussian_magnetic_tile.py --data DIR --out runs/tiles
  jaxqc fit --config configs/gaussian_wood.py --data DIR --backbone.weights resnet50.npz --gaussian.channels 100
Any field of the recipe is a flag:
"""


class Parser(argparse.ArgumentParser):
    """argparse, but every error is one line with a suggestion, and abbreviations are not guessed."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs |= {"allow_abbrev": False, "formatter_class": argparse.RawDescriptionHelpFormatter}
        super().__init__(**kwargs)

    def error(self, message: str) -> NoReturn:
        """Raises instead of printing the usage."""
        raise UserError(f"{message}; see {self.prog} --help")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            what = "verb" if action.dest.endswith("verb") else "/".join(action.option_strings)
            raise UserError(f"{what}: unknown {value!r}{suggest(str(value), map(str, action.choices))}")

    def check_flags(self, arguments: Sequence[str], more: Sequence[str] = ()) -> None:
        """Refuses unknown flags by name, before argparse can complain of what is then missing."""
        own = [flag for action in self._actions for flag in action.option_strings if flag.startswith("--")]
        known = [*own, *more]
        for argument in arguments:
            flag = argument.partition("=")[0].replace("_", "-")
            if flag.startswith("--") and len(flag) > 2 and flag not in known and not flag.startswith("--phases."):
                close = suggest(flag, known)
                hint = close if "did you mean" in close else f"; see {self.prog} --help"
                raise UserError(f"unknown argument {argument.partition('=')[0]}{hint}")


def parse(argv: Sequence[str], verbs: Mapping[str, Verb], recipes: Recipes) -> tuple[argparse.Namespace, list[str]]:
    """Arguments of one command, and what is left of them for the recipe (only those of `recipes` leave any).

    `verbs`: the function of each, by name (`train`, `data check`, ...); the namespace has the chosen one as `run`.

    Raises:
      UserError: an unknown verb or flag, a missing or bad value. SystemExit: after `--help` and `--version`.
    """
    parser, parsers = _parsers(verbs)
    name = " ".join(argv[:2]) if argv[:1] in (["data"], ["ledger"]) else "".join(argv[:1])
    if name in parsers:
        kinds = {type(recipe).__name__: list(leaves(recipe)) for recipe in (recipes[name]() if name in recipes else ())}
        parsers[name].check_flags(argv, [flag for fields in kinds.values() for flag in _recipe_flags(fields)])
        known: set[str] = set()
        for kind, fields in kinds.items():
            new = [field for field in fields if field[0] not in known]
            also = f"\nA recipe of kind {kind} also has, and has its own defaults:\n" if known else ""
            parsers[name].epilog = f"{parsers[name].epilog}{also}{_shown(new)}"
            known |= {field[0] for field in fields}
    else:
        parser.check_flags(argv[:1])
    args, rest = parser.parse_known_args(argv)
    if rest and name not in recipes:
        raise UserError(f"unexpected argument {rest[0]!r}; see jaxqc {name} --help")
    return args, rest


def _parsers(run: Mapping[str, Verb]) -> tuple[Parser, dict[str, Parser]]:
    from jaxqc import __version__

    parser = Parser(prog="jaxqc", description="Visual quality inspection in JAX: train, measure and use defect maps.")
    parser.epilog = "  jaxqc data synthetic plates\n  jaxqc data check plates\n  jaxqc train --help"
    parser.add_argument("--version", action="version", version=f"jaxqc {__version__}")
    top = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs: dict[str, Parser] = {}

    def verb(where: Any, name: str, text: str, examples: str) -> Parser:
        full = name if where is top else f"{where.dest.removesuffix('_verb')} {name}"
        verbs[full] = where.add_parser(name, help=text, description=text, epilog=f"examples:\n{examples}")
        verbs[full].set_defaults(run=run[full])
        return verbs[full]

    train = verb(top, "train", "Train a network by a recipe.", TRAIN_EXAMPLES)
    _recipe(train, "data set: published folders, index.csv, records", "run folder")
    train.add_argument(
        "--resume", action=argparse.BooleanOptionalAction, default=True, help="go on with a run in --out"
    )
    train.add_argument(
        "--skip-bad", action="store_true", help="leave unusable samples out, listed, instead of refusing"
    )

    fit = verb(top, "fit", "Fit a detector to normal images and calibrate its threshold.", FIT_EXAMPLES)
    _recipe(fit, "data set with normal images in split train", "folder of the fit")

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
    evaluate.add_argument("--layout", choices=LAYOUTS, default="auto", help=_LAYOUT_HELP)
    _keys(evaluate)
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

    check = verb(
        top,
        "verify",
        "Recompute a checkpoint's golden output and say how far off this machine is.",
        "  jaxqc verify runs/first",
    )
    check.add_argument("checkpoint", metavar="DIR", help="run folder")
    check.add_argument("--tolerance", type=float, metavar="X", help="largest difference (default: by dtype)")

    get = verb(
        top,
        "weights",
        "List known files of pretrained backbones; download and verify those named.",
        "  jaxqc weights\n  jaxqc weights resnet18 wide_resnet50_2",
    )
    get.add_argument("names", nargs="*", metavar="NAME", help="short names, as the list shows them")
    get.add_argument("--mirror", metavar="URL", help="folder of another server that has the files under their names")
    get.add_argument("--quiet", action="store_true", help="no progress display")
    change = verb(
        top,
        "convert",
        "Read a backbone's weights (names of torchvision, timm, CBAM, DINOv2, Hugging Face) into our own format.",
        "  jaxqc convert resnet50 resnet50.npz\n"
        "  jaxqc convert part.safetensors part.npz --model resnet18 --layers 1,2,3\n"
        "  jaxqc convert model.safetensors dinov2.npz --model dinov2_vits14",
    )
    change.add_argument("file", metavar="FILE", help=".npz, .safetensors, .pth, or a short name of `jaxqc weights`")
    change.add_argument("out", metavar="OUT", help="the .npz to write")
    change.add_argument("--model", metavar="NAME", help="resnet18, resnet50_cbam, dinov2_vits14, ...")
    change.add_argument("--layers", metavar="LIST", help="layers that are needed, as 1,2,3 (default: all whole ones)")
    change.add_argument("--head", action="store_true", help="take the classifier too")
    change.add_argument("--seed", type=int, default=0, help="draws what lies behind gates that the file does not bring")

    data = top.add_parser("data", help="Check, generate or pack data sets.", description="Data sets.")
    data_verbs = data.add_subparsers(dest="data_verb", required=True, metavar="VERB")
    check = verb(
        data_verbs,
        "check",
        "Find everything wrong with a data set in one pass.",
        "  jaxqc data check DIR\n  jaxqc data check mvtec_ad/wood --layout mvtec\n"
        "  jaxqc data check ~/tensorflow_datasets/oxford_iiit_pet/4.0.0 --mask-key segmentation_mask --foreground 1,3",
    )
    check.add_argument("data", metavar="DIR")
    check.add_argument("--layout", choices=(*LAYOUTS, "folder"), default="auto", help=_LAYOUT_HELP)
    _keys(check)
    make = verb(
        data_verbs,
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
        data_verbs,
        "records",
        "Pack a data set, decoded, into one record file that streams fast.",
        "  jaxqc data records DIR steel.array_record\n  jaxqc train --config FILE --data steel.array_record",
    )
    pack.add_argument("data", metavar="DIR")
    pack.add_argument("out", metavar="FILE")
    pack.add_argument("--layout", choices=[x for x in LAYOUTS if x != "records"], default="auto", help=_LAYOUT_HELP)
    _keys(pack)
    pack.add_argument("--size", type=int, default=0, metavar="PIXELS", help="resize to squares (default: keep)")
    split = verb(
        data_verbs,
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
        data_verbs,
        "tfds",
        "Prepare SD-saliency-900 as a TensorFlow Datasets set (ArrayRecord), split as it is or by seed 0.",
        "  jaxqc data tfds DIR ~/tensorflow_datasets",
    )
    prepare.add_argument("data", metavar="DIR", help="the published folders, or index.csv")
    prepare.add_argument("out", metavar="OUT", help="folder of all TFDS sets")
    ledger_verbs(top, verb)
    export_verb(top, verb)
    return parser, verbs


def _keys(parser: Parser) -> None:
    for name in ("image", "mask", "label"):
        parser.add_argument(f"--{name}-key", default="", metavar="NAME", help=f"TFDS: the feature that is the {name}")
    parser.add_argument("--foreground", default="", metavar="VALUES", help="TFDS: mask values that are defects, as 1,3")


def _recipe(parser: Parser, data: str, out: str) -> None:
    parser.add_argument("--config", required=True, metavar="FILE", help="recipe, a .py file (it is run: it is code)")
    parser.add_argument("--data", required=True, metavar="DIR", help=data)
    parser.add_argument("--out", metavar="DIR", help=f"{out} (default: runs/CONFIG-TIME)")
    parser.add_argument("--quiet", action="store_true", help="no progress display")


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


def _shown(fields: Sequence[Field]) -> str:
    rows = [(f"--{name.replace('_', '-')}", value) for name, _, value in fields]
    shown = [f"  {flag:30} {_text(value)}{' (a switch)' if isinstance(value, bool) else ''}" for flag, value in rows]
    phases = [f"  {'--phases':30} a JSON list that replaces the whole schedule"] * _has_phases(fields)
    return "\n".join([*shown, *phases])


def _text(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _has_phases(fields: Sequence[Field]) -> bool:
    return any(name.startswith("phases.") for name, _, _ in fields)


def _recipe_flags(fields: Sequence[Field]) -> list[str]:
    names = [name.replace("_", "-") for name, _, _ in fields]
    switched_off = [".no-".join(name.rsplit(".", 1)) for name in names]
    return [f"--{name}" for name in [*names, *switched_off, *["phases"] * _has_phases(fields)]]
