"""Autoencoders of an image or of features: a chain of layers, a code, and the chain mirrored."""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.errors import UserError
from jaxqc.models.memory import Memory
from jaxqc.nn.conv import Norm, Pointwise, PointwiseBN
from jaxqc.nn.transposed import ConvUnit, Up
from jaxqc.nn.whole import back_to_map, to_numbers
from jaxqc.types import ArrayLike

SLOPE = 0.2
"""Slope of the ReLUs below 0."""
BOUND = 10.0
"""Largest absolute logarithm of a code's variance."""
CODE = "code"
"""Name of the layer of a vector's code."""
leaky = partial(nn.leaky_relu, negative_slope=SLOPE)
start = nn.initializers.variance_scaling(2.0, "fan_in", "truncated_normal")
start_up = nn.initializers.variance_scaling(8.0, "fan_in", "truncated_normal")
"""Start of a transposed convolution, whose outputs see a quarter of the kernel each."""
start_back = nn.initializers.variance_scaling(
    2.0, "fan_in", "truncated_normal", in_axis=-1, out_axis=-2, batch_axis=(0, 1)
)
"""Start of the way back from a vector, whose outputs see its numbers alone."""


@dataclass(frozen=True)
class ChainSpec:
    """The encoder's convolutions, one number each a step, and the way back.

    widths, kernels, strides: of each step; strides are 1 or 2. latent: numbers of the code; 0 = the last map is the
    code. variational: the code is drawn from a Gaussian. norm: batch norm behind all but the last convolution. skips:
    what a step's map is to the decoder's map of the same size. up: the way to larger maps. slots: of a memory that the
    code goes through, 0 = none. least: weights of its slots up to this are 0.
    """

    widths: tuple[int, ...]
    kernels: tuple[int, ...]
    strides: tuple[int, ...]
    latent: int = 0
    variational: bool = False
    norm: bool = True
    skips: Literal["none", "add", "concat"] = "none"
    up: Up = "transposed"
    bounded: bool = True
    slots: int = 0
    least: float = 0.0

    @property
    def multiple(self) -> int:
        """Pixels of which a side must be a multiple.

        Examples:
          >>> ChainSpec((8, 8, 8), (4, 3, 4), (2, 1, 2)).multiple
          4
        """
        return 2 ** sum(stride == 2 for stride in self.strides)

    def check(self, where: str) -> None:
        """Raises UserError for numbers of steps that differ, and kernels that a step cannot have."""
        if not len(self.widths) == len(self.kernels) == len(self.strides) or not self.widths:
            raise UserError(
                f"{where}: widths={self.widths!r}, kernels={self.kernels!r}, strides={self.strides!r}: give each step"
                " one of each"
            )
        for kernel, stride in zip(self.kernels, self.strides, strict=True):
            doubling = stride == 2 and self.up == "transposed"
            if stride not in (1, 2) or (kernel != 4 if doubling else kernel % 2 == 0):
                raise UserError(
                    f"{where}: kernel {kernel} with stride {stride}: strides are 1 or 2; a transposed convolution takes"
                    " kernel 4 with stride 2, any other an odd one"
                )


