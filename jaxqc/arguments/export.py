"""What the verb `export` takes, its help and examples."""

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from typing import Any

EXAMPLES = """\
  jaxqc export --checkpoint runs/first --out exports/first
  jaxqc export --checkpoint runs/tiles --out exports/tiles --format onnx
  jaxqc export --checkpoint runs/few --out exports/few --height 480 --width 640 --batch 1 --platforms cpu
docs/load_a_checkpoint.md tells how an export is used. jaxqc verify exports/first recomputes its golden outputs.
"""


def export_verb(top: Any, verb: Callable[..., ArgumentParser]) -> None:
    """Adds `export` to the parsers of all verbs; `verb` makes one."""
    text = (
        "Write a model as one graph (StableHLO or ONNX) that runs without its network's code; its outputs are proven."
    )
    export = verb(top, "export", text, EXAMPLES)
    export.add_argument("--checkpoint", required=True, metavar="DIR", help="run folder of a training or a fit")
    export.add_argument("--which", choices=("best", "last"), default="best", help="which of its checkpoints")
    export.add_argument("--out", required=True, metavar="DIR", help="folder of the export, new")
    export.add_argument(
        "--format", choices=("stablehlo", "onnx"), default="stablehlo", help="default: stablehlo, for jax.export"
    )
    export.add_argument(
        "--size",
        type=int,
        default=0,
        metavar="PIXELS",
        help="both sides of the images (default: any, or the network's)",
    )
    export.add_argument("--height", type=int, default=0, metavar="PIXELS", help="of images that are not square")
    export.add_argument("--width", type=int, default=0, metavar="PIXELS")
    export.add_argument(
        "--batch", type=_batch, default=0, metavar="N", help="images at once, or symbolic: any number (default)"
    )
    export.add_argument(
        "--platforms",
        nargs="+",
        default=["cpu", "cuda"],
        metavar="NAME",
        help="stablehlo: cpu, cuda, rocm, tpu (default: cpu cuda)",
    )


def _batch(text: str) -> int:
    """A positive number, or 0 for `symbolic`."""
    if text == "symbolic":
        return 0
    if not text.isdecimal() or not int(text):
        raise ArgumentTypeError(f"{text!r} is neither symbolic nor a number of images")
    return int(text)
