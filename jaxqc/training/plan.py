"""The run laid out in advance: phases as spans of steps, the sample order, and where to evaluate and save.

All of it is a pure function of the configuration and the number of samples, so that a resumed run walks the same path.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from jaxqc.config import TrainConfig
from jaxqc.data.order import BatchOrder
from jaxqc.errors import UserError


@dataclass(frozen=True)
class PhaseSteps:
    """One phase in steps: `start <= step < stop`, whole batches only (`per_epoch = n // batch`)."""

    phase: int
    size: int
    batch: int
    start: int
    stop: int
    per_epoch: int
    first_epoch: float

    def epoch(self, step: int) -> float:
        """Epochs done over all phases when `step` steps are done."""
        return self.first_epoch + (step - self.start) / self.per_epoch

    @property
    def position(self) -> int:
        """The loader's step at `start`: each phase begins with an epoch that no phase before it has begun."""
        return math.ceil(self.first_epoch - 1e-9) * self.per_epoch

    def indices(self, step: int, count: int, seed: int, n: int) -> np.ndarray:
        """Samples of the batches `step .. step + count - 1`, int32 [count batch]: those of the stream loader."""
        batches = BatchOrder(n, self.batch, seed)
        first = self.position + step - self.start
        return np.stack([batches.rows(first + t)[0] for t in range(count)]).astype(np.int32)


@dataclass(frozen=True)
class Chunk:
    """Steps `start .. start + count - 1`, run in one call; what follows them."""

    span: PhaseSteps
    start: int
    count: int
    evaluate: bool
    save: bool

    @property
    def stop(self) -> int:
        """Steps done after it."""
        return self.start + self.count


def make_plan(config: TrainConfig, n: int, devices: int) -> tuple[PhaseSteps, ...]:
    """Phases → spans, for `n` training samples on `devices` devices.

    Raises:
      UserError: no phase, a batch larger than the data set or not divisible by devices × micro-batches, a size or
        length that is not positive.
    """
    if not config.phases:
        raise UserError("phases: none given, so there is nothing to train")
    parts = devices * config.optim.accumulate
    if config.optim.accumulate < 1:
        raise UserError(f"optim.accumulate: {config.optim.accumulate} must be 1 or more")
    if config.steps_per_call < 1:
        raise UserError(f"steps_per_call: {config.steps_per_call} must be 1 or more")
    spans: list[PhaseSteps] = []
    start, first_epoch = 0, 0.0
    for i, phase in enumerate(config.phases):
        where = f"phases[{i}]"
        if phase.size < 1 or phase.batch < 1 or not (math.isfinite(phase.epochs) and phase.epochs > 0):
            raise UserError(f"{where}: epochs {phase.epochs}, size {phase.size}, batch {phase.batch} must be above 0")
        if phase.batch > n:
            raise UserError(f"{where}.batch: {phase.batch} is more than the {n} training samples; choose {n} or less")
        if phase.batch % parts:
            raise UserError(
                f"{where}.batch: {phase.batch} does not split over {devices} devices x {config.optim.accumulate} "
                f"micro-batches; choose a multiple of {parts}"
            )
        per_epoch = n // phase.batch
        stop = start + max(1, round(phase.epochs * per_epoch))
        spans.append(PhaseSteps(i, phase.size, phase.batch, start, stop, per_epoch, first_epoch))
        first_epoch = spans[-1].epoch(stop)
        start = stop
    return tuple(spans)


def step_at(plan: tuple[PhaseSteps, ...], epoch: float) -> int:
    """The step at which `epoch` epochs are done (rounded up), at most the last.

    Examples:
      >>> from jaxqc.config import Phase
      >>> step_at(make_plan(TrainConfig(phases=(Phase(epochs=2, batch=4),)), n=40, devices=1), 1.5)
      15
    """
    for s in plan:
        if epoch <= s.epoch(s.stop) + 1e-9:
            return min(s.stop, s.start + max(0, math.ceil((epoch - s.first_epoch) * s.per_epoch - 1e-6)))
    return plan[-1].stop


def pixels_at(plan: tuple[PhaseSteps, ...], step: int) -> float:
    """Pixels of all images of the first `step` steps: the work up to there, as phases differ in their size.

    Examples:
      >>> from jaxqc.config import Phase
      >>> phases = (Phase(epochs=1, size=8, batch=4), Phase(epochs=1, size=16, batch=4))
      >>> pixels_at(make_plan(TrainConfig(phases=phases), n=8, devices=1), 3) / 64
      24.0
    """
    return float(sum(max(0, min(step, s.stop) - s.start) * s.batch * s.size**2 for s in plan))


def _marks(plan: tuple[PhaseSteps, ...], every: float) -> set[int]:
    """Steps at which a multiple of `every` epochs is done, and the last step; every <= 0 leaves only the last."""
    last = plan[-1]
    marks = {last.stop}
    if every > 0:
        marks |= {step_at(plan, i * every) for i in range(1, math.floor(last.epoch(last.stop) / every + 1e-9) + 1)}
    return marks - {0}


def make_chunks(plan: tuple[PhaseSteps, ...], config: TrainConfig, start: int = 0) -> Iterator[Chunk]:
    """The calls of the run from step `start` on. Chunks end at phase ends, evaluations and saves, and else after
    `steps_per_call` steps; the grid does not depend on `start`."""
    evaluate = _marks(plan, config.eval_every_epochs)
    save = _marks(plan, config.checkpoint_every_epochs)
    for s in plan:
        cuts = sorted({s.stop, *(m for m in evaluate | save if s.start < m < s.stop)})
        at = s.start
        for cut in cuts:
            while at < cut:
                stop = min(at + config.steps_per_call, cut)
                if stop > start:
                    begin = max(at, start)
                    yield Chunk(s, begin, stop - begin, stop in evaluate, stop in save)
                at = stop
