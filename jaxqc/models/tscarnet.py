"""TSCARNet: a coarse saliency stage (MINet with boundary attention) and a class-aware refinement stage."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxqc.models.minet import WIDTHS, DecoderStage, Encoder, check_sides, decoder_widths, log_odds, scaled
from jaxqc.models.tscarnet_blocks import (
    BoundaryAttention,
    ClassAwareSeparation,
    MultiScaleRefinement,
    PriorEncoder,
    PriorFusion,
)
from jaxqc.nn.attention import ChannelAttention, SpatialAttention
from jaxqc.nn.conv import DepthwiseSeparable, Norm, Pointwise, PointwiseBN
from jaxqc.nn.resizing import resize, upsample2x
from jaxqc.types import ArrayLike


class Head(nn.Module):
    """Channel and spatial attention, DS, 1x1, logits doubled in size: [n h w c] → [n 2h 2w]. 728 parameters."""

    norm: Norm = Norm()
    mask_bias: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = SpatialAttention(7, name="spatial")(ChannelAttention(4, name="channel")(x))
        x = DepthwiseSeparable(x.shape[-1], norm=self.norm, name="refine")(x, train)
        logits = Pointwise(1, self.norm.dtype, nn.initializers.constant(self.mask_bias), name="logits")(x)
        return upsample2x(logits.astype(jnp.float32))[..., 0]


class TSCARNet(nn.Module):
    """Normalised image [n s s 3] (s a multiple of 32) → maps; 366,036 parameters at width 1 with three classes.

    Returns (float32) `map` [n s s] = sigmoid(`final`), `final` logits [n s s], `class` logits [n k], and the coarse
    mask logits `m1`, `m2`, `m3` at s/2, s/4, s/8. With `aux`, what only the loss reads: boundary logits `b1`..`b3` and
    the mask logits of the auxiliary heads `r2`, `r3` (s/4, s/8), `d4`, `d5` (s/16, s/32).

    Examples:
      >>> from jaxqc.models.minet import scaled
      >>> network, image = TSCARNet(classes=3, widths=scaled(0.25)), jnp.zeros((1, 64, 64, 3))
      >>> variables = jax.eval_shape(network.init, jax.random.key(0), image)
      >>> {name: value.shape for name, value in jax.eval_shape(network.apply, variables, image).items()}
      {'class': (1, 3), 'final': (1, 64, 64), 'm1': (1, 32, 32), 'm2': (1, 16, 16), 'm3': (1, 8, 8), 'map': (1, 64, 64)}
    """

    classes: int = 3
    widths: tuple[int, ...] = WIDTHS
    norm: Norm = Norm()
    foreground: float = 0.5

    @nn.compact
    def __call__(self, image: ArrayLike, train: bool = False, aux: bool = False) -> dict[str, jax.Array]:
        check_sides(image)
        norm, bias = self.norm, log_odds(self.foreground)
        auxiliary = aux or self.is_initializing()
        side = lambda x, name: Pointwise(1, norm.dtype, nn.initializers.constant(bias), name=name)(x)[..., 0]
        features = Encoder(self.widths, norm, name="encoder")(jnp.asarray(image, norm.dtype), train)

        out: dict[str, jax.Array] = {}
        decoded: dict[int, jax.Array] = {}
        x = features[4]
        for k in range(5, 0, -1):
            if k < 5:
                x = features[k - 1] + upsample2x(x)
            x = DecoderStage(decoder_widths(self.widths)[k - 1], norm, name=f"d{k}")(x, train)
            if k <= 3:
                x, out[f"b{k}"], out[f"m{k}"] = BoundaryAttention(norm, bias, name=f"bam{k}")(x, train)
            elif auxiliary:
                out[f"d{k}"] = side(x, f"side_d{k}")
            decoded[k] = x

        guide = {k: nn.sigmoid(out[f"m{k}"]) for k in (1, 2, 3)}
        height, width = guide[1].shape[1:3]
        masks = jnp.concatenate([resize(guide[k][..., None], height, width) for k in (1, 2, 3)], -1)
        prior = PriorEncoder((self.widths[0], self.widths[1], self.widths[1]), norm, name="prior")(masks, train)

        case = ClassAwareSeparation(self.classes, self.widths[2:], 64, norm, name="case")
        x, out["class"] = case(decoded[3], train)
        for k in (3, 2, 1):
            if k < 3:
                joined = jnp.concatenate([upsample2x(x), decoded[k]], -1)
                x = PointwiseBN(prior[k - 1].shape[-1], norm, name=f"lateral{k}")(joined, train)
            x = MultiScaleRefinement(norm, name=f"msrm{k}")(x, guide[k], train)
            if k > 1 and auxiliary:
                out[f"r{k}"] = side(x, f"side_r{k}")
            x = PriorFusion(norm, name=f"pifm{k}")(x, prior[k - 1], train)

        out["final"] = Head(norm, bias, name="head")(x, train)
        out = {name: value.astype(jnp.float32) for name, value in out.items() if aux or name[0] not in "bdr"}
        return {"map": nn.sigmoid(out["final"]), **out}


def tscarnet(classes: int, width: float, norm: Norm, foreground: float) -> TSCARNet:
    """TSCARNet as a builder (`jaxqc.models.Builder`).

    Examples:
      >>> tscarnet(2, 0.5, Norm(), 0.02).classes
      2
    """
    return TSCARNet(classes, scaled(width), norm, foreground)
