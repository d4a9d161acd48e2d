"""An encoder and a head: images → logits, both halves callable apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.errors import UserError, suggest
from jaxqc.models import backbones
from jaxqc.models.channel_attention import ChannelAttention
from jaxqc.models.clip import CLIPS, ClipVision, clip_spec
from jaxqc.models.dinov2 import PATCH, VITS, build_vit
from jaxqc.models.dpt import DPT
from jaxqc.models.efficientnet import EFFICIENTNETS
from jaxqc.models.heads import STRIDES, Head, dilated, pyramid_head
from jaxqc.models.language_decoder import LanguageDecoder
from jaxqc.models.mit import MITS
from jaxqc.models.resnet import BACKBONES, LAYERS
from jaxqc.models.start import merged
from jaxqc.nn.conv import Norm
from jaxqc.types import ArrayLike, Variables

Features = tuple[Float[Array, "n _ _ _"], ...]
"""Maps [n h w c], shallow to deep: four, or as many as a convolutional network's layers that are used."""

# Hidden width and channels after reassembly, by a transformer's width (arXiv 2410.10777 takes these).
_HEADS = {
    192: (32, (24, 48, 96, 192)),
    384: (64, (48, 96, 192, 384)),
    768: (128, (96, 192, 384, 768)),
    1024: (256, (256, 512, 1024, 1024)),
    1536: (384, (1536, 1536, 1536, 1536)),
}


@dataclass(frozen=True)
class EncoderSpec:
    """An encoder's outputs and demands.

    widths: channels of its features. multiple: of which both sides of an image must be. hidden, channels: of the
    head that goes with it (`jaxqc.models.dpt.DPT`).
    """

    widths: tuple[int, ...]
    multiple: int
    hidden: int
    channels: tuple[int, ...]


def encoder_spec(encoder: str, layers: int = len(LAYERS)) -> EncoderSpec:
    """By the encoder's name: one of `VITS`, of `BACKBONES`, of `EFFICIENTNETS` or of `MITS`.

    layers: how many of a convolutional network's are used. Weights often come without the last one, which drawn at
    random makes training slower and brings little to small crops; of transformers always four.

    Raises:
      UserError: unknown name, or a number of layers that it cannot have.

    Examples:
      >>> encoder_spec("resnet18").widths
      (64, 128, 256, 512)
    """
    least = len(LAYERS) if encoder in {*VITS, *CLIPS} else 2
    if not least <= layers <= len(LAYERS):
        raise UserError(f"layers={layers}: {encoder} takes {'2 to ' if least == 2 else ''}{len(LAYERS)}")
    if encoder in VITS:
        width = VITS[encoder].width
        return EncoderSpec((width,) * 4, PATCH, *_HEADS[width])
    if encoder in BACKBONES:
        spec = BACKBONES[encoder]
        return EncoderSpec(
            tuple(spec.channels(layer) for layer in LAYERS[:layers]), 1, 128 if spec.bottleneck else 64, ()
        )
    if encoder in CLIPS:
        clip = CLIPS[encoder]
        return EncoderSpec((*(clip.width for _ in clip.taps), clip.embed), clip.patch, 0, ())
    if encoder in EFFICIENTNETS:
        sizes = EFFICIENTNETS[encoder]
        return EncoderSpec(tuple(sizes.channels(layer) for layer in LAYERS[:layers]), 1, 64, ())
    if encoder in MITS:
        return EncoderSpec(MITS[encoder].widths[:layers], 1, 128, ())
    names = [*VITS, *BACKBONES, *EFFICIENTNETS, *MITS, *CLIPS]
    raise UserError(f"encoder: {encoder!r} is not one{suggest(encoder, names)}")


