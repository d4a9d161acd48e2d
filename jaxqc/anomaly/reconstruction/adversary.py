"""The training of two players in one loss, whose gradients are disjoint: a step moves both at once.

The maker's part sees the critic's parameters as constants, and the critic's sees what is made as a constant. Adam is
elementwise, so that one update of all parameters is that of two optimisers. The critic sees real and made images in
two calls, whose batch-norm statistics pass from one to the next. `loss` says little of either's health, so that each
term is logged.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, Key

from jaxqc.anomaly.learned.corrupt import corrupt
from jaxqc.anomaly.reconstruction.objective import Rebuilding
from jaxqc.anomaly.reconstruction.players import MAKERS, answering, critic, signed
from jaxqc.anomaly.reconstruction.terms import terms, weighted
from jaxqc.data.dataset import ArrayDataset, Dataset
from jaxqc.nn.conv import Norm
from jaxqc.training.method import Logs
from jaxqc.types import AXIS, ArrayLike, Batch, Metrics, Variables

WON, LOST = 1e-3, 2 * math.log(2.0)
"""The critic's cross entropy below which it has won, and above which it has lost: the latter is that of guessing."""
PATIENCE = 100
"""Steps in a row after which either is so."""
STATE = "game"
"""Collection of the counts of such steps."""


class Game(NamedTuple):
    """Steps in a row, and 1 once they were `PATIENCE`: of a critic that wins, and of one that loses."""

    winning: Float[ArrayLike, ""]
    losing: Float[ArrayLike, ""]
    critic_won: Float[ArrayLike, ""]
    critic_lost: Float[ArrayLike, ""]


def counted(game: Mapping[str, Any], entropy: Float[ArrayLike, ""]) -> dict[str, Array]:
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


def squares(a: Float[ArrayLike, "n ..."], b: Float[ArrayLike, "n ..."]) -> Float[Array, " n"]:
    """The mean squared difference of each image."""
    return jnp.square(jnp.asarray(a) - b).reshape(a.shape[0], -1).mean(1)


