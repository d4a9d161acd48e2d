"""`jaxqc convert`: somebody's weight file in our own format, or a published network as a run folder."""

import argparse
from pathlib import Path
from typing import Any

from jaxqc.cli.parser import Parser, add_verb
from jaxqc.cli.shared import refuse_given
from jaxqc.errors import UserError

EXAMPLES = """\
  jaxqc convert resnet50 resnet50.npz
  jaxqc convert part.safetensors part.npz --model resnet18 --layers 1,2,3
  jaxqc convert model.safetensors dinov2.npz --model dinov2_vits14
  jaxqc convert model.safetensors words.npz --text "a photo of a {}" --names road,car --vocabulary bpe.txt.gz
  jaxqc convert minet MINet.pth runs/minet
  jaxqc convert MINet.pth minet.npz --model minet
  jaxqc convert pp_liteseg model.pdparams start.npz"""


def add(verbs: Any) -> Parser:
    """Adds the verb's parser."""
    text = (
        "Read a backbone's weights (names of torchvision, timm, CBAM, DINOv2, Hugging Face) or a network's (of MINet,"
    )
    text += (
        " CorrNet, UCTransNet, PP-LiteSeg) into our own format. Of a network, OUT without .npz becomes a run folder."
    )
    parser = add_verb(verbs, "convert", text, EXAMPLES)
    add = parser.add_argument
    add("file", metavar="FILE", help=".npz, .safetensors, .pth, .pdparams, or a short name of `jaxqc weights`")
    add("out", metavar="OUT", help="the .npz to write; of a network also a run folder")
    add("last", nargs="?", metavar="", help="three words are the model's name, FILE and OUT")
    add("--model", metavar="NAME", help="resnet18, resnet50_cbam, dinov2_vits14, minet, corrnet, ...")
    add("--layers", metavar="LIST", help="layers that are needed, as 1,2,3 (default: all whole ones)")
    add("--prefix", metavar="TEXT", help="the encoder's names begin so (default: where most of it stands)")
    add("--head", action="store_true", help="take the classifier too")
    add("--text", metavar="TEXT", help="embeddings of this text by CLIP's text tower, a class's name in place of {}")
    add("--names", metavar="LIST", help="the classes' names, as road,car")
    add("--vocabulary", metavar="FILE", help="CLIP's bpe_simple_vocab_16e6.txt.gz")
    add("--seed", type=int, default=0, help="draws what lies behind gates that the file does not bring")
    return parser


def run(args: argparse.Namespace) -> int:
    """Converts, and prints what was read, what is missing and what was unused."""
    from jaxqc.saliency.networks import NETWORKS
    from jaxqc.saliency.published import network_in
    from jaxqc.weights.known import model_of

    if args.last is not None:
        refuse_given(args, "the first of three words is the model's name", "--model")
        args.model, args.file, args.out = args.file, args.out, args.last
    if args.text or args.names or args.vocabulary:
        return _words(args)
    out, network = Path(args.out), args.model or model_of(args.file)
    network = network and network_in(args.file, network)
    if network in NETWORKS and (published := NETWORKS[network].published):
        return _network(args, out, str(network), published)
    from jaxqc.weights.load import load_weights, save_weights

    if out.suffix != ".npz":
        raise UserError(f"{out}: our own format ends in .npz")
    _keep_source(args, out)
    read = load_weights(args.file, args.model, layers_of(args.layers), args.head, args.seed, args.prefix)
    save_weights(out, read)
    print("\n".join(read.report.lines()))
    print(f"source {read.source}, SHA-256 {read.sha256}\nwritten to {out}")
    return 0


def _words(args: argparse.Namespace) -> int:
    """Embeddings of a text for each class, for semi.language.embeddings."""
    from jaxqc.weights.words import embed, write_phrases

    refuse_given(args, "goes with weights, and --text with words", "--layers", "--prefix", "--head", "--seed")
    if not (args.text and args.names and args.vocabulary):
        raise UserError("--text, --names and --vocabulary go together; give all three")
    if "{}" not in args.text:
        raise UserError(f"--text: {args.text!r} has no {{}}, where a class's name stands")
    names = [name.strip() for name in args.names.split(",")]
    if not all(names) or len(set(names)) < len(names):
        raise UserError(f"--names: {args.names!r}: a name is empty or comes twice; give each class once")
    texts = [args.text.replace("{}", name) for name in names]
    values = embed(args.file, args.vocabulary, texts, args.model or "clip_vitb16")
    write_phrases(args.out, names, args.text, values)
    print(f"{len(names)} phrases of length {values.shape[1]}\nwritten to {args.out}")
    return 0


def _network(args: argparse.Namespace, out: Path, network: str, published: Any) -> int:
    from jaxqc.saliency.published import read_published, write_published

    refuse_given(args, f"goes with backbones, and {network} is a network", "--layers", "--prefix", "--head", "--seed")
    found = read_published(args.file, network, published)
    if out.suffix == ".npz":
        _keep_source(args, out)
        write_published(out, found)
    else:
        from jaxqc.saliency.published_run import write_run

        write_run(out, found)
    print("\n".join(found.report.lines()))
    print(f"source {found.source}, SHA-256 {found.sha256}\nwritten to {out}")
    if out.suffix != ".npz":
        print(f"next: jaxqc evaluate --checkpoint {out} --data DIR")
    return 0


def _keep_source(args: argparse.Namespace, out: Path) -> None:
    if out.exists() and Path(args.file).exists() and out.samefile(args.file):
        raise UserError(f"{out}: would replace its source; choose another name")


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
