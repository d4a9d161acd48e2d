"""`jaxqc export`: a model as one graph."""

import argparse
from typing import Any

from jaxqc.cli.parser import Parser, add_verb
from jaxqc.cli.shared import add_checkpoint, refuse_given
from jaxqc.errors import UserError

EXAMPLES = """\
  jaxqc export --checkpoint runs/first --out exports/first
  jaxqc export --checkpoint runs/tiles --out exports/tiles --format onnx
  jaxqc export --checkpoint runs/few --out exports/few --height 480 --width 640 --batch 1 --platforms cpu
docs/guide/export.md shows how an export is used. jaxqc verify exports/first recomputes its golden outputs.
"""


def add(verbs: Any) -> Parser:
    """Adds the verb's parser."""
    text = (
        "Write a model as one graph (StableHLO or ONNX) that runs without its network's code; its outputs are proven."
    )
    parser = add_verb(verbs, "export", text, EXAMPLES)
    add_checkpoint(parser)
    add = parser.add_argument
    add("--out", required=True, metavar="DIR", help="folder of the export, new")
    form = "default: stablehlo, for jax.export"
    add("--format", choices=("stablehlo", "onnx"), default="stablehlo", help=form)
    sides = "both sides of the images (default: any, or the network's)"
    add("--size", type=int, default=0, metavar="PIXELS", help=sides)
    add("--height", type=int, default=0, metavar="PIXELS", help="of images that are not square")
    add("--width", type=int, default=0, metavar="PIXELS")
    at_once = "images at once, or symbolic: any number (default)"
    add("--batch", type=_batch, default=0, metavar="N", help=at_once)
    platforms = "stablehlo: cpu, cuda, rocm, tpu (default: cpu cuda)"
    add("--platforms", nargs="+", default=["cpu", "cuda"], metavar="NAME", help=platforms)
    return parser


def _batch(text: str) -> int:
    """A positive number, or 0 for `symbolic`."""
    if text == "symbolic":
        return 0
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is neither symbolic nor a number of images")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Exports a checkpoint and prints what goes in, what comes out, and how well it agrees."""
    if args.size and (args.height or args.width):
        raise UserError("--size: stands for both --height and --width; give it or those")
    if args.format == "onnx":
        refuse_given(args, "goes with stablehlo; an ONNX graph is of no platform", "--platforms")
    from jaxqc.export.writing import write
    from jaxqc.training.cache import enable_compilation_cache

    enable_compilation_cache()
    meta = write(
        args.checkpoint,
        args.out,
        args.format,
        height=args.size or args.height,
        width=args.size or args.width,
        batch=args.batch,
        platforms=args.platforms,
        which=args.which,
    )
    print(f"{args.out}: {meta['kind']}, {meta['name']}, {meta['weights']['count']:,} numbers, {meta['graph']}")
    shown = [("image", meta["input"]), *meta["outputs"].items()]
    for name, value in shown:
        print(f"  {name:14} {value['dtype']} {_shape(value['shape'])}  {value.get('meaning', 'pixels, RGB')}")
    parity = meta["parity"]
    if parity is None:
        print(
            f"not checked: this machine is none of {', '.join(meta['platforms'])}; run jaxqc verify {args.out} on one"
        )
    else:
        found = ", ".join(f"{name} {value:.1e}" for name, value in parity["differences"].items())
        print(f"agrees with the checkpoint: {found} (numbers may differ by {parity['tolerance']:.0e}, labels and masks "
              f"in {parity['share']:.1%} of the pixels)")  # fmt: skip
    print(f"next: {'examples/use_onnx.py' if meta['graph'] == 'onnx' else f'jaxqc verify {args.out}'}")
    return 0


def _shape(sizes: list[int | str]) -> str:
    return f"[{' '.join(map(str, sizes))}]"
