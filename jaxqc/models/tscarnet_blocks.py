"""TSCARNet's modules: boundary attention, class-aware separation, multi-scale refinement, prior fusion.

The paper (TSCARNet, sections 3.1-3.3) names the modules and their parts but no layer sizes; every size here is our
reading, fixed by the parameter counts in each docstring (c = 32 / c = 16, three classes).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxqc.nn.conv import (
    Conv,
    ConvBN,
    Depthwise,
    DepthwiseSeparable,
    Norm,
    Pointwise,
    PointwiseBN,
    depthwise_init,
    grouped_pointwise,
    kernel_init,
    normalize,
    softmax,
)
from jaxqc.nn.depthwise import depthwise_conv
from jaxqc.nn.plain import is_plain
from jaxqc.nn.pool import avg3x3


class BoundaryAttention(nn.Module):
    """BAM (section 3.1): directional and high-pass features predict the boundary, which then gates the features.

    [n h w c] → (features [n h w c], boundary logit [n h w], mask logit [n h w]); 4,610 / 1,282 parameters.
    """

    norm: Norm = Norm()
    mask_bias: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, jax.Array, jax.Array]:
        channels, dtype = x.shape[-1], self.norm.dtype
        parts = [
            Depthwise((1, 5), dtype, name="horizontal")(x),
            Depthwise((5, 1), dtype, name="vertical")(x),
            x - avg3x3(x),
        ]
        edges = PointwiseBN(channels, self.norm, name="edges")(jnp.concatenate(parts, -1), train)
        boundary = Pointwise(1, dtype, name="boundary")(edges)
        gated = PointwiseBN(channels, self.norm, act=None, name="gate")(edges * nn.sigmoid(boundary), train)
        x = nn.relu(x + gated)
        mask = Pointwise(1, dtype, nn.initializers.constant(self.mask_bias), name="mask")(x)
        return x, boundary[..., 0], mask[..., 0]


class ClassBranches(nn.Module):
    """One DS(c, c) a class, all in one go: a depthwise convolution over classes·c channels and a grouped product.

    [n h w c] → [n h w k c]; each branch has c² + 13c parameters.
    """

    classes: int
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        channels = x.shape[-1]
        x = BranchDepthwise(self.classes, self.norm, name="depthwise")(x, train)
        return BranchPointwise(self.classes, channels, self.norm, name="pointwise")(x, train)


class BranchDepthwise(nn.Module):
    """Depthwise 3x3 + BN + ReLU of the same input once a class: [n h w c] → [n h w k·c]."""

    classes: int
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        kernel = self.param("kernel", depthwise_init, (3, 3, self.classes * x.shape[-1])).astype(self.norm.dtype)
        y = depthwise_conv(jnp.tile(x, (1, 1, 1, self.classes)), kernel)
        return normalize(self, y, self.norm, train)


class BranchPointwise(nn.Module):
    """1x1 + BN + ReLU within each class's channels: [n h w k·c] → [n h w k c]."""

    classes: int
    features: int
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        shape = (x.shape[-1] // self.classes, self.classes * self.features)
        kernel = self.param("kernel", kernel_init, shape).astype(self.norm.dtype)
        y = normalize(self, grouped_pointwise(x, kernel, self.classes), self.norm, train)
        return y.reshape(*x.shape[:-1], self.classes, self.features)


class ClassAwareSeparation(nn.Module):
    """CASE (section 3.2): soft class membership of the image weighs one enhancement branch a class.

    [n h w c] → (X + sum_k p_k F_k [n h w c], class logits [n k]); 35,939 parameters for three classes.
    """

    classes: int
    widths: tuple[int, ...] = (64, 96, 128)
    hidden: int = 64
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, jax.Array]:
        abstract = x
        for i, width in enumerate(self.widths):
            abstract = DepthwiseSeparable(width, 2, 1, self.norm, name=f"down{i + 1}")(abstract, train)
        hidden = nn.relu(Pointwise(self.hidden, self.norm.dtype, name="hidden")(abstract.mean((1, 2))))
        logits = Pointwise(self.classes, self.norm.dtype, name="logits")(hidden).astype(jnp.float32)
        branches = ClassBranches(self.classes, self.norm, name="branches")(x, train)
        weights, (*_, k, c) = softmax(logits).astype(x.dtype), branches.shape
        if is_plain():
            flat, each = branches.reshape(*branches.shape[:3], k * c), weights[:, None, None]
            return x + sum(flat[..., i * c : (i + 1) * c] * each[..., i : i + 1] for i in range(k)), logits
        return x + jnp.einsum("nhwkc,nk->nhwc", branches, weights), logits