@dataclass(frozen=True, eq=False)
class Playing(Rebuilding):
    """The training of a maker and its critic."""

    def measured(self, data: ArrayDataset | Dataset, batch: int) -> "Playing":
        """Itself: the recipe says how many numbers a code has."""
        return self

    def init(self, key: Key[Array, ""]) -> Variables:
        """Both players drawn at random, and a game that nobody leads."""
        config, norm = self.config, Norm()
        image = jnp.zeros((1, self.size, self.size, 3))
        code = jnp.zeros((1, config.latent))
        kind = MAKERS[config.encoder]
        make = kind.build(config, self.size, norm).init(
            jax.random.fold_in(key, 1), kind.enter(code if config.encoder == "search" else image)
        )
        judge = critic(config, norm).init(jax.random.fold_in(key, 2), image, *self._pair(code))
        parts = {"maker": make, "critic": judge}
        own = lambda name: {part: found.get(name, {}) for part, found in parts.items()}
        return {
            "params": own("params"),
            "batch_stats": own("batch_stats"),
            STATE: dict.fromkeys(Game._fields, jnp.zeros(())),
        }

    def _pair(self, code: Any) -> tuple[Any, ...]:
        return (code,) if self.config.adversary.game == "pair" else ()

    def loss(
        self, params: Any, model_state: Any, batch: Batch, key: jax.Array, extra: None = None
    ) -> tuple[jax.Array, tuple[Any, Logs]]:
        """The maker's weighted terms and the critic's cross entropy; each is logged by its name."""
        config, norm, stats = self.config, Norm(axis_name=AXIS), model_state["batch_stats"]
        whole, keys = self.seen(model_state, batch["image"]), batch["key"]
        seen, mask = self.marred(model_state, batch, whole)
        kind, judge = MAKERS[config.encoder], critic(config, norm)
        draw = lambda one: jax.random.normal(jax.random.fold_in(one, 2), (config.latent,))
        codes = jax.vmap(draw)(keys)
        enter = codes if config.encoder == "search" else seen
        more = {"drawn": codes} if config.adversary.game == "pair" else {}
        made, changed = applied(
            kind.build(config, self.size, norm), params["maker"], stats["maker"], kind.enter(enter), **more
        )
        out = kind.leave(made)
        words = lambda own, running, image, *code: applied(judge, own, running, signed(image), *code)
        pair = config.adversary.game == "pair"
        real = (whole, out["code"]) if pair else (whole,)
        fake = (out["made"], codes) if pair else (out.get("rebuilt", out.get("made")),)
        both = faced(words, params["critic"], stats["critic"], real, fake)
        out["adversarial"] = nn.softplus(-both.made["logit"]) + (nn.softplus(both.real["logit"]) if pair else 0.0)
        out["feature"] = squares(both.real["features"], both.made["features"])
        if "again" in out:
            out["relatent"] = squares(out["code"], out["again"])
        parts = terms(config.loss, out, whole, mask)
        fakes, last = both.own_made["logit"], both.stats
        if config.adversary.pasted:
            image, _ = corrupt("cutpaste", batch["image"], keys)
            further, last = words(params["critic"], last, self.seen(model_state, image))
            fakes = jnp.concatenate([fakes, further["logit"]])
        entropy = entropy_of(both.own_real["logit"], fakes)
        matched = squares(both.own_real["features"], both.own_made["features"]).mean()
        game = counted(model_state[STATE], lax.pmean(lax.stop_gradient(entropy), AXIS))
        logs = {name: value.mean() for name, value in parts.items()} | {"critic": entropy}
        logs |= {name: game[name] for name in ("critic_won", "critic_lost")}
        total = weighted(config.loss, parts).mean() + entropy + (matched if config.adversary.matched else 0.0)
        return total, ({"batch_stats": {"maker": changed, "critic": last}, STATE: game}, logs)

    def losses(self, variables: Variables, batch: Batch) -> Float[Array, " b"]:
        """The maker's terms of the image as it is; where it rebuilds none, the critic's doubt that it is real."""
        config, whole = self.config, self.seen(variables, batch["image"])
        if config.encoder == "search":
            own = {name: variables[name]["critic"] for name in ("params", "batch_stats")}
            found: Any = critic(config, Norm()).apply(own, signed(whole))
            return nn.softplus(-found["logit"])
        out = self._answer(variables)(whole)
        out["adversarial"] = nn.softplus(out["logit_given"] if config.adversary.game == "pair" else -out["logit"])
        out["feature"] = squares(out["features"], out["features_rebuilt"])
        if "again" in out:
            out["relatent"] = squares(out["code"], out["again"])
        return weighted(config.loss, terms(config.loss, out, whole, jnp.zeros(whole.shape[:3])))

    @property
    def pastes(self) -> bool:
        """False where each image's code is sought: that would take longer than the training."""
        return self.config.encoder != "search"

    def init_metrics(self) -> dict[str, Any]:
        """Empty sums, also of the game."""
        return {**super().init_metrics(), "critic_won": jnp.zeros(()), "critic_lost": jnp.zeros(())}

    def update_metrics(self, metrics: dict[str, Any], variables: Variables, batch: Batch, size: int) -> dict[str, Any]:
        """Adds a batch, and what became of the game."""
        found = super().update_metrics(metrics, variables, batch, size)
        weight = jnp.asarray(batch["weight"]).sum()
        outcome = {name: metrics[name] + weight * variables[STATE][name] for name in ("critic_won", "critic_lost")}
        return found | outcome

    def summarize(self, metrics: dict[str, Any]) -> Metrics:
        """`loss` and `pasted_auroc`, and 1 where the critic `won` or `lost` at some time."""
        outcome = {name: float(metrics[name] > 0) for name in ("critic_won", "critic_lost")}
        return {**super().summarize(metrics), **outcome}

    def warned(self, metrics: Mapping[str, Any]) -> tuple[str, ...]:
        """A line where the game was one-sided, by what `summarize` gives."""
        outcome = {
            "critic_won": f"the critic won: its loss was below {WON:g} for {PATIENCE} steps; what is made says little",
            "critic_lost": f"the critic lost: it was worse than guessing for {PATIENCE} steps; its words say little",
        }
        return tuple(line for name, line in outcome.items() if metrics.get(name))

    def init_extra(self, params: Any) -> Any:
        """The mean of all parameters, where the recipe scores by one."""
        return {"teacher": jax.tree.map(jnp.copy, params)} if self.config.adversary.average else None

    def after_step(self, extra: Any, params: Any, step: jax.Array) -> Any:
        """The mean moves; at first it is a plain one, so that it forgets the start."""
        if extra is None:
            return None
        share = jnp.maximum(1.0 / (step + 1.0), 1.0 - self.config.adversary.average)
        return {"teacher": optax.incremental_update(params, extra["teacher"], share)}

    def deployed(self, variables: Variables, extra: Any) -> Variables:
        """With the mean in place of the parameters, where there is one."""
        return variables if extra is None else {**variables, "params": extra["teacher"]}

    def _answer(self, variables: Variables) -> Any:
        own = {name: variables[name] for name in ("params", "batch_stats")}
        return answering(self.config, own, self.size)
