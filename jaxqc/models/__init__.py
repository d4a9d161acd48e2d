"""Whole networks, one file each; names are imported on first use. Needs only jax, flax, numpy and einops.

>>> from jaxqc import models
>>> models.build("tscarnet", classes=3).__class__.__name__
'TSCARNet'
"""

from typing import TYPE_CHECKING

from jaxqc.lazy import lazy_names

if TYPE_CHECKING:
    from jaxqc.models.builders import BUILDERS, Builder, assemble, build
    from jaxqc.models.dinov2 import VITS, build_vit
    from jaxqc.models.pretrained import convert_state
    from jaxqc.models.resnet import BACKBONES, build_backbone
    from jaxqc.models.segmenter import build_segmenter, encoder_spec

__all__ = [
    "BACKBONES",
    "BUILDERS",
    "VITS",
    "Builder",
    "assemble",
    "build",
    "build_backbone",
    "build_segmenter",
    "build_vit",
    "convert_state",
    "encoder_spec",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        **dict.fromkeys(("BUILDERS", "Builder", "assemble", "build"), "builders"),
        **dict.fromkeys(("VITS", "build_vit"), "dinov2"),
        "convert_state": "pretrained",
        **dict.fromkeys(("BACKBONES", "build_backbone"), "resnet"),
        **dict.fromkeys(("build_segmenter", "encoder_spec"), "segmenter"),
    },
)
