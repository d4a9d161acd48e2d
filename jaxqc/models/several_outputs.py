"""Autoencoders of an image with several outputs: one a scale or a depth, or texture and defect."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.models.autoencoder import leaky, start, start_up
from jaxqc.nn.conv import Norm
from jaxqc.nn.transposed import ConvUnit
from jaxqc.types import ArrayLike

Map = Float[ArrayLike, "n _ _ _"]


class Down(nn.Module):
    """Convolutions of stride 2 with batch norm: [n h w c] → their maps, the finest first."""

    widths: tuple[int, ...]
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, x: Map, train: bool = False) -> tuple[Array, ...]:
        maps: list[Any] = []
        y: Any = jnp.asarray(x)
        for i, width in enumerate(self.widths, 1):
            y = ConvUnit(width, 4, 2, norm=self.norm, act=leaky, kernel_init=start, name=f"step{i}")(y, train)
            maps.append(y)
        return tuple(maps)


class Up(nn.Module):
    """Transposed convolutions of these widths with batch norm, and one to `channels` without: [n h w d] → [n H W c]."""

    widths: tuple[int, ...]
    channels: int = 3
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, x: Map, train: bool = False) -> Float[Array, "n _ _ _"]:
        own = {"up": "transposed", "kernel_init": start_up}
        y: Any = jnp.asarray(x)
        for i, width in enumerate(self.widths, 1):
            y = ConvUnit(width, 4, 2, norm=self.norm, act=leaky, name=f"step{i}", **own)(y, train)
        return ConvUnit(self.channels, 4, 2, norm=None, act=None, name="out", **own)(y)


class ByScale(nn.Module):
    """An image at several sizes → each rebuilt by an autoencoder of its own, by `scale0`, `scale1`, ... (MSCDAE).

    Examples:
      >>> import jax
      >>> network, images = ByScale((4, 8)), (jnp.zeros((1, 16, 16, 3)), jnp.zeros((1, 8, 8, 3)))
      >>> out = jax.eval_shape(lambda: network.init_with_output(jax.random.key(0), images)[0])
      >>> {name: value.shape for name, value in out.items()}
      {'scale0': (1, 16, 16, 3), 'scale1': (1, 8, 8, 3)}
    """

    widths: tuple[int, ...]
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, images: tuple[Map, ...], train: bool = False) -> dict[str, Array]:
        out = {}
        for i, image in enumerate(images):
            code = Down(self.widths, self.norm, name=f"down{i}")(image, train)[-1]
            rebuilt = Up(self.widths[-2::-1], image.shape[-1], self.norm, name=f"up{i}")(code, train)
            out[f"scale{i}"] = nn.sigmoid(rebuilt)
        return out


class ByDepth(nn.Module):
    """Image → rebuilt from the last `decoders` maps of one encoder, by `depth1`, ...; the last code's mean, and `near`.

    near: the code's soft assignment to `clusters` centres, 1 / (1 + its squared distance) over their sum (DEC, arXiv
    1511.06335; MS-FCAE).

    Examples:
      >>> import jax
      >>> network, images = ByDepth((4, 8), 2, 5), (jnp.zeros((1, 16, 16, 3)),)
      >>> out = jax.eval_shape(lambda: network.init_with_output(jax.random.key(0), images)[0])
      >>> {name: value.shape for name, value in out.items()}
      {'depth1': (1, 16, 16, 3), 'depth2': (1, 16, 16, 3), 'near': (1, 5)}
    """

    widths: tuple[int, ...]
    decoders: int
    clusters: int
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, images: tuple[Map, ...], train: bool = False) -> dict[str, Array]:
        (image,), out = images, {}
        maps = Down(self.widths, self.norm, name="down")(image, train)
        for depth in range(len(maps) - self.decoders + 1, len(maps) + 1):
            up = Up(self.widths[: depth - 1][::-1], image.shape[-1], self.norm, name=f"up{depth}")
            out[f"depth{depth}"] = nn.sigmoid(up(maps[depth - 1], train))
        code = maps[-1].mean((1, 2))
        centres = self.param("centres", nn.initializers.normal(1.0), (self.clusters, code.shape[-1]))
        near = 1 / (1 + jnp.square(code[:, None] - centres).sum(-1))
        return out | {"near": near / near.sum(-1, keepdims=True)}


class ByPart(nn.Module):
    """Image → `texture`, the image without defects, and `defect`, what they add to it, from one code (ACDN).

    Examples:
      >>> import jax
      >>> network, images = ByPart((4, 8)), (jnp.zeros((1, 16, 16, 3)),)
      >>> out = jax.eval_shape(lambda: network.init_with_output(jax.random.key(0), images)[0])
      >>> {name: value.shape for name, value in out.items()}
      {'defect': (1, 16, 16, 3), 'texture': (1, 16, 16, 3)}
    """

    widths: tuple[int, ...]
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, images: tuple[Map, ...], train: bool = False) -> dict[str, Array]:
        (image,) = images
        code = Down(self.widths, self.norm, name="down")(image, train)[-1]
        up = lambda name: Up(self.widths[-2::-1], image.shape[-1], self.norm, name=name)(code, train)
        return {"defect": jnp.tanh(up("defect")), "texture": nn.sigmoid(up("texture"))}