class Chain(nn.Module):
    """Images or features [n h w c] → `rebuilt` [n h w c]; of a variational one also `mean` and `spread` [n latent].

    `spread` is the logarithm of the code's variance. noise: standard normal [n latent], by which a variational code is
    drawn; None takes its mean. The last step's output is within 0 and 1 where the spec is `bounded`. Of a memory also
    `entropy` and `used` (`jaxqc.models.memory`). shift: by a step's number, what is added to its map, which is then
    among the outputs as `map`; by it a map's gradient is taken.

    Examples:
      >>> import jax
      >>> network, x = Chain(ChainSpec((8, 16), (4, 4), (2, 2), latent=5)), jnp.zeros((2, 16, 16, 3))
      >>> out = jax.eval_shape(lambda: network.init_with_output(jax.random.key(0), x)[0])
      >>> {name: value.shape for name, value in out.items()}
      {'rebuilt': (2, 16, 16, 3)}
    """

    spec: ChainSpec
    norm: Norm = Norm()

    @nn.compact
    def __call__(
        self,
        x: Float[ArrayLike, "n h w c"],
        train: bool = False,
        noise: Float[ArrayLike, "n latent"] | None = None,
        shift: tuple[int, Float[ArrayLike, "n a b d"]] | None = None,
    ) -> dict[str, Array]:
        spec, x = self.spec, jnp.asarray(x)
        unit = partial(ConvUnit, norm=self.norm if spec.norm else None, act=leaky, kernel_init=start)
        steps, seen, out = list(zip(spec.widths, spec.kernels, spec.strides, strict=True)), [x], {}
        for number, (width, kernel, stride) in enumerate(steps, 1):
            x = unit(width, kernel, stride, name=f"encode{number}")(x, train)
            if shift is not None and shift[0] == number:
                x = out["map"] = x + shift[1]
            seen.append(x)
        if spec.latent:
            x, found = self.through_code(x, noise)
            out |= found
        elif spec.slots:
            x, found = Memory(spec.slots, spec.least, name="memory")(x)
            out |= found
        for number in range(len(steps), 0, -1):
            _, kernel, stride = steps[number - 1]
            wide = {"kernel_init": start_up} if stride == 2 and spec.up == "transposed" else {}
            last: Any = {"norm": None, "act": None} if number == 1 else {}
            beside = seen[number - 1]
            own = partial(unit, beside.shape[-1], kernel, stride, up=spec.up, name=f"decode{number}", **wide)
            x = own(**last)(x, train)
            if number > 1 and spec.skips == "add":
                x = x + beside
            elif number > 1 and spec.skips == "concat":
                x = jnp.concatenate([x, beside], -1)
        return {"rebuilt": nn.sigmoid(x) if spec.bounded else x, **out}

    def through_code(
        self, x: Float[Array, "n a b c"], noise: Float[ArrayLike, "n latent"] | None
    ) -> tuple[Float[Array, "n a b c"], dict[str, Array]]:
        """The map through a vector: a linear code, and back by a layer of the same size with a ReLU."""
        spec, (_, *grid, channels) = self.spec, x.shape
        numbers = spec.latent * (2 if spec.variational else 1)
        zeros: Any = nn.initializers.zeros
        down = self.param("code_kernel", start, (*grid, channels, numbers))
        code = to_numbers(x, down) + self.param("code_bias", zeros, (numbers,))
        out: dict[str, Array] = {}
        if spec.variational:
            code, spread = jnp.split(code, 2, -1)
            out = {"mean": code, "spread": jnp.clip(spread, -BOUND, BOUND)}
            if noise is not None:
                code = code + jnp.exp(0.5 * out["spread"]) * noise
        if spec.slots:
            code, found = Memory(spec.slots, spec.least, name="memory")(code)
            out |= found
        back = self.param("back_kernel", start_back, (*grid, channels, spec.latent))
        y = back_to_map(code, back) + self.param("back_bias", zeros, (channels,))
        return leaky(y), out


class Vectors(nn.Module):
    """Features [n h w c] → `rebuilt` [n h w c], each position by itself, through `latent` numbers (DFR, 2012.07122).

    Examples:
      >>> import jax
      >>> network, x = Vectors(5), jnp.zeros((2, 4, 4, 20))
      >>> out = jax.eval_shape(lambda: network.init_with_output(jax.random.key(0), x)[0])
      >>> {name: value.shape for name, value in out.items()}
      {'rebuilt': (2, 4, 4, 20)}
    """

    latent: int
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "n h w c"], train: bool = False) -> dict[str, Array]:
        channels = x.shape[-1]
        wide, narrow = (channels + 2 * self.latent) // 2, 2 * self.latent
        y: Any = x
        for number, width in enumerate((wide, narrow, self.latent, narrow, wide), 1):
            if width == self.latent:
                y = Pointwise(width, name=CODE)(y)
            else:
                y = PointwiseBN(width, self.norm, name=f"layer{number}")(y, train)
        return {"rebuilt": Pointwise(channels, name="out")(y)}
