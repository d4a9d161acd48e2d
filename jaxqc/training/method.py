"""The protocol that a method fulfils so that the one loop can train it. All functions are pure and per device."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import jax

from jaxqc.errors import UserError
from jaxqc.types import Batch, Metrics, Variables

Logs = dict[str, jax.Array]


@runtime_checkable
class Method(Protocol):
    """A learning method as pure functions over pytrees.

    Everything but `summarize`, `pace` and `refuse` runs inside a compiled per-device function with the axis name
    `jaxqc.types.AXIS`. Batch norm inside `loss` reduces over that axis; the loop averages gradients and logs over it.
    """

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the data set's classes."""
        ...

    def init(self, key: jax.Array) -> Variables:
        """Fresh variables: `params` (float32) and the mutable collections (`batch_stats`)."""
        ...

    def prepare(self, batch: Batch, keys: jax.Array, size: int, train: bool) -> Batch:
        """uint8 batch → float32 network input [b size size 3]; one key an image ([b] typed keys), so that the result
        does not depend on how images are spread over devices. `train` switches augmentation on."""
        ...

    def init_extra(self, params: Any, model_state: Any = None) -> Any:
        """The part of the training state beside fresh variables (a teacher, a queue of models); None = nothing."""
        ...

    def frozen(self) -> Any:
        """Collections of host arrays, by name, that a step reads beside the mutable ones and nothing changes: weights
        of a network that is not trained. No checkpoint holds them. None = nothing."""
        ...

    def rates(self, params: Any, extra: Any = None) -> Any:
        """A factor on the learning rate for each array, as `params`, in the step that starts with `extra`; None = 1 for
        all. What has 0 stays as it is."""
        ...

    def active(self, params: Any, step: jax.Array) -> Any:
        """1 for each array that optimiser step number `step` (from 0) moves, as `params`, else 0; None = all. What has
        0 stays as it is, and so do its parts of the optimiser's vectors."""
        ...

    def loss(
        self, params: Any, model_state: Any, batch: Batch, key: jax.Array, extra: Any
    ) -> tuple[jax.Array, tuple[Any, ...]]:
        """Mean loss over this device's prepared batch, the new mutable collections, and scalars to log.
        `model_state` has the frozen collections too. `key` is the same on all devices of a step.

        Beside collections and logs may stand a third thing, what the step remembers: a pytree of fixed shapes that no
        average passes through, such as rows for a memory. `after_step` then has it of all devices."""
        ...

    def after_step(self, extra: Any, params: Any, step: jax.Array, model_state: Any = None, *remembered: Any) -> Any:
        """`extra` once optimiser step number `step` (from 0) gave `params` and the mutable collections.

        remembered: what `loss` remembers, where it does: each array with a leading axis of micro-batches times devices,
        the same on all devices. A step that is not finite leaves `extra` as it was."""
        ...

    def after_evaluation(self, extra: Any, params: Any, improved: jax.Array, *metrics: Any) -> Any:
        """`extra` once the validation set was measured; `improved`: strictly better than ever before; `metrics`: what
        `summarize` told, one dict of float32 scalars."""
        ...

    def deployed(self, variables: Variables, extra: Any) -> Variables:
        """The variables that are measured and used, from the trained ones and `extra` (perhaps as plain dicts)."""
        ...

    def predict(self, variables: Variables, image: jax.Array) -> dict[str, jax.Array]:
        """Normalised images [b s s 3] → `map` [b s s] in [0, 1] and, where the model knows, `class` [b k]."""
        ...

    def init_metrics(self) -> Any:
        """An empty accumulator: a pytree of sums, so that merging is addition and `psum` merges devices."""
        ...

    def update_metrics(self, metrics: Any, variables: Variables, batch: Batch, size: int) -> Any:
        """Adds a raw uint8 evaluation batch (with `weight`) to the accumulator, at the mask's own size."""
        ...

    def summarize(self, metrics: Any) -> Metrics:
        """Accumulator on the host → named scalars."""
        ...

    def pace(self, images_per_second: float, size: int, devices: int, logs: Mapping[str, Any]) -> dict[str, float]:
        """A log line's figures of the run's pace beside images/s (of `jaxqc.training.logs.WALL_FIELDS`): at `size`
        pixels, on so many devices; `logs`: the line's means. Runs on the host, in the first process only."""
        ...

    def refuse(self, logs: Mapping[str, Any]) -> None:
        """Raises UserError where a log line's means say that the run is lost. Runs on the host, in each process."""
        ...


def check_method(method: Any) -> None:
    """Checks that an object has all that `Method` asks for: one of another package may be of an earlier version.

    Raises:
      UserError: it lacks some; named are these and the class.

    Examples:
      >>> try: check_method(SingleNetwork())
      ... except UserError as e: print(str(e)[:96])
      SingleNetwork of jaxqc.training.method has no classes, init, prepare, loss, predict, init_metric
    """
    if absent := [name for name in vars(Method) if not name.startswith("_") and not hasattr(method, name)]:
        kind = type(method)
        raise UserError(
            f"{kind.__name__} of {kind.__module__} has no {', '.join(absent)}; add what"
            " jaxqc.training.method.Method says of them, or take the usual answers from"
            " jaxqc.training.method.SingleNetwork"
        )


class SingleNetwork:
    """A method that trains one network and nothing beside it: what `Method` asks for beyond that."""

    def init_extra(self, params: Any, model_state: Any = None) -> Any:
        """Nothing."""
        return None

    def frozen(self) -> Any:
        """Nothing."""
        return None

    def rates(self, params: Any, extra: Any = None) -> Any:
        """One learning rate for all."""
        return None

    def active(self, params: Any, step: jax.Array) -> Any:
        """All, in every step."""
        return None

    def pace(self, images_per_second: float, size: int, devices: int, logs: Mapping[str, Any]) -> dict[str, float]:
        """Nothing."""
        return {}

    def refuse(self, logs: Mapping[str, Any]) -> None:
        """Refuses nothing."""

    def after_step(self, extra: Any, params: Any, step: jax.Array, model_state: Any = None, *remembered: Any) -> Any:
        """Nothing."""
        return None

    def after_evaluation(self, extra: Any, params: Any, improved: jax.Array, *metrics: Any) -> Any:
        """Nothing."""
        return None

    def deployed(self, variables: Variables, extra: Any) -> Variables:
        """The trained variables themselves."""
        return variables
