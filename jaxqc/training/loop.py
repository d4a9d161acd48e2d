"""The one training loop: phases, evaluation, checkpoints, resumption and the guards, for any `Method`."""

import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxqc.config import TrainConfig
from jaxqc.data.dataset import ArrayDataset, Dataset
from jaxqc.data.pipeline import BatchSource
from jaxqc.errors import UserError, suggest
from jaxqc.fields import to_dict
from jaxqc.progress import Progress
from jaxqc.training import checkpoint, folder_sums, golden, plan, record, state
from jaxqc.training.cache import enable_compilation_cache
from jaxqc.training.evaluate import make_evaluate
from jaxqc.training.feed import Fetch, Resident, Stream, in_memory
from jaxqc.training.logs import Mark, RunLog, average
from jaxqc.training.method import Method, check_method
from jaxqc.training.optim import make_optimizer, make_schedule
from jaxqc.training.parallel import Parallel, make_parallel
from jaxqc.training.stop import Sigterm
from jaxqc.types import Metrics

LOWER_IS_BETTER = ("mae", "loss")
CALL_SECONDS = 3.0
"""Aimed-at time of one compiled call: short enough for a live display and a quick answer to SIGTERM; long enough that
several steps share the memory which each call takes anew (on a CPU gigabytes of page faults)."""


@dataclass(frozen=True)
class RunResult:
    """The outcome of a finished run. `metrics`: the last evaluation; `best`: the one of `best_step`."""

    workdir: Path
    step: int
    metrics: Metrics
    best: Metrics
    best_step: int
    seconds: float
    """Training time over all sittings, evaluations and saves included."""


def run(
    method: Method,
    config: TrainConfig,
    train: ArrayDataset | Dataset | BatchSource,
    val: ArrayDataset | Dataset | Sequence[Dataset] | None,
    workdir: str | Path,
    resume: bool = True,
    progress: bool = True,
    meta: dict[str, Any] | None = None,
    proof: bool = True,
) -> RunResult:
    """Trains `method` by the recipe `config` and leaves a run folder (see `jaxqc.training.checkpoint`).

    With `resume`, a run that was ended at any moment goes on from its last sound checkpoint and ends bit-identical to
    an uninterrupted one. With several processes every one calls this with the same arguments on a shared `workdir`.
    `val` may be several sets, each of one image size, measured as one. proof: whether the folder gets a golden record
    of its own.

    Raises:
      UserError: a method that lacks something, a recipe that cannot run, a folder that holds another run or cannot be
        written, `nan_patience` steps in a row whose loss or gradient is not finite.
      SystemExit: 143 after SIGTERM, once the state is saved.
    """
    check_method(method)
    enable_compilation_cache()
    workdir = Path(workdir)
    if not resume and checkpoint.steps_in(workdir / "checkpoints"):
        raise UserError(f"{workdir}: holds a run already; go on with it (--resume) or choose another --out")
    sets = [] if val is None else [val] if isinstance(val, ArrayDataset | Dataset) else val
    sets = [part for part in sets if len(part)]
    if config.data.mode == "resident":
        train = train if isinstance(train, BatchSource) else in_memory(train, config.data)
        sets = [in_memory(part, config.data) for part in sets]
    parallel = make_parallel(config.backend, config.devices)
    sitting = _Sitting(method, config, train, sets, workdir, parallel)
    sitting.restore()
    if jax.process_index() == 0:
        if not sitting.step:
            folder_sums.drop_sums(workdir)  # of a run that was killed before its first checkpoint
        if sitting.step < sitting.total or not (workdir / "meta.json").is_file():
            record.write_record(workdir, config, meta, method.classes, sitting.digest)
    sitting.train(progress)
    if proof and not isinstance(shown := sets[0] if sets else train, BatchSource):
        golden.write_golden(workdir, method, shown, config)
    return RunResult(
        workdir, sitting.step, sitting.metrics, sitting.best["metrics"], sitting.best["step"], sitting.seconds
    )