class Segmenter(nn.Module):
    """Image [n h w 3] → float32 logits [n h w classes], corners aligned.

    The image is normalised as the encoder's weights want it: by `jaxqc.models.resnet.IMAGENET_MEAN` and `IMAGENET_STD`
    for every published one, DINOv2 too.

    Variables lie under `encoder` and `head`. Either half runs alone on its own:
    `apply(variables, image, method="encode")` and `apply(variables, features, size, method="decode")`.

    Examples:
      >>> import jax
      >>> network, image = build_segmenter("vit_tiny14", classes=4), jnp.zeros((1, 28, 42, 3))
      >>> variables = jax.eval_shape(network.init, jax.random.key(0), image)
      >>> jax.eval_shape(network.apply, variables, image).shape
      (1, 28, 42, 4)
    """

    encoder: nn.Module
    head: Head
    channels: ChannelAttention | None = None

    def __call__(self, image: Float[ArrayLike, "n h w 3"], train: bool = False) -> Float[Array, "n h w classes"]:
        features = self.encode(image, train)
        if self.channels is not None:
            features = (
                *features[:-1],
                self.channels(features[-1]) if self.is_initializing() else self.channels.alone(features[-1]),
            )
        return self.decode(features, image.shape[1:3])

    def encode(self, image: Float[ArrayLike, "n h w 3"], train: bool = False) -> Features:
        """Features, shallow to deep: of one size (transformer) or each half the one before (ResNet).

        train: batch norm takes the batch's statistics (`batch_stats` must be mutable). Transformers have none.
        """
        return tuple(self.encoder(image, train).values())

    def decode(
        self, features: Sequence[Float[ArrayLike, "n _ _ _"]], size: Sequence[int] | None = None
    ) -> Float[Array, "n height width classes"]:
        """Features → logits of `size` = (height, width); None: before the last resize, at the head's own size."""
        return self.head(features, None if size is None else (size[0], size[1]))

    def alone(self, features: Features) -> Features:
        """Features of images as they are used, where the network has `channels`: an image has no neighbours."""
        assert self.channels is not None
        return (*features[:-1], self.channels.alone(features[-1]))

    def relate(self, labelled: Features, unlabelled: Features, memory: Any, key: Any) -> tuple[Features, Features, Any]:
        """Features of labelled and unlabelled images, the deepest changed by each other's, and what a memory keeps."""
        assert self.channels is not None
        one, two, kept = self.channels.relate(labelled[-1], unlabelled[-1], memory, key)
        return (*labelled[:-1], one), (*unlabelled[:-1], two), kept

    def represent(
        self, features: Sequence[Float[ArrayLike, "n _ _ _"]], size: Sequence[int]
    ) -> tuple[Float[Array, "n height width classes"], Float[Array, "n _ _ d"]]:
        """Features → logits of `size`, and features of places, as the head has them."""
        return self.head(features, (size[0], size[1]), both=True)


class LanguageSegmenter(nn.Module):
    """Image [n h w 3] → float32 logits [n h w classes] by likeness to phrases; halves as of `Segmenter`.

    The image is normalised by `jaxqc.models.clip.CLIP_MEAN` and `CLIP_STD`.
    """

    encoder: ClipVision
    head: LanguageDecoder

    def __call__(self, image: Float[ArrayLike, "n h w 3"], train: bool = False) -> Float[Array, "n h w classes"]:
        return self.decode(self.encode(image), image.shape[1:3])

    def encode(self, image: Float[ArrayLike, "n h w 3"]) -> dict[str, Array]:
        """Maps of two blocks, and the embedding of each place."""
        return self.encoder(image)

    def decode(
        self, features: dict[str, Array], size: Sequence[int] | None = None
    ) -> Float[Array, "n height width classes"]:
        """Features → logits of `size` = (height, width); None: at the head's own size."""
        return self.head(features, None if size is None else (size[0], size[1]))


def build_language_segmenter(
    encoder: str, classes: int, dtype: str = "float32", phrases: Any = None, owner: Any = None
) -> LanguageSegmenter:
    """CLIP and a decoder of phrases (`jaxqc.models.language_decoder.LanguageDecoder`).

    Raises:
      UserError: another encoder.
    """
    if encoder not in CLIPS:
        raise UserError(f"encoder: {encoder!r} has no words; with semi.language.decoder take {', '.join(CLIPS)}")
    return LanguageSegmenter(ClipVision(clip_spec(encoder), jnp.dtype(dtype)), LanguageDecoder(classes, phrases, owner))