class MultiScaleRefinement(nn.Module):
    """MSRM (section 3.3): mask-guided dilated branches, fused by learned weights and by a cascade, mixed per pixel.

    X [n h w c], guide [n h w] in [0, 1] → [n h w c]; 15,909 / 5,141 parameters.
    """

    norm: Norm = Norm()

    @nn.compact
    def __call__(self, x: jax.Array, guide: jax.Array, train: bool = False) -> jax.Array:
        channels, dtype = x.shape[-1], self.norm.dtype
        emphasis = 1 + guide.astype(dtype)[..., None]
        branches = [
            DepthwiseSeparable(channels, 1, d, self.norm, name=f"dilation{d}")(x, train) * emphasis for d in (1, 2, 4)
        ]
        stacked = jnp.concatenate(branches, -1)
        alpha = softmax(Pointwise(3, dtype, name="scales")(stacked.mean((1, 2))))[:, :, None, None, None]
        weighted = alpha[:, 0] * branches[0] + alpha[:, 1] * branches[1] + alpha[:, 2] * branches[2]
        cascade = DepthwiseSeparable(2 * channels, norm=self.norm, name="cascade1")(stacked, train)
        cascade = DepthwiseSeparable(channels, norm=self.norm, name="cascade2")(cascade, train)
        paths = softmax(Conv(2, 3, dtype, name="paths")(jnp.concatenate([weighted, cascade], -1)))
        return paths[..., :1] * weighted + paths[..., 1:] * cascade


class PriorEncoder(nn.Module):
    """The three coarse masks [n h w 3] → prior features at strides 1, 2, 4 of them. 2,656 parameters."""

    widths: tuple[int, int, int] = (16, 32, 32)
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, masks: jax.Array, train: bool = False) -> tuple[jax.Array, jax.Array, jax.Array]:
        p1 = ConvBN(self.widths[0], 1, self.norm, name="level1")(masks, train)
        p2 = DepthwiseSeparable(self.widths[1], 2, 1, self.norm, name="level2")(p1, train)
        p3 = DepthwiseSeparable(self.widths[2], 2, 1, self.norm, name="level3")(p2, train)
        return p1, p2, p3


class PriorFusion(nn.Module):
    """PIFM: w = sigmoid(L(R + P) + G(R + P)), Z = w·R + (1 − w)·P; L acts on pixels, G on the pooled image.

    R, P [n h w c] → [n h w c]; 1,184 / 336 parameters. G's batch norm sees one value an image: train with a global
    batch of several images.
    """

    norm: Norm = Norm()
    reduction: int = 4

    @nn.compact
    def __call__(self, refined: jax.Array, prior: jax.Array, train: bool = False) -> jax.Array:
        channels = refined.shape[-1]

        def bottleneck(x: jax.Array, name: str) -> jax.Array:
            squeezed = PointwiseBN(channels // self.reduction, self.norm, name=f"{name}_squeeze")(x, train)
            return PointwiseBN(channels, self.norm, act=None, name=f"{name}_expand")(squeezed, train)

        total = refined + prior
        pooled = total.mean((1, 2), keepdims=True)
        weight = nn.sigmoid(bottleneck(total, "local") + bottleneck(pooled, "pooled"))
        return weight * refined + (1 - weight) * prior
