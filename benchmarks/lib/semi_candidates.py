"""The semi-supervised step's candidates: one network, method and batch, as programs that are ready to be timed."""

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.lib.common import Candidate, compile_timed
from benchmarks.lib.networks import random_variables
from jaxqc.config import ModelConfig, OptimConfig
from jaxqc.semi import history
from jaxqc.semi.history import History
from jaxqc.semi.method import SemiMethod
from jaxqc.semi.network import halves_of, make_network
from jaxqc.semi.presets import HISTORY
from jaxqc.semi.recipe import SemiConfig, SemiTrainConfig, preset
from jaxqc.training import state as states
from jaxqc.training.optim import make_optimizer, make_schedule
from jaxqc.training.parallel import Parallel
from jaxqc.training.state import TrainState
from jaxqc.training.step import make_step
from jaxqc.types import Batch

OPTIM = OptimConfig(name="adamw", lr=5e-6, weight_decay=0.01, warmup_epochs=0.0, schedule="poly", clip=0.0)
STEPS = 1_000_000
"""Length of the schedule; no benchmark comes to its end."""


@dataclass(frozen=True, eq=False)
class Timed(SemiMethod):
    """The method as it trains; with `given` batches come prepared."""

    given: bool = False

    def prepare(self, batch: Batch, keys: Any, size: int, train: bool) -> Batch:
        return batch if self.given else super().prepare(batch, keys, size, train)


class Bench:
    """One network, method and batch on this machine: its states, its data, its candidates."""

    def __init__(self, args: argparse.Namespace, parallel: Parallel) -> None:
        changes = {name: getattr(args, name) for name in ("chunk", "freeze") if hasattr(args, name)}
        self.args, self.parallel, self.config = args, parallel, preset(args.method, **changes)
        recipe = SemiTrainConfig(
            model=ModelConfig(args.encoder, dtype=args.dtype),
            attention=args.attention,
            semi=self.config,
            layers=getattr(args, "layers", 4),
            hidden=getattr(args, "hidden", 0),
        )
        self.module = make_network(recipe, args.classes)
        self.params = random_variables(self.module, side=args.size, train=False)["params"]
        self.optimizer, self.schedule = make_optimizer(OPTIM), make_schedule(OPTIM, STEPS)
        self.raw = raw_batch(args.batch, args.size, args.classes)
        self.compile_s: dict[str, float] = {}
        self.memory_mb: dict[str, float] = {}

    def method(self, config: SemiConfig, given: bool = False) -> Timed:
        names = tuple(f"class {i}" for i in range(self.args.classes))
        start = lambda key: jax.tree.map(jnp.asarray, self.params)
        return Timed(
            config, names, halves_of(self.module), start, head_rate=40.0, size=self.args.size, total_steps=STEPS,
            given=given,
        )  # fmt: skip

    def state(self, method: Timed) -> TrainState:
        """A fresh state on the devices; every candidate donates its own."""
        return self.parallel.replicate(jax.device_get(states.create(method, self.optimizer, jax.random.key(0))))

    def prepared(self) -> tuple[Callable[..., Any], Any]:
        """The program that makes a prepared batch on the devices, and that batch."""
        method = self.method(self.config)

        def prepare(batch: Batch, seed: jax.Array) -> Batch:
            keys = jax.random.split(jax.random.key(seed), len(batch["image"]))
            return method.prepare(batch, keys, self.args.size, True)

        given = self.parallel.shard(self.raw), self.parallel.replicate(np.uint32(0))
        compiled, self.compile_s["prepare alone"] = compile_timed(self.parallel.map(prepare), *given)
        return lambda: compiled(*given), compiled(*given)

    def compiled_step(self, name: str, method: Timed, batch: Any) -> tuple[Callable[..., Any], TrainState]:
        """`(state, batch, seed) → (state, logs)`, and a state; notes the time it took to compile and its memory."""
        step = make_step(method, self.optimizer, self.schedule, self.args.size, self.args.accumulate)
        call = self.parallel.map(lambda state, batch, seed: step(state, batch, jax.random.key(seed)), donate=(0,))
        state = self.state(method)
        compiled, self.compile_s[name] = compile_timed(call, state, batch, self.parallel.replicate(np.uint32(0)))
        if (needs := compiled.memory_analysis()) is not None:
            held = needs.argument_size_in_bytes + needs.output_size_in_bytes - needs.alias_size_in_bytes
            self.memory_mb[name] = (held + needs.temp_size_in_bytes) / 1e6
        return compiled, state

    def step(self, name: str, method: Timed, batch: Any) -> Candidate:
        compiled, state = self.compiled_step(name, method, batch)
        return Candidate(self.runs(compiled, [state], batch, lambda state: state))

    def past(self, counts: Sequence[int], batch: Any) -> dict[str, Candidate]:
        """The step with each number of past models: one program and one queue, told how many it holds."""
        config = dataclasses.replace(self.config, history=HISTORY)
        with mock.patch.object(history, "draw", all_held):
            compiled, state = self.compiled_step("past models", self.method(config), batch)
        held = [state]

        def holding(count: int) -> Callable[[TrainState], TrainState]:
            def change(state: TrainState) -> TrainState:
                queue = state.extra.history.replace(count=self.parallel.replicate(np.int32(count)))
                return dataclasses.replace(state, extra=state.extra.replace(history=queue))

            return change

        return {f"past models: {k}": Candidate(self.runs(compiled, held, batch, holding(k))) for k in counts}

    def runs(
        self, compiled: Callable[..., Any], held: list[TrainState], batch: Any, change: Callable[..., TrainState]
    ) -> Callable[[], Any]:
        seed = self.parallel.replicate(np.uint32(0))

        def run() -> Any:
            held[0], logs = compiled(change(held[0]), batch, seed)
            return logs["loss"]

        return run


def all_held(past: History, key: jax.Array, most: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """In place of `history.draw`: k is not drawn, but the number of models held."""
    del key
    most = min(most, past.length)
    return jnp.arange(most), jnp.full(most, 1 / most), jnp.minimum(past.count, most)


def raw_batch(batch: int, size: int, classes: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Noise, as the host would send it: `batch` labelled and as many unlabelled images."""
    rng = np.random.default_rng(seed)
    image, unlabeled = rng.integers(0, 256, (2, batch, size, size, 3), np.uint8)
    mask = rng.integers(0, classes, (batch, size, size)).astype(np.uint8)
    return {"image": image, "mask": mask, "unlabeled": unlabeled, "valid": np.ones((batch, size, size), bool)}
