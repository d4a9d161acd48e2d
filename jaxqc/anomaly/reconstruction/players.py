"""The two players of a reconstruction by its settings: one that makes images, and a critic of them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.anomaly.detectors.reconstruction import ReconstructionConfig
from jaxqc.anomaly.reconstruction.networks import chain_spec, scaled
from jaxqc.anomaly.reconstruction.search import sought
from jaxqc.models.autoencoder import Chain
from jaxqc.models.critic import Critic, PairCritic, ResidualCritic
from jaxqc.models.dcgan import SMALLEST, Coder, Widening
from jaxqc.models.residual_gan import ResidualDown, ResidualUp
from jaxqc.models.vector_unet import VectorUNets, bands
from jaxqc.nn.conv import Norm
from jaxqc.types import ArrayLike, Variables

WIDTH = 64
"""Channels of the published networks' first maps."""
CRITIC = ("critic", "mixed")
"""Scores of an image that the critic has a part in."""


class Maker(NamedTuple):
    """A network that makes images.

    build: (recipe, side, norm) → it. enter: images in [0, 1] → what it takes. leave: its outputs → arrays by name, of
    which `rebuilt` or `made` are in [0, 1]. codes: True where it takes drawn codes, and no images. multiple: of which a
    side is one.
    """

    build: Callable[[ReconstructionConfig, int, Norm], nn.Module]
    enter: Callable[[Any], Any]
    leave: Callable[[Any], dict[str, Array]]
    codes: bool = False
    multiple: Callable[[ReconstructionConfig], int] = lambda config: 2 * SMALLEST
    pixels: bool = True


def signed(x: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    """Values in [0, 1] as values in [-1, 1].

    Examples:
      >>> signed(jnp.array([0.0, 0.75])).tolist()
      [-1.0, 0.5]
    """
    return 2 * jnp.asarray(x) - 1


def unsigned(x: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    """Values in [-1, 1] as values in [0, 1].

    Examples:
      >>> unsigned(jnp.array([-1.0, 0.5])).tolist()
      [0.0, 0.75]
    """
    return (jnp.asarray(x) + 1) / 2


def _images(out: dict[str, Array]) -> dict[str, Array]:
    return {name: unsigned(x) if name in ("rebuilt", "made") else x for name, x in out.items()}


MAKERS: dict[str, Maker] = {
    "conv": Maker(
        lambda config, side, norm: Chain(chain_spec(config), norm),
        lambda x: x,
        dict,
        multiple=lambda config: chain_spec(config).multiple,
    ),
    "dcgan": Maker(
        lambda config, side, norm: Coder(config.latent, scaled(config, WIDTH), config.loss.relatent > 0, norm),
        signed,
        _images,
    ),
    "search": Maker(
        lambda config, side, norm: Widening(side, scaled(config, WIDTH), norm=norm),
        lambda z: z,
        lambda y: {"made": unsigned(y)},
        codes=True,
    ),
    "residual": Maker(
        lambda config, side, norm: ResidualUp(side, scaled(config, WIDTH), norm=norm),
        lambda z: z,
        lambda y: {"made": unsigned(y)},
        codes=True,
    ),
    "vector_unet": Maker(
        lambda config, side, norm: VectorUNets(scaled(config, WIDTH), norm),
        lambda x: (signed(x),),
        lambda y: {"rebuilt": unsigned(y[0])},
    ),
    "bands": Maker(
        lambda config, side, norm: VectorUNets(scaled(config, WIDTH), norm),
        lambda x: bands(signed(x)),
        lambda y: {"rebuilt": unsigned(y[0] + y[1])},
    ),
}
"""By `ReconstructionConfig.encoder`."""


def critic(config: ReconstructionConfig, norm: Norm) -> nn.Module:
    """The critic of a recipe.

    Examples:
      >>> from jaxqc.anomaly.detectors.reconstruction_players import Ganomaly
      >>> critic(Ganomaly(width=0.125), Norm()).width
      8
    """
    own, width = config.adversary, scaled(config, config.adversary.width)
    if own.game == "wgan_gp":
        return ResidualCritic(width)
    return PairCritic(width, norm) if own.game == "pair" else Critic(width, own.vector, norm)


def finder(config: ReconstructionConfig) -> ResidualDown:
    """The network that finds the codes of images, which is trained after both players.

    Examples:
      >>> from jaxqc.anomaly.detectors.reconstruction_players import FAnoGan
      >>> finder(FAnoGan()).numbers
      128
    """
    return ResidualDown(config.latent, scaled(config, WIDTH))


def answering(
    config: ReconstructionConfig, variables: Variables, side: int, folded: bool = False, judged: bool = False
) -> Callable[..., Any]:
    """(images in [0, 1]) → what the trained players say of them: `rebuilt`, and perhaps the critic's words.

    variables: `params` and perhaps `batch_stats`, each of the `maker`, `critic` and perhaps the `finder`. Batch norm
    takes its running statistics, so that an image's answer is its own. judged: True: the critic's words are among
    them though no score has a part of them.

    Examples:
      >>> from jaxqc.anomaly.detectors.reconstruction_players import Ganomaly
      >>> callable(answering(Ganomaly(), {}, 64))
      True
    """
    norm, kind = Norm(folded), MAKERS[config.encoder]
    own = lambda name: {key: value[name] for key, value in variables.items() if name in value}
    make = lambda x: kind.leave(kind.build(config, side, norm).apply(own("maker"), kind.enter(x)))

    def judge(*given: Any) -> Any:
        return critic(config, norm).apply(own("critic"), *given)

    def seek(_: Any, x: Float[Array, "n h w c"]) -> dict[str, Array]:
        made, features = (lambda z: signed(make(z)["made"])), (lambda y: judge(y)["features"])
        return {"numbers": sought(made, features, x, config.latent, config.descent, config.adversary.share)}

    def answer(x: Float[Array, "n h w c"]) -> dict[str, Array]:
        if kind.codes:
            find = finder(config).apply if config.encoder == "residual" else seek
            found: Any = find(own("finder"), signed(x))
            out = {"rebuilt": make(found["numbers"])["made"]}
        else:
            out = make(x)
        if config.image in CRITIC or judged or not folded:
            code = (out["code"],) if config.adversary.game == "pair" else ()
            first, second = judge(signed(x), *code), judge(signed(out["rebuilt"]), *code)
            out |= {"logit": second["logit"], "logit_given": first["logit"]}
            out |= {"features": first["features"], "features_rebuilt": second["features"]}
        return out

    return answer
