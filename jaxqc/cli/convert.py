"""`jaxqc convert`: somebody's weight file in our own format."""

import argparse
from pathlib import Path
from typing import Any

from jaxqc.cli.parser import Parser, add_verb
from jaxqc.errors import UserError

EXAMPLES = """\
  jaxqc convert resnet50 resnet50.npz
  jaxqc convert part.safetensors part.npz --model resnet18 --layers 1,2,3
  jaxqc convert model.safetensors dinov2.npz --model dinov2_vits14"""


def add(verbs: Any) -> Parser:
    """Adds the verb's parser."""
    text = "Read a backbone's weights (names of torchvision, timm, CBAM, DINOv2, Hugging Face) into our own format."
    parser = add_verb(verbs, "convert", text, EXAMPLES)
    add = parser.add_argument
    add("file", metavar="FILE", help=".npz, .safetensors, .pth, or a short name of `jaxqc weights`")
    add("out", metavar="OUT", help="the .npz to write")
    add("--model", metavar="NAME", help="resnet18, resnet50_cbam, dinov2_vits14, ...")
    add("--layers", metavar="LIST", help="layers that are needed, as 1,2,3 (default: all whole ones)")
    add("--prefix", metavar="TEXT", help="the encoder's names begin so (default: where most of it stands)")
    add("--head", action="store_true", help="take the classifier too")
    add("--seed", type=int, default=0, help="draws what lies behind gates that the file does not bring")
    return parser


def run(args: argparse.Namespace) -> int:
    """Converts, and prints what was read, what is missing and what was unused."""
    from jaxqc.weights.load import load_weights, save_weights

    out = Path(args.out)
    if out.suffix != ".npz":
        raise UserError(f"{out}: our own format ends in .npz")
    if out.exists() and Path(args.file).exists() and out.samefile(args.file):
        raise UserError(f"{out}: would replace its source; choose another name")
    read = load_weights(args.file, args.model, layers_of(args.layers), args.head, args.seed, args.prefix)
    save_weights(out, read)
    print("\n".join(read.report.lines()))
    print(f"source {read.source}, SHA-256 {read.sha256}\nwritten to {out}")
    return 0


def layers_of(text: str | None) -> tuple[int, ...] | None:
    """ "1,2,3" → (1, 2, 3); None stays.

    Raises:
      UserError: anything but digits and commas.
    """
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as e:
        raise UserError(f"--layers: {text!r} is not a list such as 1,2,3") from e
