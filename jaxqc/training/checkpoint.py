"""Checkpoints: asynchronous, atomic, self-checking (Orbax), and the run folder that they stand in.

checkpoints/STEP/   one checkpoint: the state's arrays (unreplicated, so good for any number of devices) and, as its
                    custom metadata, a record {format, step, config, data, metrics, best, environment, ...}
config.json         the recipe;  meta.json  classes, mean, std, data digest, versions, git commit
"""

import contextlib
import json
import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from flax import serialization, traverse_util

from jaxqc.config import TrainConfig
from jaxqc.errors import UserError, suggest
from jaxqc.fields import as_now, from_dict, to_dict
from jaxqc.training.checksums import DamagedError, check_sums, write_sums
from jaxqc.training.folder_sums import check_folder, check_promise, check_step

FORMAT = 1
"""Version of the checkpoint's layout."""


FREE_FIELDS = ("backend", "devices", "data.workers", "nan_patience", "steps_per_call", "peak_tflops")
"""Config fields that a resumed run may change, because the result does not depend on them."""

Flat = dict[tuple[str, ...], np.ndarray]


class Checkpoints:
    """Writes a run's checkpoints: the two latest and the best are kept."""

    def __init__(self, folder: Path) -> None:
        from orbax.checkpoint import v1 as ocp

        logging.getLogger("absl").addFilter(_is_news)
        self.folder, self.best_step = folder.resolve(), -1
        self._pending: tuple[int, Future[None]] | None = None
        self._finisher = ThreadPoolExecutor(1, "checkpoint")
        self._failed_before = False
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._orbax = ocp.training.Checkpointer(
                str(self.folder), preservation_policy=_Keep(self), cleanup_tmp_directories=True
            )
        except OSError as e:
            raise UserError(f"{folder}: cannot hold checkpoints ({e.strerror or e}); choose another --out") from e

    def save(self, step: int, state: Any, record: dict[str, Any], best_step: int) -> None:
        """Starts saving a host state (`Parallel.unreplicate`) and returns; the copy is already taken.

        Raises:
          UserError: this save could not begin, or the one before it failed (disk full, folder not writable).
        """
        self.wait()
        flat = _flatten(state)
        record = {"format": FORMAT, "step": step, **record}
        self.best_step = best_step
        try:
            response = self._orbax.save_async(
                step, traverse_util.unflatten_dict(flat), force=True, custom_metadata=record
            )
        except Exception as e:  # Orbax and TensorStore raise a dozen kinds, as for a full disk
            raise self._failed(step, e) from e
        self._pending = (step, self._finisher.submit(self._finish, step, response))

    def wait(self) -> None:
        """Returns once the save under way is complete on disk. Raises UserError where it failed."""
        if self._pending is None:
            return
        (step, finished), self._pending = self._pending, None
        try:
            finished.result()
        except Exception as e:  # as above, from the save's own thread
            raise self._failed(step, e) from e

    def close(self) -> None:
        """Waits for the save under way and ends the threads."""
        try:
            self.wait()
        finally:
            self._finisher.shutdown()
            try:
                self._orbax.close()
            except Exception as e:  # as above
                if not self._failed_before:  # Orbax reports a failed save once more
                    raise UserError(f"{self.folder}: closing the checkpoints failed ({_reason(e)})") from e

    def _finish(self, step: int, response: Any) -> None:
        response.result()  # the folder has its final name from here on
        if jax.process_index() == 0:
            write_sums(self.folder / str(step))

    def _failed(self, step: int, error: Exception) -> UserError:
        self._failed_before = True
        earlier = steps_in(self.folder)
        kept = f"checkpoints {', '.join(map(str, earlier))} are intact" if earlier else "there is none before it"
        return UserError(
            f"{self.folder}: saving the checkpoint of step {step} failed ({_reason(error)}); {kept}; make room or mend "
            "the folder's permissions and run the same command again to go on"
        )


def _is_news(record: logging.LogRecord) -> bool:
    """False for errors that Orbax both logs with their tracebacks and raises, so that we name them."""
    return record.levelno < logging.ERROR or "orbax" not in record.pathname


