"""Heads of segmentation networks by name, and the dilated ResNets that DeepLabV3+ is published with."""

import flax.linen as nn

from jaxqc.errors import UserError, suggest
from jaxqc.models.all_mlp import AllMlp
from jaxqc.models.deeplab import DEEPLABS, DeepLabV3Plus
from jaxqc.models.dinov2 import VITS
from jaxqc.models.dpt import DPT
from jaxqc.models.resnet import LAYERS, ResNet
from jaxqc.nn.conv import Norm

Head = DPT | DeepLabV3Plus | AllMlp
HEADS = ("dpt", *DEEPLABS, "segformer")
"""Names of the heads (`jaxqc.models.dpt`, `.deeplab`, `.all_mlp`)."""
STRIDES = (32, 16, 8)
"""Strides that a ResNet's deepest layer may have."""
MULTI_GRID = (2, 2, 4)
"""Factors on the dilation of a ResNet's last blocks, U2PL's."""


def pyramid_head(
    head: str, encoder: str, classes: int, hidden: int, prior: tuple[float, ...], represent: int, norm: Norm
) -> DeepLabV3Plus | AllMlp:
    """A head other than `dpt` for an encoder by name; the rest as of `jaxqc.models.segmenter.build_segmenter`.

    Raises:
      UserError: an unknown head, or a transformer whose maps are of one size.

    Examples:
      >>> pyramid_head("segformer", "mit_b0", 3, 0, (), 0, Norm()).features
      768
    """
    if head not in HEADS:
        raise UserError(f"head: {head!r} is not one{suggest(head, HEADS)}")
    if encoder in VITS:
        raise UserError(f"head: {head!r} takes maps of several sizes, and {encoder} has one; take 'dpt'")
    given = (prior, represent, norm)
    if head in DEEPLABS:
        return DeepLabV3Plus(DEEPLABS[head], classes, hidden or 256, *given)
    return AllMlp(classes, hidden or 768, *given)


def dilated(encoder: str, network: nn.Module, layers: int, stride: int, multi_grid: bool) -> ResNet:
    """A ResNet with its deepest layers dilated in place of strides.

    Raises:
      UserError: another network, a stride that it cannot have, or a multi-grid without dilation.

    Examples:
      >>> from jaxqc.models.resnet import build_backbone
      >>> dilated("resnet18", build_backbone("resnet18", (1, 2, 3, 4)), 4, 16, False).stride
      16
    """
    if not isinstance(network, ResNet):
        raise UserError(f"output_stride, multi_grid: {encoder} is no ResNet; leave them at {STRIDES[0]} and False")
    if stride not in STRIDES:
        raise UserError(f"output_stride: {stride} is none of {', '.join(map(str, STRIDES))}")
    if multi_grid and (layers < len(LAYERS) or stride == STRIDES[0] or network.spec.blocks[-1] != len(MULTI_GRID)):
        raise UserError(
            f"multi_grid: takes a ResNet's fourth layer of {len(MULTI_GRID)} blocks and output_stride 16 or 8;"
            f" {encoder} has {layers} layers, of stride {stride}"
        )
    return network.clone(stride=stride, grids=MULTI_GRID if multi_grid else ())
