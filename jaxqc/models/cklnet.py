"""CKLNet (2026, MINet's authors): MINet's encoder, a class branch, and a decoder for each class of defect."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.models.minet import (
    DEPTHS,
    WIDTHS,
    Encoder,
    MultiScaleInteraction,
    check_sides,
    decoder_stages,
    log_odds,
    scaled,
)
from jaxqc.nn.conv import DepthwiseSeparable, Norm, Pointwise
from jaxqc.nn.dropout import ChannelDropout
from jaxqc.nn.resizing import resize_align_corners
from jaxqc.nn.stack import repeated
from jaxqc.types import ArrayLike


class ClassDecoder(nn.Module):
    """MINet's decoder with its first head alone: five maps, shallow to deep → a probability map [n h/2 w/2]."""

    widths: tuple[int, ...] = WIDTHS
    norm: Norm = Norm()
    dropout: float = 0.1
    foreground: float = 0.5

    @nn.compact
    def __call__(self, features: list[jax.Array], train: bool = False) -> jax.Array:
        *_, (_, x) = decoder_stages(features, self.widths, self.norm, train)
        x = ChannelDropout(self.dropout, self.norm.axis_name)(x, train)
        prior = nn.initializers.constant(log_odds(self.foreground))
        return nn.sigmoid(Pointwise(1, self.norm.dtype, prior, name="side1")(x).astype(jnp.float32))[..., 0]


class CKLNet(nn.Module):
    """Normalised image [n s s 3] (s a multiple of 32) → `map` [n s s] of the likeliest class, and `class` logits [n k].

    With `aux` `maps` [n s s k], those of every class's decoder. 481,878 parameters for three classes at width 1: the
    encoder with its class branch 299,619, a decoder 60,753. All decoders run, where the published code runs the chosen
    one alone.

    Examples:
      >>> start, image = cklnet(2, 0.25, Norm(), 0.1).init_with_output, jnp.zeros((1, 64, 64, 3))
      >>> out = jax.eval_shape(lambda: start(jax.random.key(0), image, aux=True)[0])
      >>> {name: value.shape for name, value in sorted(out.items())}
      {'class': (1, 2), 'map': (1, 64, 64), 'maps': (1, 64, 64, 2)}
    """

    classes: int = 3
    widths: tuple[int, ...] = WIDTHS
    norm: Norm = Norm()
    dropout: float = 0.1
    foreground: float = 0.5

    @nn.compact
    def __call__(self, image: Float[ArrayLike, "n h w 3"], train: bool = False, aux: bool = False) -> dict[str, Array]:
        check_sides(image)
        features = Encoder(self.widths, self.norm, name="encoder")(jnp.asarray(image, self.norm.dtype), train)
        kind = DepthwiseSeparable(self.widths[-1], 2, 1, self.norm, name="class_down")(features[3], train)
        blocks = MultiScaleInteraction(self.norm, name="class_mi")
        kind = repeated(blocks, jnp.asarray(kind), DEPTHS[-1], train, train=train)
        logits = Pointwise(self.classes, self.norm.dtype, name="class")(kind.mean((1, 2))).astype(jnp.float32)
        decoders = nn.scan(
            lambda decoder, carry, _: (carry, decoder(carry, train)),
            variable_axes={"params": 0, "batch_stats": 0},
            split_rngs={"params": True, "dropout": True},
            length=self.classes,
        )
        decoder = ClassDecoder(self.widths, self.norm, self.dropout, self.foreground, name="decoders")
        _, small = decoders(decoder, features, None)
        maps = resize_align_corners(jnp.moveaxis(small, 0, -1), *image.shape[1:3])
        chosen = jax.nn.one_hot(logits.argmax(-1), self.classes)[:, None, None]
        return {"map": (maps * chosen).sum(-1), "class": logits} | ({"maps": maps} if aux else {})


def cklnet(classes: int, width: float, norm: Norm, foreground: float) -> CKLNet:
    """CKLNet as a builder (`jaxqc.models.Builder`).

    Examples:
      >>> cklnet(4, 0.25, Norm(), 0.02).classes
      4
    """
    return CKLNet(classes, scaled(width), norm, foreground=foreground)
