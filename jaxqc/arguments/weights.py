"""What the verbs of pretrained weights take: `weights` and `convert`."""

from typing import Any

from jaxqc.arguments.parser import MakeVerb


def weights_verbs(top: Any, verb: MakeVerb) -> None:
    """Adds them to the parsers of all verbs; `verb` makes one."""
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