@dataclass
class _Sitting:
    """One sitting of a run: what the host knows and does between compiled calls."""

    method: Method
    config: TrainConfig
    data: ArrayDataset | Dataset | BatchSource
    val: Sequence[ArrayDataset | Dataset]
    workdir: Path
    parallel: Parallel
    step: int = 0
    metrics: Metrics = field(default_factory=dict)
    best: dict[str, Any] = field(default_factory=lambda: {"step": -1, "value": None, "metrics": {}})
    partial: dict[str, list[float]] = field(default_factory=dict)
    """Logs of the steps since the last log line, so that a line is whole though a save falls within it."""
    seconds: float = 0.0
    logged: Mark | None = None
    """The state of metrics.jsonl when the checkpoint was saved from which this sitting goes on."""

    def __post_init__(self) -> None:
        config, method = self.config, self.method
        if len(self.data) == 0:
            raise UserError("data: the training split is empty")
        self.plan = plan.make_plan(config, len(self.data), self.parallel.count)
        self.total = self.plan[-1].stop
        warmup = plan.step_at(self.plan, config.optim.warmup_epochs)
        self.optimizer = make_optimizer(config.optim)
        self.schedule = make_schedule(config.optim, self.total, warmup)
        self.digest = record.data_digest(self.data)
        self.environment = {**record.environment(), "seed": config.seed}
        self.folder = self.workdir / "checkpoints"
        self.notes: list[str] = []
        if self.val:
            with np.errstate(all="ignore"):
                known = method.summarize(jax.device_get(method.init_metrics()))
            if config.best_metric not in known:
                raise UserError(f"best_metric: {config.best_metric!r}{suggest(config.best_metric, known)}")

    def restore(self) -> None:
        """Takes up the last sound checkpoint, or draws a fresh state."""
        create = lambda key: state.create(self.method, self.optimizer, key)
        key = jax.random.key(self.config.seed)
        template = jax.eval_shape(create, key)
        found = checkpoint.restore_latest(self.folder, template, self.config, self.digest, self.notes.append)
        if found is None:
            # Unoptimised: it runs once, and optimising hundreds of random draws takes the CPU compiler a minute.
            draw = jax.jit(create, compiler_options={"xla_backend_optimization_level": 0})
            host = jax.tree.map(np.array, jax.device_get(draw(key)))
        else:
            host, kept = found
            self.step, self.metrics, self.best = kept["step"], kept["metrics"], kept["best"]
            self.partial, self.seconds, self.logged = kept["partial"], kept["seconds"], kept.get("log")
            self.notes.append(f"resumed at step {self.step} of {self.total}")
        self.state = self.parallel.replicate(replace(host, frozen=self.method.frozen()))

    def train(self, progress: bool) -> None:
        """Runs what is left of the plan."""
        config, parallel, method, main = self.config, self.parallel, self.method, jax.process_index() == 0
        kind: Any = Resident if isinstance(self.data, ArrayDataset) and config.data.mode == "resident" else Stream
        feed = kind(self.method, self.optimizer, self.schedule, config, parallel, self.data)
        self.evaluate = make_evaluate(
            self.method, parallel, config.eval_size, config.eval_batch, config.data.size, config.data.workers
        )
        self.deploy = parallel.map(lambda s: method.deployed(s.variables, s.extra))
        told = lambda s, *what: replace(s, extra=method.after_evaluation(s.extra, s.params, *what))
        self.remember = parallel.map(told, donate=(0,))
        self.log = RunLog(self.workdir, self.step, self.logged) if main else None
        self.notes += self.log.notes if self.log else ()
        self.saves = checkpoint.Checkpoints(self.folder)
        self.began = self.marked = time.monotonic()
        self.before, self.spent = self.seconds, (0, 0.0)
        self.pending: deque[tuple[plan.Chunk, int, int, Fetch]] = deque()
        self.pace = 1 if jax.process_count() == 1 else config.steps_per_call
        try:
            shown = Progress(
                "starting (compiling)",
                self.total,
                progress and main,
                start=self.step,
                elapsed=True,
                work=lambda step: plan.pixels_at(self.plan, step),
            )
            with shown as self.bar, Sigterm() as stop:
                for note in self.notes:
                    self.bar.note(note)
                # Nothing may cross between host and device in the loop but by an explicit put or get.
                with jax.transfer_guard("disallow"):
                    for chunk in plan.make_chunks(self.plan, config, self.step):
                        self._chunk(feed, chunk, stop)
            self.saves.wait()
        finally:
            self.seconds = self.before + time.monotonic() - self.began
            feed.close()
            try:
                self.saves.close()
            finally:
                if self.log:
                    self.log.close()

    def _chunk(self, feed: Resident | Stream, chunk: plan.Chunk, stop: Sigterm) -> None:
        while self.step < chunk.stop:
            count = min(self.pace, chunk.stop - self.step)
            self.state, fetch = feed.run(self.state, chunk.span, self.step, count)
            self.pending.append((chunk, self.step, count, fetch))
            self.step += count
            self._read_logs(leave=1)  # those of the call before: the device is busy with this one meanwhile
            if self.step < chunk.stop and stop.asked():
                self._leave()
        if chunk.evaluate and self.val:
            self._read_logs()
            self._evaluate(chunk)
        if chunk.save or self.best["step"] == chunk.stop:
            self._read_logs()
            self._save()
        if stop.asked():
            self._leave()

    def _leave(self) -> None:
        self._read_logs()
        self.saves.wait()
        if self.step not in checkpoint.steps_in(self.folder):
            self._save()
        self.saves.wait()
        self.bar.note(f"SIGTERM: saved step {self.step} in {self.folder}; the same command goes on from there")
        raise SystemExit(143)

    def _read_logs(self, leave: int = 0) -> None:
        while len(self.pending) > leave:
            chunk, start, count, fetch = self.pending.popleft()
            logs = fetch()
            now = time.monotonic()
            took, images = now - self.marked, count * chunk.span.batch
            self.marked, self.spent = now, (self.spent[0] + images, self.spent[1] + took)
            if jax.process_count() == 1:  # several processes could not agree on it without talking
                self.pace = int(min(max(1, CALL_SECONDS * count / took), 2 * self.pace, self.config.steps_per_call))
            for name, values in logs.items():
                self.partial.setdefault(name, []).extend(float(v) for v in values)
            self._check_finite(chunk, start, logs)
            shown = {name: float(logs[name][-1]) for name in ("loss", "lr")}
            self.bar.step(start + count, chunk.span.epoch(start + count), chunk.span.size, shown, images / took)
            if start + count == chunk.stop:
                self._log_line(chunk)

    def _check_finite(self, chunk: plan.Chunk, start: int, logs: dict[str, np.ndarray]) -> None:
        bad = logs["bad"]
        for t in np.flatnonzero(bad == 1):
            self.bar.note(f"step {start + int(t) + 1}: loss or gradient is not finite; the step was not applied")
        if bad.max() < self.config.nan_patience:
            return
        step = start + int(np.argmax(bad >= self.config.nan_patience))
        rows = chunk.span.indices(step, 1, self.config.seed, len(self.data))[0]
        ids = tuple(s.id for s in self.data.samples) if isinstance(self.data, Dataset) else self.data.ids
        self.saves.wait()
        good = checkpoint.steps_in(self.folder)
        raise UserError(
            f"step {step + 1}: loss or gradient not finite {self.config.nan_patience} times in a row; last good "
            f"checkpoint: {self.folder / str(good[-1]) if good else 'none'}; batch: {', '.join(ids[i] for i in rows)}"
        )

    def _log_line(self, chunk: plan.Chunk) -> None:
        logs, self.partial = self.partial, {}
        rate, self.spent = self.spent[0] / self.spent[1], (0, 0.0)
        row = {"kind": "train", "step": chunk.stop, "epoch": round(chunk.span.epoch(chunk.stop), 6)}
        row |= {"size": chunk.span.size, **average(logs)}
        self.method.refuse(row)
        if self.log:
            more = self.method.pace(rate, chunk.span.size, self.parallel.count, row)
            self.log.write(row | {"images_per_second": round(rate, 2), **more, "seconds": self._elapsed()})

    def _evaluate(self, chunk: plan.Chunk) -> None:
        name, alone = self.config.best_metric, self.state.extra is None
        variables = self.state.variables if alone else self.deploy(self.state)
        metrics = self.metrics = self.evaluate(variables, self.val)
        value, best = metrics[name], self.best["value"]
        sign = -1 if name.split("/")[-1] in LOWER_IS_BETTER else 1
        better = math.isfinite(value) and (best is None or sign * value > sign * best)
        if not alone:
            told = {key: np.float32(number) for key, number in metrics.items()}
            self.state = self.remember(self.state, *map(self.parallel.replicate, (np.bool_(better), told)))
        if better:
            self.best = {"step": chunk.stop, "value": value, "metrics": metrics}
        epoch = chunk.span.epoch(chunk.stop)
        if self.log:
            finite = {k: v if math.isfinite(v) else None for k, v in metrics.items()}
            row = {"kind": "eval", "step": chunk.stop, "epoch": round(epoch, 6), **finite, "seconds": self._elapsed()}
            self.log.write(row)
        kept = "none yet" if self.best["value"] is None else f"{self.best['value']:.4f}, step {self.best['step']}"
        self.bar.note(f"epoch {epoch:.1f}  val {name} {value:.4f} (best {kept})")
        self.marked = time.monotonic()

    def _save(self) -> None:
        if self.log:
            self.log.sync()
        kept = {"config": to_dict(self.config), "data": self.digest, "metrics": self.metrics, "best": self.best}
        kept |= {"partial": self.partial, "seconds": self._elapsed(), "environment": self.environment}
        kept |= folder_sums.PROMISE | ({"log": self.log.mark()} if self.log else {})
        state = self.parallel.unreplicate(replace(self.state, frozen=None))
        self.saves.save(self.step, state, kept, self.best["step"])
        self.marked = time.monotonic()

    def _elapsed(self) -> float:
        return round(self.before + time.monotonic() - self.began, 3)
