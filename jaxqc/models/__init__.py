"""Whole networks, one file each; names are imported on first use. Needs only jax, flax, numpy and einops.

>>> from jaxqc import models
>>> models.build_backbone("resnet18", (1, 2)).__class__.__name__
'ResNet'
"""

from typing import TYPE_CHECKING

from jaxqc.lazy import lazy_names

if TYPE_CHECKING:
    from jaxqc.models.builders import Builder, assemble
    from jaxqc.models.dinov2 import VITS, build_vit
    from jaxqc.models.pretrained import convert_state
    from jaxqc.models.resnet import BACKBONES, build_backbone
    from jaxqc.models.segmenter import build_segmenter, encoder_spec

__all__ = [
    "BACKBONES",
    "VITS",
    "Builder",
    "assemble",
    "build_backbone",
    "build_segmenter",
    "build_vit",
    "convert_state",
    "encoder_spec",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        **dict.fromkeys(("Builder", "assemble"), "builders"),
        **dict.fromkeys(("VITS", "build_vit"), "dinov2"),
        "convert_state": "pretrained",
        **dict.fromkeys(("BACKBONES", "build_backbone"), "resnet"),
        **dict.fromkeys(("build_segmenter", "encoder_spec"), "segmenter"),
    },
)