class _Keep:
    """Orbax preservation policy: the two latest (one may prove damaged) and the best."""

    def __init__(self, owner: Checkpoints) -> None:
        self._owner = owner

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> Sequence[bool]:
        latest = sorted(c.step for c in checkpoints)[-2:]
        return [c.step in latest or c.step == self._owner.best_step for c in checkpoints]


def steps_in(folder: Path) -> list[int]:
    """Steps of the complete checkpoints in a `checkpoints` folder, ascending. (One being written has another name.)"""
    if not folder.is_dir():
        return []
    return sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit() and p.is_dir())


def read(path: Path) -> tuple[Flat, dict[str, Any]]:
    """One checkpoint's arrays by path and its record, once its files are found to be those that were saved.

    Raises:
      DamagedError: something is missing or altered.
      UserError: it was written in another format.
    """
    from orbax.checkpoint import v1 as ocp

    # Before Orbax opens it: on a broken file its many readers each fail in their own way, and aloud.
    check_step(path)
    check_sums(path)
    try:
        record = _record(path)
        version = record["format"]
        flat = _flatten(ocp.load(str(path.resolve()))) if version == FORMAT else {}
    except Exception as e:  # Orbax and TensorStore raise a dozen kinds for a broken file
        raise DamagedError(_reason(e)) from e
    if version != FORMAT:
        raise UserError(f"{path}: checkpoint format {version}; this jaxqc reads format {FORMAT}")
    return flat, record


def _record(path: Path) -> dict[str, Any]:
    from orbax.checkpoint import v1 as ocp

    record: Any = ocp.metadata(str(path.resolve())).custom_metadata
    return dict(record or {})


def restore_latest(folder: Path, template: Any, config: TrainConfig, data: str, warn: Any) -> tuple[Any, Any] | None:
    """The newest sound checkpoint as (host state, record); None where there is none at all.

    template: a state of the same structure (shapes suffice). A damaged checkpoint is named to `warn`, set aside as
    `STEP.damaged`, and the one before it is taken.

    Raises:
      UserError: every checkpoint is damaged, or it belongs to another recipe, data set or network.
    """
    steps = steps_in(folder)
    for step in reversed(steps):
        path = folder / str(step)
        try:
            flat, record = read(path)
        except DamagedError as e:
            warn(f"{path} is damaged ({e}): not used, set aside as {path.name}.damaged")
            aside = path.with_name(path.name + ".damaged")
            with contextlib.suppress(OSError):  # another process may have done it
                path.rename(aside)
            continue
        _same_recipe(path, record, config, data)
        return _fill(path, flat, template), record
    if steps or any(folder.glob("*.damaged")):
        raise UserError(f"{folder}: every checkpoint is damaged; start anew in another folder")
    return None


Recipe = TypeVar("Recipe", bound=TrainConfig)


def load_variables(
    run_dir: str | Path, which: str = "best", kind: type[Recipe] = TrainConfig
) -> tuple[dict[str, Any], Recipe, dict[str, Any]]:
    """The trained network of a run folder: variables (host float32), its recipe (a `kind`), and its meta record.

    Of a run with a teacher, the teacher's parameters.

    `which`: `best` (by the recipe's `best_metric`; the last one where nothing was evaluated) or `last`. The returned
    meta also has its `step` and, as `metrics`, the last evaluation up to then.

    Raises:
      UserError: no such folder, no checkpoint in it, a damaged one (the sound ones are named), or another damaged file.
    """
    run = Path(run_dir)
    if which not in ("best", "last"):
        raise UserError(f"checkpoint: {which!r}{suggest(which, ('best', 'last'))}")
    steps = steps_in(run / "checkpoints")
    check_folder(run)
    if not steps:
        raise UserError(f"{run}: no checkpoint there (a run folder holds checkpoints/STEP)")
    step = _best_step(run, steps) if which == "best" else steps[-1]
    path = run / "checkpoints" / str(step)
    try:
        flat, record = read(path)
    except DamagedError as e:
        others = [s for s in steps if s != step]
        last = "which='last', or " if others and others[-1] > step else ""
        offer = f"step {others[-1]} is there too ({last}a copy without {step})" if others else "no other"
        raise UserError(f"{path} is damaged ({e}); {offer}") from e
    check_promise(run, record)
    meta_path = run / "meta.json"
    try:
        meta = json.loads(meta_path.read_text(encoding="utf-8")) if meta_path.is_file() else {}
        if not isinstance(meta, dict):
            raise ValueError("no record")
    except (OSError, ValueError) as e:
        raise UserError(f"{meta_path}: damaged ({e}); copy the whole run folder again") from e
    variables = variables_of(flat)
    config = from_dict(record["config"], kind, where=f"{path}: config")
    found = {"step": step, "metrics": record["metrics"]}
    return variables, config, {**meta, **record.get("environment", {}), **found}


