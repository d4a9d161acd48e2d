"""Two players who meet in one loss: what each sees of the other, their losses by the game, and who wins.

The maker's part sees the critic's parameters as constants, and the critic's sees what is made as a constant. So their
gradients are disjoint. Adam is elementwise, so that one update of all parameters is that of two optimisers.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxqc.types import ArrayLike

WON, LOST = 1e-3, 2 * math.log(2.0)
"""The critic's cross entropy below which it has won, and above which it has lost: the latter is that of guessing."""
PATIENCE = 100
"""Steps in a row after which either is so."""
TINY = 1e-12
"""Added under the root of a squared norm, whose gradient at 0 is none else."""
STATE = "game"
"""Collection of the counts of such steps."""


class Game(NamedTuple):
    """Steps in a row, and 1 once they were `PATIENCE`: of a critic that wins, and of one that loses."""

    winning: Float[ArrayLike, ""]
    losing: Float[ArrayLike, ""]
    critic_won: Float[ArrayLike, ""]
    critic_lost: Float[ArrayLike, ""]


def counted(game: Mapping[str, Any], entropy: Float[ArrayLike, ""] | float) -> dict[str, Array]:
    """The counts after a step in which real and made images had this cross entropy together.

    Examples:
      >>> game = dict.fromkeys(Game._fields, jnp.float32(0)) | {"winning": jnp.float32(99)}
      >>> {name: float(x) for name, x in counted(game, 1e-4).items()}
      {'winning': 100.0, 'losing': 0.0, 'critic_won': 1.0, 'critic_lost': 0.0}
    """
    own = Game(**game)
    winning = jnp.where(jnp.asarray(entropy) < WON, own.winning + 1.0, 0.0)
    losing = jnp.where(jnp.asarray(entropy) > LOST, own.losing + 1.0, 0.0)
    reached = lambda before, now: jnp.maximum(before, (now >= PATIENCE).astype(jnp.float32))
    return Game(winning, losing, reached(own.critic_won, winning), reached(own.critic_lost, losing))._asdict()


def applied(module: nn.Module, params: Any, stats: Any, *given: Any, **more: Any) -> tuple[Any, Any]:
    """A network's outputs in training, and its batch-norm statistics after."""
    found: Any = module.apply({"params": params, "batch_stats": stats}, *given, True, mutable=["batch_stats"], **more)
    return found[0], found[1].get("batch_stats", {})


class Judged(NamedTuple):
    """A critic's words on real and made images: to the maker, whose gradients pass, and to itself; its statistics."""

    real: Any
    made: Any
    own_real: Any
    own_made: Any
    stats: Any


def faced(
    judge: Callable[..., tuple[Any, Any]], params: Any, stats: Any, real: tuple[Any, ...], made: tuple[Any, ...]
) -> Judged:
    """The critic before real images and made ones, with their codes where it sees those.

    judge: (parameters, statistics, images, ...) → outputs, statistics. What is computed twice is one in the graph: no
    more than the gradients are apart.
    """
    fixed, still = lax.stop_gradient(params), lax.stop_gradient((real, made))
    own_real, after = judge(params, stats, *still[0])
    own_made, last = judge(params, after, *still[1])
    return Judged(judge(fixed, stats, *real)[0], judge(fixed, after, *made)[0], own_real, own_made, last)


def entropy_of(real: Float[ArrayLike, " n"], made: Float[ArrayLike, " m"]) -> Float[Array, ""]:
    """The critic's cross entropy: of real images as real, and of made ones as made; 2 ln 2 of one that guesses.

    Examples:
      >>> round(float(entropy_of(jnp.zeros(2), jnp.zeros(2))), 4)
      1.3863
    """
    return nn.softplus(-jnp.asarray(real)).mean() + nn.softplus(jnp.asarray(made)).mean()


class Rule(NamedTuple):
    """Losses of a game. fooling: the maker's, of what the critic says of what is made [n]; blaming: the critic's."""

    fooling: Callable[[Float[Array, " n"]], Float[Array, " n"]]
    blaming: Callable[[Float[Array, " n"], Float[Array, " m"]], Float[Array, ""]]


ENTROPY = Rule(lambda said: nn.softplus(-said), entropy_of)
RULES = {
    "gan": ENTROPY,
    "pair": ENTROPY,
    "wgan_gp": Rule(lambda said: -said, lambda real, made: made.mean() - real.mean()),
}
"""By `AdversaryConfig.game`."""


def steepness(
    say: Callable[[Float[Array, "n h w c"]], Float[Array, " n"]],
    real: Float[ArrayLike, "n h w c"],
    made: Float[ArrayLike, "n h w c"],
    share: Float[ArrayLike, " n"],
) -> Float[Array, ""]:
    """The mean square by which the norm of a critic's slope is apart from 1, at an image between each pair.

    say: images → a number each, of its own image alone. share: of the real image, in [0, 1].

    Examples:
      >>> x = jnp.ones((2, 1, 1, 1))
      >>> float(steepness(lambda x: 3 * x[:, 0, 0, 0], x, 0 * x, jnp.array([0.5, 0.5])))
      4.0
    """
    part = jnp.asarray(share)[:, None, None, None]
    between = part * jnp.asarray(real) + (1 - part) * jnp.asarray(made)
    slope = jax.grad(lambda x: say(x).sum())(between).reshape(between.shape[0], -1)
    return jnp.square(jnp.sqrt(jnp.square(slope).sum(1) + TINY) - 1).mean()


def squares(a: Float[ArrayLike, "n ..."], b: Float[ArrayLike, "n ..."]) -> Float[Array, " n"]:
    """The mean squared difference of each image."""
    return jnp.square(jnp.asarray(a) - b).reshape(a.shape[0], -1).mean(1)
