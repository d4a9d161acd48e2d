"""ResNets as feature extractors and classifiers, plain or with CBAM (arXiv 1512.03385, 1605.07146, 1807.06521).

A block with CBAM gates its residual branch after the last batch norm and before the addition. Strides sit on the 3x3
convolution of a bottleneck, as in torchvision. Module names are torchvision's, with `layer1_0` for `layer1.0` and a
convolution with its batch norm as one unit: `layer1.0.bn2.weight` is `layer1_0/conv2/bn/scale`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.errors import UserError, suggest
from jaxqc.nn.attention import CBAM
from jaxqc.nn.conv import ConvBN, Norm, Pointwise, PointwiseBN
from jaxqc.nn.pool import max3x3_halved
from jaxqc.types import ArrayLike

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Mean and deviation of RGB in [0, 1], by which every network trained on ImageNet here is normalised."""

LAYERS = (1, 2, 3, 4)


@dataclass(frozen=True)
class Spec:
    """The differences between ResNets.

    blocks: in each of the four layers. width: factor on the middle of a bottleneck. base: channels of the stem, 64 in
    every published one. deep: three 3x3 convolutions in place of the stem's 7x7, the last of twice as many channels.

    Examples:
      >>> Spec(blocks=(2, 2, 2, 2), bottleneck=False).channels(4)
      512
    """

    blocks: tuple[int, int, int, int]
    bottleneck: bool
    width: int = 1
    cbam: bool = False
    base: int = 64
    deep: bool = False

    def channels(self, layer: int) -> int:
        """Channels of a layer's output (1..4), at stride 2^(layer + 1)."""
        return self.base * (4 if self.bottleneck else 1) * 2 ** (layer - 1)


_PLAIN = {
    "resnet18": Spec((2, 2, 2, 2), False),
    "resnet34": Spec((3, 4, 6, 3), False),
    "resnet50": Spec((3, 4, 6, 3), True),
    "resnet101": Spec((3, 4, 23, 3), True),
    "resnet152": Spec((3, 8, 36, 3), True),
    "wide_resnet50_2": Spec((3, 4, 6, 3), True, 2),
    "wide_resnet101_2": Spec((3, 4, 23, 3), True, 2),
}
_DEEP = {f"{name}s": replace(_PLAIN[name], deep=True) for name in ("resnet50", "resnet101")}
BACKBONES: dict[str, Spec] = (
    _PLAIN
    | {f"{name}_cbam": Spec(spec.blocks, spec.bottleneck, spec.width, True) for name, spec in _PLAIN.items()}
    | _DEEP
)
"""Every backbone by name; `NAME_cbam` has CBAM in each block. `NAMEs`, as timm calls it, has a deep stem, as the
networks that semi-supervised DeepLabV3+ is published with."""


class Block(nn.Module):
    """One residual block: [n h w i] → [n h/stride w/stride features].

    features: output channels. inner: channels of the 3x3 convolution of a bottleneck, 0 for the basic block of two 3x3.
    strength: where the CBAM gates start (`jaxqc.nn.attention.CBAM`), None = no CBAM. dilations: of its two 3x3
    convolutions, a bottleneck's is the first.
    """

    features: int
    inner: int = 0
    stride: int = 1
    strength: float | None = None
    norm: Norm = Norm()
    dilations: tuple[int, int] = (1, 1)

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        norm, stride, (first, second) = self.norm, self.stride, self.dilations
        shortcut = x
        if self.inner:
            y = PointwiseBN(self.inner, norm, name="conv1")(x, train)
            y = ConvBN(self.inner, stride, norm, dilation=first, name="conv2")(y, train)
            y = PointwiseBN(self.features, norm, act=None, name="conv3")(y, train)
        else:
            y = ConvBN(self.features, stride, norm, dilation=first, name="conv1")(x, train)
            y = ConvBN(self.features, 1, norm, act=None, dilation=second, name="conv2")(y, train)
        if stride != 1 or x.shape[-1] != self.features:
            shortcut = PointwiseBN(self.features, norm, None, stride, name="downsample")(x, train)
        if self.strength is not None:
            y = CBAM(norm, self.strength, name="cbam")(y, train)
        return nn.relu(shortcut + y)


