"""The networks of a reconstruction by its settings: one that rebuilds, and perhaps a head beside it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.anomaly.detectors.base import Shapes
from jaxqc.anomaly.detectors.reconstruction import ReconstructionConfig
from jaxqc.errors import UserError
from jaxqc.models import draem, inpainting
from jaxqc.models.autoencoder import CODE, Chain, ChainSpec, Vectors
from jaxqc.models.token_autoencoder import TokenAutoencoder, TokenSpec
from jaxqc.nn.conv import Norm
from jaxqc.types import ArrayLike


def scaled(config: ReconstructionConfig, channels: int) -> int:
    """A channel count times the recipe's factor, at least 1.

    Examples:
      >>> scaled(ReconstructionConfig(width=0.125), 20)
      2
    """
    return max(1, round(config.width * channels))


def chain_spec(config: ReconstructionConfig) -> ChainSpec:
    """The chain of convolutions of a recipe.

    Examples:
      >>> chain_spec(ReconstructionConfig(width=0.5)).widths
      (8, 16, 32, 64, 128, 256)
    """
    widths = tuple(scaled(config, width) for width in config.widths)
    more = config.latent, config.variational, config.norm, config.skips, config.up
    memory = {"slots": config.memory.slots, "least": config.memory.least}
    return ChainSpec(widths, config.kernels, config.strides, *more, **memory)


def token_spec(config: ReconstructionConfig) -> TokenSpec:
    """The transformer of a recipe.

    Examples:
      >>> token_spec(ReconstructionConfig("tokens", width=0.5)).dim
      128
    """
    own = config.tokens
    return TokenSpec(
        own.heads * scaled(config, own.dim // own.heads), own.heads, own.layers, scaled(config, own.hidden),
        own.dropout, own.hide,
    )  # fmt: skip


def check_grid(config: ReconstructionConfig, shapes: Shapes) -> None:
    """Raises UserError where a cell of the grid would see none.

    Examples:
      >>> check_grid(ReconstructionConfig("tokens"), ((8, 8, 4),))
    """
    height, width, _ = shapes[0 if config.grid == "finest" else -1]
    if max(height, width) <= config.tokens.hide:
        raise UserError(
            f"detector.tokens.hide={config.tokens.hide}: a cell in the middle of {height} x {width} would see none; set"
            " a smaller odd one, larger images (data.size) or grid=finest"
        )


class Both(nn.Module):
    """A network that rebuilds, and a head that sees what went in and what came out: [n h w c] → arrays by name.

    `rebuilt` [n h w c], what the first one gives beside it, and of a head `logits` [n h w] that a pixel is defective.
    more: what the first one takes beside an image, such as `noise`.

    Examples:
      >>> import jax
      >>> network, x = Both(draem.Rebuilding(2), draem.Finding(2)), jnp.zeros((1, 32, 32, 3))
      >>> out = jax.eval_shape(lambda: network.init_with_output(jax.random.key(0), x)[0])
      >>> {name: value.shape for name, value in out.items()}
      {'logits': (1, 32, 32), 'rebuilt': (1, 32, 32, 3)}
    """

    rebuild: nn.Module
    find: nn.Module | None = None

    def __call__(self, x: Float[ArrayLike, "n h w c"], train: bool = False, **more: Any) -> dict[str, Array]:
        x = jnp.asarray(x)
        found: Any = self.rebuild(x, train, **more)
        out = dict(found) if isinstance(found, dict) else {"rebuilt": found}
        if self.find is not None:
            logits: Any = self.find(jnp.concatenate([x, out["rebuilt"]], -1), train)
            out["logits"] = logits[..., 1] - logits[..., 0]
        return out


class Encoding(NamedTuple):
    """A way to rebuild: (recipe, norm) → its network; of what a side must be a multiple; True: it sees pixels.

    measured: the data may say how many numbers the code has. check: of the recipe and a backbone's layers; may raise
    UserError.
    """

    build: Callable[[ReconstructionConfig, Norm], nn.Module]
    multiple: Callable[[ReconstructionConfig], int]
    pixels: bool = True
    measured: bool = False
    check: Callable[[ReconstructionConfig, Shapes], None] = lambda config, shapes: None


ENCODINGS: dict[str, Encoding] = {
    "conv": Encoding(lambda config, norm: Chain(chain_spec(config), norm), lambda config: chain_spec(config).multiple),
    "deep": Encoding(
        lambda config, norm: draem.Rebuilding(scaled(config, draem.WIDTH), norm), lambda config: draem.MULTIPLE
    ),
    "unet": Encoding(
        lambda config, norm: inpainting.Inpainting(scaled(config, inpainting.WIDTH), norm),
        lambda config: inpainting.MULTIPLE,
    ),
    "pointwise": Encoding(lambda config, norm: Vectors(config.latent, norm), lambda config: 1, False, True),
    "tokens": Encoding(
        lambda config, norm: TokenAutoencoder(token_spec(config), norm.axis_name),
        lambda config: 1,
        False,
        check=check_grid,
    ),
}
"""By `ReconstructionConfig.encoder`."""
HEADS: dict[str, Callable[[ReconstructionConfig, Norm], nn.Module | None]] = {
    "none": lambda config, norm: None,
    "unet": lambda config, norm: draem.Finding(scaled(config, draem.HEAD_WIDTH), norm),
}
HEAD_MULTIPLES = {"none": 1, "unet": draem.MULTIPLE}
"""Number of which a side must be a multiple for a head."""


def network(config: ReconstructionConfig, folded: bool = False, axis_name: str | None = None) -> Both:
    """The networks of a recipe.

    Examples:
      >>> from jaxqc.anomaly.detectors.reconstruction_members import Draem
      >>> network(Draem(width=0.125)).rebuild.width
      16
    """
    norm = Norm(folded, axis_name)
    return Both(ENCODINGS[config.encoder].build(config, norm), HEADS[config.head](config, norm))


def measured_code(config: ReconstructionConfig) -> bool:
    """True where the data say how many numbers the code has.

    Examples:
      >>> measured_code(ReconstructionConfig()), measured_code(ReconstructionConfig("pointwise"))
      (False, True)
    """
    own = ENCODINGS.get(config.encoder)
    return own is not None and not config.latent and own.measured


def with_code(config: ReconstructionConfig, params: Any) -> ReconstructionConfig:
    """The recipe with the numbers of the code that trained parameters have.

    Examples:
      >>> with_code(ReconstructionConfig("pointwise"), {"rebuild": {"code": {"kernel": jnp.zeros((9, 4))}}}).latent
      4
    """
    if not measured_code(config):
        return config
    return replace(config, latent=params["rebuild"][CODE]["kernel"].shape[-1])
