"""Layers and operations of networks, NHWC, float32 or bfloat16; names are imported on first use.

>>> import jax.numpy as jnp
>>> from jaxqc import nn
>>> nn.resize(jnp.ones((1, 4, 4, 3)), 8, 6).shape
(1, 8, 6, 3)
"""

from typing import TYPE_CHECKING

from jaxqc.lazy import lazy_names

if TYPE_CHECKING:
    from jaxqc.nn.attention import CBAM
    from jaxqc.nn.conv import Conv, ConvBN, Depthwise, DepthwiseBN, DepthwiseSeparable, Norm, Pointwise, PointwiseBN
    from jaxqc.nn.depthwise import depthwise_conv
    from jaxqc.nn.dropout import ChannelDropout
    from jaxqc.nn.fold import fold_batch_norm
    from jaxqc.nn.norm import BatchNorm
    from jaxqc.nn.pool import avg3x3, block_max, block_mean, max3x3, min3x3
    from jaxqc.nn.resizing import resize, resize_align_corners, upsample2x
    from jaxqc.nn.self_attention import attend

__all__ = [
    "CBAM",
    "BatchNorm",
    "ChannelDropout",
    "Conv",
    "ConvBN",
    "Depthwise",
    "DepthwiseBN",
    "DepthwiseSeparable",
    "Norm",
    "Pointwise",
    "PointwiseBN",
    "attend",
    "avg3x3",
    "block_max",
    "block_mean",
    "depthwise_conv",
    "fold_batch_norm",
    "max3x3",
    "min3x3",
    "resize",
    "resize_align_corners",
    "upsample2x",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "CBAM": "attention",
        **dict.fromkeys(("Conv", "ConvBN", "Depthwise", "DepthwiseBN", "DepthwiseSeparable"), "conv"),
        **dict.fromkeys(("Norm", "Pointwise", "PointwiseBN"), "conv"),
        "depthwise_conv": "depthwise",
        "ChannelDropout": "dropout",
        "fold_batch_norm": "fold",
        "BatchNorm": "norm",
        **dict.fromkeys(("avg3x3", "block_max", "block_mean", "max3x3", "min3x3"), "pool"),
        **dict.fromkeys(("resize", "resize_align_corners", "upsample2x"), "resizing"),
        "attend": "self_attention",
    },
)