class ResNet(nn.Module):
    """Normalised image [n h w 3] → `{"layer1": [n h/4 w/4 c1], ...}` for the layers asked for.

    layers: any of 1..4. Nothing beyond the deepest is computed, nor has it parameters; sides that are no multiple of
    the stride round up. classes: 0 = no head; else the features come with `logits` [n classes] float32, and all four
    layers are built. gates: start of the CBAM gates' strength, 0 = identity.
    stride: of the deepest layer, 32, or 16 or 8: a layer that would go beyond keeps its size and spreads its taps
    instead (arXiv 1706.05587). grids: factors on the dilation of the last layer's blocks (multi-grid); () = 1.

    Examples:
      >>> from jaxqc.models.arrays import layer_shapes
      >>> layer_shapes(build_backbone("resnet18", (1, 2)), 64, 64)
      {'layer1': (1, 16, 16, 64), 'layer2': (1, 8, 8, 128)}
    """

    spec: Spec
    layers: tuple[int, ...] = (1, 2, 3)
    classes: int = 0
    gates: float = 1.0
    norm: Norm = Norm()
    stride: int = 32
    grids: tuple[int, ...] = ()

    @nn.compact
    def __call__(self, image: Float[ArrayLike, "n h w 3"], train: bool = False) -> dict[str, Array]:
        spec, out = self.spec, {}
        if spec.deep:
            x = ConvBN(spec.base, 2, self.norm, name="stem0")(image, train)
            x = ConvBN(spec.base, 1, self.norm, name="stem1")(x, train)
            x = ConvBN(2 * spec.base, 1, self.norm, name="stem2")(x, train)
        else:
            x = ConvBN(spec.base, 2, self.norm, 7, name="conv1")(image, train)
        x, before = max3x3_halved(x), 1
        for layer in range(1, (4 if self.classes else max(self.layers)) + 1):
            features = spec.channels(layer)
            inner = features // 4 * spec.width if spec.bottleneck else 0
            apart = max(1, 2 ** (layer + 1) // self.stride)
            for i in range(spec.blocks[layer - 1]):
                stride = 2 if layer > 1 and i == 0 and apart == 1 else 1
                strength = self.gates if spec.cbam else None
                grid = self.grids[i] if self.grids and layer == LAYERS[-1] else 1
                # As published: a layer's first convolution still has the dilation of the layer before.
                taps = (grid * (before if i == 0 else apart), grid * apart)
                x = Block(features, inner, stride, strength, self.norm, taps, name=f"layer{layer}_{i}")(x, train)
            before = apart
            if layer in self.layers:
                out[f"layer{layer}"] = x
        if self.classes:
            out["logits"] = Pointwise(self.classes, name="fc")(x.mean((1, 2)).astype(jnp.float32))
        return out


def build_backbone(
    name: str,
    layers: Sequence[int] = (1, 2, 3),
    classes: int = 0,
    dtype: str = "float32",
    folded: bool = False,
    axis_name: str | None = None,
    gates: float = 1.0,
) -> ResNet:
    """A backbone by name (`BACKBONES`).

    Args:
      layers: which of 1..4 come out; with a head there may be none of them.
      classes: outputs of the classifier head, 0 = none. dtype: compute dtype; parameters stay float32.
      folded: build for `jaxqc.nn.fold.fold_batch_norm` variables (inference only).
      axis_name: mapped axis for synchronised batch norm. gates: start of the CBAM gates' strength, 0 = identity.

    Raises:
      UserError: unknown name or dtype, layers that are none or not in 1..4.

    Examples:
      >>> build_backbone("wide_resnet50_2", layers=(3, 1)).layers
      (1, 3)
    """
    spec = backbone_spec(name)
    norm = Norm(folded, axis_name, jnp.dtype(checked_dtype(dtype)))
    return ResNet(spec, checked_layers(layers, classes), classes, gates, norm)


def backbone_spec(name: str) -> Spec:
    """The entry of `BACKBONES`. Raises `UserError` with the closest name where there is none.

    Examples:
      >>> backbone_spec("resnet50").channels(3)
      1024
    """
    if name not in BACKBONES:
        raise UserError(f"backbone: {name!r} is not one{suggest(name, BACKBONES)}")
    return BACKBONES[name]


def checked_layers(layers: Sequence[int], classes: int = 0, has: Sequence[int] = LAYERS) -> tuple[int, ...]:
    """Layers in rising order, each once. Raises `UserError` where the network has one not, or where there is none.

    has: the network's layers.

    Examples:
      >>> checked_layers([3, 1, 3])
      (1, 3)
    """
    chosen = tuple(sorted(set(layers)))
    if not set(chosen) <= set(has) or not (chosen or classes):
        choose = "choose one or more of " + ",".join(map(str, has)) if len(has) > 1 else f"take {has[0]}, the only one"
        raise UserError(f"layers: {','.join(map(str, layers)) or 'none'}; {choose}")
    return chosen


def checked_dtype(dtype: str) -> str:
    """The compute dtype as it is. Raises `UserError` where it is neither of the two.

    Examples:
      >>> checked_dtype("bfloat16")
      'bfloat16'
    """
    if dtype not in ("float32", "bfloat16"):
        raise UserError(f"backbone: dtype {dtype!r} is neither 'float32' nor 'bfloat16'")
    return dtype