def build_segmenter(
    encoder: str,
    classes: int,
    dtype: str = "float32",
    hidden: int = 0,
    channels: Sequence[int] = (),
    prior: Sequence[float] = (),
    attention: str = "auto",
    axis_name: str | None = None,
    folded: bool = False,
    layers: int = len(LAYERS),
    represent: int = 0,
    heads: int = 0,
    head: str = "dpt",
    stride: int = STRIDES[0],
    multi_grid: bool = False,
) -> Segmenter:
    """A segmenter by the name of its encoder (`VITS`, `BACKBONES`, `EFFICIENTNETS`, `MITS`).

    Args:
      dtype: compute dtype; parameters and logits stay float32.
      hidden: width of the head; 0 = what goes with the encoder, or with a published head. channels: likewise after
        reassembly, DINOv2 only.
      prior: share of each class among the pixels, where the last bias starts; () = zeros.
      attention: of DINOv2. axis_name, folded: of the others (`jaxqc.models.backbones.build`), and of the head.
      layers: see `encoder_spec`. represent: of the head. heads: of channel attention on the deepest feature.
      head: one of `jaxqc.models.heads.HEADS`; DINOv2 has `dpt` alone. stride: of a ResNet's deepest layer.
      multi_grid: whether that layer's blocks are dilated by `jaxqc.models.heads.MULTI_GRID`.

    Raises:
      UserError: an unknown name, a number that is not positive, lists of the wrong length, or parts that do not go
        together.

    Examples:
      >>> network = build_segmenter("resnet18", classes=2, prior=(0.9, 0.1))
      >>> network.head.classes, network.head.features
      (2, 64)
    """
    known = encoder_spec(encoder, layers)
    if classes < 1 or hidden < 0:
        raise UserError(f"segmenter: classes = {classes} must be positive and hidden = {hidden} not negative")
    if channels and (not known.channels or len(channels) != 4 or min(channels) < 1):
        raise UserError(f"segmenter: channels {tuple(channels)}: four positive numbers, and only for transformers")
    if prior and (len(prior) != classes or min(prior) < 0 or not sum(prior) > 0):
        raise UserError(f"segmenter: prior {tuple(prior)}: one share, 0 or more, for each of {classes} classes")
    if encoder in CLIPS:
        raise UserError(f"encoder: {encoder!r} has a decoder of phrases alone; choose the method semivl, or another")
    network: nn.Module
    if encoder in VITS:
        network = build_vit(encoder, dtype, attention)
    else:
        network = backbones.build(encoder, LAYERS[:layers], dtype, folded, axis_name)
    if stride != STRIDES[0] or multi_grid:
        network = dilated(encoder, network, layers, stride, multi_grid)
    widths, compute = tuple(channels) or known.channels, jnp.dtype(dtype)
    if head == "dpt":
        top: Head = DPT(classes, hidden or known.hidden, widths, tuple(prior), compute, represent)
    else:
        top = pyramid_head(head, encoder, classes, hidden, tuple(prior), represent, Norm(folded, axis_name, compute))
    channels_block = ChannelAttention(known.widths[-1], heads, compute) if heads else None
    return Segmenter(network, top, channels_block)


def with_encoder(variables: Variables, encoder: Variables) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A segmenter's variables with those of an encoder from a file in their place.

    Args:
      encoder: `{"params", ...}` as `jaxqc.weights.load.load_weights` reads them; a file may end before the deepest
        layer.

    Returns:
      The variables, and the modules of the encoder that keep their start because the file does not bring them.

    Raises:
      UserError: an array has no place here or another shape.

    Examples:
      >>> import numpy as np
      >>> ours = {"params": {"encoder": {"conv1": jnp.zeros(2), "fc": jnp.zeros(2)}, "head": jnp.zeros(1)}}
      >>> variables, kept = with_encoder(ours, {"params": {"conv1": np.ones(2)}})
      >>> variables["params"]["encoder"]["conv1"].tolist(), kept
      ([1.0, 1.0], ('fc',))
    """
    out = {kind: dict(tree) for kind, tree in variables.items()}
    for kind, tree in encoder.items():
        ours = out.get(kind, {}).get("encoder")
        if ours is None:
            raise UserError(f"encoder: the weights bring {kind}, which this encoder does not have")
        out[kind]["encoder"] = merged(ours, tree, "encoder", kind)
    kept = [name for name in variables["params"]["encoder"] if name not in encoder["params"]]
    return out, tuple(kept)
