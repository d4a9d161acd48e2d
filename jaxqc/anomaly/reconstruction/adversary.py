"""The training of two players in one loss (`game`): a step moves both at once.

The critic sees real and made images in two calls, whose batch-norm statistics pass from one to the next. `loss` says
little of either's health, so that each term is logged.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, Key

from jaxqc.anomaly.detectors.image_loss import HeldOutLoss
from jaxqc.anomaly.learned.corrupt import corrupt
from jaxqc.anomaly.reconstruction.game import (
    ENTROPY,
    PATIENCE,
    RULES,
    STATE,
    WON,
    Game,
    applied,
    counted,
    faced,
    squares,
    steepness,
)
from jaxqc.anomaly.reconstruction.objective import Rebuilding
from jaxqc.anomaly.reconstruction.players import MAKERS, answering, critic, signed
from jaxqc.anomaly.reconstruction.terms import terms, weighted
from jaxqc.data.dataset import ArrayDataset, Dataset
from jaxqc.nn.conv import Norm
from jaxqc.training.method import Logs
from jaxqc.types import AXIS, Batch, Metrics, Variables


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
        enter = kind.enter(code if kind.codes else image)
        make = kind.build(config, self.size, norm).init(jax.random.fold_in(key, 1), enter)
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
        enter, rule = codes if kind.codes else seen, RULES[config.adversary.game]
        more = {"drawn": codes} if config.adversary.game == "pair" else {}
        more |= {"noise": codes} if config.variational else {}
        made, changed = applied(
            kind.build(config, self.size, norm), params["maker"], stats["maker"], kind.enter(enter), **more
        )
        out = kind.leave(made)
        words = lambda own, running, image, *code: applied(judge, own, running, signed(image), *code)
        pair = config.adversary.game == "pair"
        real = (whole, out["code"]) if pair else (whole,)
        fake = (out["made"], codes) if pair else (out["made" if kind.codes else "rebuilt"],)
        both = faced(words, params["critic"], stats["critic"], real, fake)
        out["adversarial"] = rule.fooling(both.made["logit"]) + (rule.fooling(-both.real["logit"]) if pair else 0.0)
        out["feature"] = squares(both.real["features"], both.made["features"])
        if "again" in out:
            out["relatent"] = squares(out["code"], out["again"])
        parts = terms(config.loss, out, whole, mask)
        fakes, last = both.own_made["logit"], both.stats
        if config.adversary.pasted:
            image, _ = corrupt("cutpaste", batch["image"], keys)
            further, last = words(params["critic"], last, self.seen(model_state, image))
            fakes = jnp.concatenate([fakes, further["logit"]])
        blame = rule.blaming(both.own_real["logit"], fakes)
        logs = {name: value.mean() for name, value in parts.items()} | {"critic": blame}
        logs |= {"slots_used": out["used"]} if "used" in out else {}
        total, game = weighted(config.loss, parts).mean() + blame, model_state[STATE]
        if config.adversary.matched:
            total += squares(both.own_real["features"], both.own_made["features"]).mean()
        if config.adversary.penalty:
            share = jax.vmap(lambda one: jax.random.uniform(jax.random.fold_in(one, 3)))(keys)
            say = lambda x: words(params["critic"], last, x)[0]["logit"]
            logs["penalty"] = steepness(say, whole, lax.stop_gradient(fake[0]), share)
            total += config.adversary.penalty * logs["penalty"]
        if rule is ENTROPY:  # another game's loss says nothing of who wins
            game = counted(game, lax.pmean(lax.stop_gradient(blame), AXIS))
            logs |= {name: game[name] for name in ("critic_won", "critic_lost")}
        return total, ({"batch_stats": {"maker": changed, "critic": last}, STATE: game}, logs)

    def losses(self, variables: Variables, batch: Batch) -> Float[Array, " b"]:
        """The maker's terms of the image as it is; where it rebuilds none, the critic's doubt that it is real."""
        config, whole, rule = self.config, self.seen(variables, batch["image"]), RULES[self.config.adversary.game]
        if MAKERS[config.encoder].codes:
            own = {name: variables[name]["critic"] for name in ("params", "batch_stats")}
            found: Any = critic(config, Norm()).apply(own, signed(whole))
            return rule.fooling(found["logit"])
        out = self._answer(variables)(whole)
        out["adversarial"] = rule.fooling(-out["logit_given"] if config.adversary.game == "pair" else out["logit"])
        out["feature"] = squares(out["features"], out["features_rebuilt"])
        if "again" in out:
            out["relatent"] = squares(out["code"], out["again"])
        return weighted(config.loss, terms(config.loss, out, whole, jnp.zeros(whole.shape[:3])))

    @property
    def pastes(self) -> bool:
        """False where an image's code is not known: to seek it would take longer than the training."""
        return not MAKERS[self.config.encoder].codes

    def init_metrics(self) -> dict[str, Any]:
        """Empty sums, also of the game."""
        own = super().init_metrics() if self.pastes else HeldOutLoss.init_metrics(self)
        return {**own, "critic_won": jnp.zeros(()), "critic_lost": jnp.zeros(())}

    def update_metrics(self, metrics: dict[str, Any], variables: Variables, batch: Batch, size: int) -> dict[str, Any]:
        """Adds a batch, and what became of the game."""
        update = super().update_metrics if self.pastes else partial(HeldOutLoss.update_metrics, self)
        weight = jnp.asarray(batch["weight"]).sum()
        outcome = {name: metrics[name] + weight * variables[STATE][name] for name in ("critic_won", "critic_lost")}
        return update(metrics, variables, batch, size) | outcome

    def summarize(self, metrics: dict[str, Any]) -> Metrics:
        """`loss` and `pasted_auroc`, and 1 where the critic `won` or `lost` at some time."""
        outcome = {name: float(metrics[name] > 0) for name in ("critic_won", "critic_lost")}
        return {**(super().summarize(metrics) if self.pastes else HeldOutLoss.summarize(self, metrics)), **outcome}

    def warned(self, metrics: Mapping[str, Any]) -> tuple[str, ...]:
        """A line where the game was one-sided, by what `summarize` gives."""
        outcome = {
            "critic_won": f"the critic won: its loss was below {WON:g} for {PATIENCE} steps; what is made says little",
            "critic_lost": f"the critic lost: it was worse than guessing for {PATIENCE} steps; its words say little",
        }
        return tuple(line for name, line in outcome.items() if metrics.get(name))

    def active(self, params: Any, step: Array) -> Any:
        """The maker moves in each step that `every` divides, counted from 1."""
        every = self.config.adversary.every
        if every == 1:
            return None
        moves = {"maker": (step + 1) % every == 0, "critic": True}
        full = lambda part: jax.tree.map(lambda x: jnp.full(x.shape, moves[part], jnp.float32), params[part])
        return {part: full(part) for part in params}

    def init_extra(self, params: Any, model_state: Any = None) -> Any:
        """The mean of all parameters, where the recipe scores by one."""
        return {"teacher": jax.tree.map(jnp.copy, params)} if self.config.adversary.average else None

    def after_step(self, extra: Any, params: Any, step: jax.Array, model_state: Any = None, *remembered: Any) -> Any:
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
