"""Flags that several verbs have, each above what reads it, and the list of files that could not be used."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxqc.cli.parser import Parser
from jaxqc.errors import UserError


def add_quiet(parser: Parser) -> None:
    """`--quiet`."""
    parser.add_argument("--quiet", action="store_true", help="no progress display")


def add_layout(parser: Parser) -> None:
    """`--layout`."""
    about = "how it lies on disk, by the name of a published data set, as mvtec (default: by its folders and files)"
    parser.add_argument("--layout", metavar="NAME", default="auto", help=about)


def add_keys(parser: Parser) -> None:
    """Words on a data set: features of a TFDS set, values of masks, the good class."""
    for name in ("image", "mask", "label"):
        parser.add_argument(f"--{name}-key", default="", metavar="NAME", help=f"TFDS: the feature that is the {name}")
    parser.add_argument("--foreground", default="", metavar="VALUES", help="mask values that are defects, as 1,3")
    parser.add_argument("--normal", default="", metavar="CLASS", help="the class of good images, if its name hides it")
    parser.add_argument("--unmasked", default="", metavar="good", help="good: images without a mask have no defect")


def add_rendering(parser: Parser) -> None:
    """`--range` and `--channels`."""
    about = "values of black and white in images of more than 8 bits, as 0,4095 (default: by the files)"
    parser.add_argument("--range", default="", metavar="LOW,HIGH", help=about)
    about = "bands that are grey, or red, green and blue, counted from 1, as 4,2,1 (default: by the files)"
    parser.add_argument("--channels", default="", metavar="BANDS", help=about)


def rendering_of_flags(args: argparse.Namespace) -> Any:
    """The rendering (`jaxqc.data.rendering`) from the command line. Raises UserError where a flag says none."""
    from jaxqc.data.rendering import Rendering
    from jaxqc.image_config import channels_of, range_of

    return Rendering(
        range_of(_numbers(args.range, float, "--range", "the values of black and white, as 0,4095"), "--range"),
        channels_of(_numbers(args.channels, int, "--channels", "bands counted from 1, as 4,2,1"), "--channels"),
    )


def _numbers(text: str, kind: type, flag: str, wanted: str) -> tuple[Any, ...]:
    try:
        return tuple(kind(part) for part in text.split(",") if part)
    except ValueError as e:
        raise UserError(f"{flag}: {text} are no numbers; give {wanted}") from e


def keys(args: argparse.Namespace) -> Any:
    """The words on a data set from the command line; None where no flag has one."""
    from jaxqc.data.open import Keys, check_reading, is_tfds, mask_values

    flag = next((flag for flag in args.given if flag.endswith("-key")), None)
    if flag and not is_tfds(args.data, args.layout):
        raise UserError(f"{flag}: goes with a TFDS set, and {args.data} is none; leave it out")
    values = mask_values(args.foreground, "--foreground")
    keys = Keys(args.image_key, args.mask_key, args.label_key, values, args.normal, args.unmasked)
    check_reading(keys, "--unmasked")
    return None if keys == Keys() else keys


def add_checkpoint(parser: Parser) -> None:
    """`--checkpoint` and `--which`."""
    parser.add_argument("--checkpoint", required=True, metavar="DIR", help="run folder of a training or a fit")
    parser.add_argument("--which", choices=("best", "last"), default="best", help="which of its checkpoints")


def add_engine(parser: Parser) -> None:
    """`--engine`."""
    about = "what runs the network: xla, openvino or onnxruntime (default: xla; of an ONNX export what is installed)"
    parser.add_argument("--engine", default=None, metavar="NAME", help=about)


def load_model(args: argparse.Namespace) -> Any:
    """The model of `--checkpoint`, `--which`, `--batch` and `--engine`."""
    from jaxqc import api
    from jaxqc.training.cache import enable_compilation_cache
    from jaxqc.training.folder_sums import unlisted

    if args.batch < 1:
        raise UserError(f"--batch: {args.batch} must be 1 or more")
    enable_compilation_cache()
    model = api.load(args.checkpoint, args.which, batch=args.batch, engine=getattr(args, "engine", None))
    if line := unlisted(Path(args.checkpoint)):
        print(line, file=sys.stderr)
    return model


def of_product(model: Any, product: str | None) -> Any:
    """The model with the thresholds of `--product`; a line where it has several products and none is named.

    Raises:
      UserError: no such product, or no detector.
    """
    several = getattr(model, "products", ())
    if product is not None:
        if not hasattr(model, "of"):
            raise UserError(f"--product: {product!r}: only a detector has thresholds of products; leave it out")
        return model.of(product)
    if several:
        names = ", ".join(several)
        print(f"of {len(several)} products ({names}): --product takes one's own thresholds", file=sys.stderr)
    return model


def add_window(parser: Parser) -> None:
    """`--window`."""
    parser.add_argument(
        "--window", action="store_true", help="segmentation: large images in overlapping windows (default: the run's)"
    )


def add_use(parser: Parser, out: str) -> None:
    """`--out`, `--size`, `--batch` and `--quiet` of a verb that makes maps; out: what goes there."""
    parser.add_argument("--out", metavar="DIR", help=out)
    parser.add_argument(
        "--size",
        type=int,
        metavar="PIXELS",
        help="network input, of a segmentation its long side (default: the run's; 0: image's own)",
    )
    parser.add_argument("--batch", type=int, default=16, metavar="N", help="most images on the device at once")
    add_quiet(parser)


def check_given(args: argparse.Namespace, model: Any, verb: str, options: Mapping[str, str]) -> Any:
    """The kind of a model, for which every flag that was given is of use.

    options: flag → name of the option that it is to the kinds' function `verb`.

    Raises:
      UserError: naming a flag whose option this kind's function does not take.
    """
    from jaxqc.kinds import KINDS, check_options, kind_of

    kind, spelt = kind_of(model), {options[flag]: flag for flag in args.given if flag in options}
    check_options(spelt, kind.name, {other.name: getattr(other, verb) for other in KINDS.values()}, spelt)
    return kind


def refuse_given(args: argparse.Namespace, reason: str, *flags: str) -> None:
    """Raises UserError for the first of `flags` that was given, which are of no use for the `reason`."""
    for flag in flags:
        if flag in args.given:
            raise UserError(f"{flag}: {reason}; leave it out")


def warned(lines: Sequence[str], file: Path) -> None:
    """Prints warnings, and the file that has each of them."""
    for line in lines:
        print(f"warning: {line}", file=sys.stderr)
    if lines:
        print(f"all warnings: {file}", file=sys.stderr)


def unreadable(lines: Sequence[str], total: int | None = None, file: Path | None = None) -> int:
    """Lists files that could not be used; the exit code. total: how many there are, where `file` has more of them."""
    total = len(lines) if total is None else total
    if total:
        print(f"{total} files could not be used:", file=sys.stderr)
        for line in lines:
            print(f"  {line}", file=sys.stderr)
        if file is not None:
            print(f"all of them: {file}", file=sys.stderr)
    return 1 if total else 0


def print_notes(lines: Sequence[str]) -> None:
    """Prints lines that deserve a look on stderr."""
    for line in lines:
        print(line, file=sys.stderr)