def variables_of(flat: Flat) -> dict[str, Any]:
    """The variables of a checkpoint's arrays; of a run with a teacher, the teacher's."""
    extra = _subtree(flat, "extra")
    params = extra.get("teacher") or _subtree(flat, "params")
    return {"params": params, **_subtree(flat, "model_state"), **extra.get("teacher_state", {})}


def _best_step(run: Path, steps: list[int]) -> int:
    for step in reversed(steps):
        try:
            best = int(_record(run / "checkpoints" / str(step))["best"]["step"])
        except Exception:  # as when it is read: a damaged one, which is named then
            continue
        return best if best in steps else step
    return steps[-1]


def decisive(recipe: dict[str, Any]) -> dict[str, Any]:
    """The fields of a recipe on which a run's outcome depends, by dotted names."""
    return {k: v for k, v in traverse_util.flatten_dict(recipe, sep=".").items() if k not in FREE_FIELDS}


def refuse_other_recipe(path: Path, stored: dict[str, Any], config: TrainConfig) -> None:
    """Raises UserError where a stored recipe gives another outcome than this one; `path` is where it is from."""
    old, new = decisive(as_now(stored, type(config))), decisive(to_dict(config))
    differ = [k for k in sorted(old.keys() | new.keys()) if old.get(k) != new.get(k)]
    if differ:
        what = "; ".join(f"{k} was {old.get(k)!r}, is {new.get(k)!r}" for k in differ)
        raise UserError(f"{path}: another recipe's checkpoint ({what}); restore the recipe or choose another --out")


def _same_recipe(path: Path, record: dict[str, Any], config: TrainConfig, data: str) -> None:
    refuse_other_recipe(path, record["config"], config)
    if record["data"] != data:
        raise UserError(
            f"{path}: trained on other data (digest {record['data'][:12]}, now {data[:12]}); choose another --out"
        )


def _flatten(state: Any) -> Flat:
    tree = serialization.to_state_dict(state)
    flat = traverse_util.flatten_dict(tree)
    return {k: np.asarray(v) for k, v in flat.items() if v is not None}


def _fill(path: Path, flat: Flat, template: Any) -> Any:
    tree: dict[Any, Any] = dict(
        traverse_util.flatten_dict(serialization.to_state_dict(template), keep_empty_nodes=True)
    )
    wanted = {k: tuple(v.shape) for k, v in tree.items() if hasattr(v, "shape")}
    have = {k: v.shape for k, v in flat.items()}
    if wanted != have:
        odd = sorted("/".join(k) for k in wanted.keys() | have.keys() if wanted.get(k) != have.get(k))
        raise UserError(f"{path}: another network's checkpoint; {len(odd)} arrays differ, the first is {odd[0]}")
    filled = traverse_util.unflatten_dict({k: flat.get(k, v) for k, v in tree.items()})
    return serialization.from_state_dict(template, filled)


def _subtree(flat: Flat, root: str) -> dict[str, Any]:
    return traverse_util.unflatten_dict({k[1:]: v for k, v in flat.items() if k[0] == root})


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
