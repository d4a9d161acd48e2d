"""Spreading a per-device function over devices: `jax.pmap` or `jax.shard_map`, replicas, shards, several processes.

Every array that a mapped function takes or gives has a leading device axis `[d, ...]`, sharded one row a device; the
function itself sees `[...]`. Both backends share this convention, so a state made by one is good for the other. With
several processes, `d` counts all devices of all of them, and each process holds the rows of its own.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxqc.errors import UserError
from jaxqc.training.compiled import compiled_for
from jaxqc.types import AXIS


@dataclass(frozen=True)
class Parallel:
    """The devices of a run, and the way functions are mapped over them."""

    backend: Literal["pmap", "shard_map"]
    devices: tuple[Any, ...]
    """All processes' `jax.Device`s; those of one process are neighbours."""

    @property
    def count(self) -> int:
        """Devices over all processes."""
        return len(self.devices)

    @property
    def local(self) -> tuple[Any, ...]:
        """This process's devices."""
        me = jax.process_index()
        return tuple(d for d in self.devices if d.process_index == me)

    @property
    def rows(self) -> slice:
        """Place of this process's devices in the device axis."""
        mine = [i for i, d in enumerate(self.devices) if d.process_index == jax.process_index()]
        return slice(mine[0], mine[-1] + 1)

    @property
    def sharding(self) -> NamedSharding:
        """One row of the leading axis a device."""
        return NamedSharding(Mesh(np.asarray(self.devices), (AXIS,)), PartitionSpec(AXIS))

    def map(self, fn: Callable[..., Any], donate: tuple[int, ...] = ()) -> Callable[..., Any]:
        """Compiles `fn` to run once a device, with the axis name `AXIS`; `donate` names arguments whose buffers it may
        reuse for its results."""
        if self.backend == "pmap":
            pmapped = jax.pmap(fn, axis_name=AXIS, devices=list(self.devices), donate_argnums=donate)
            return compiled_for(self.devices[0].platform, pmapped)

        def on_rows(*args: Any) -> Any:
            out = fn(*jax.tree.map(lambda x: x.reshape(x.shape[1:]), args))
            return jax.tree.map(lambda x: x.reshape(1, *x.shape), out)

        spec = PartitionSpec(AXIS)
        # check_vma=False gives psum the transpose that pmap gives it, on which batch norm's gradient relies.
        mapped = jax.shard_map(on_rows, mesh=self.sharding.mesh, in_specs=spec, out_specs=spec, check_vma=False)
        return compiled_for(self.devices[0].platform, jax.jit(mapped, donate_argnums=donate))

    def put(self, tree: Any) -> Any:
        """Host arrays `[local devices, ...]` → device arrays, one explicit transfer each."""
        if jax.process_count() == 1:
            return jax.device_put(tree, self.sharding)
        return jax.tree.map(lambda x: self._assemble([x[i : i + 1] for i in range(len(self.local))]), tree)

    def replicate(self, tree: Any) -> Any:
        """Host arrays `[...]`, the same in every process → `[d, ...]`, a copy on each device."""
        return jax.tree.map(lambda x: self._assemble([np.asarray(x)[None]] * len(self.local)), tree)

    def _assemble(self, rows: list[np.ndarray]) -> jax.Array:
        pieces = [jax.device_put(row, d) for row, d in zip(rows, self.local, strict=True)]
        return jax.make_array_from_single_device_arrays((self.count, *rows[0].shape[1:]), self.sharding, pieces)

    def shard(self, tree: Any) -> Any:
        """This process's part of a batch, host arrays `[b, ...]` → device arrays `[d, b/d, ...]`."""
        n = len(self.local)
        return self.put(jax.tree.map(lambda x: np.asarray(x).reshape(n, -1, *np.shape(x)[1:]), tree))

    def unreplicate(self, tree: Any) -> Any:
        """Device arrays `[d, ...]` → the first local replica's value as host arrays `[...]` (an explicit copy)."""
        # Reading one shard's buffer needs no computation; x[0] would compile and run a gather.
        first = jax.tree.map(lambda x: x.addressable_shards[0].data, tree)
        return jax.tree.map(lambda x: np.array(x).reshape(x.shape[1:]), jax.device_get(first))


def first_devices(devices: int, process: int | None = None, name: str = "devices") -> list[Any]:
    """The first so many devices of a process, or of this one; 0 = all of them. name: of the setting, for the message.

    Raises:
      UserError: more than there are.

    Examples:
      >>> len(first_devices(1))
      1
    """
    local = jax.local_devices(process)
    if not 0 <= devices <= len(local):
        raise UserError(f"{name}: {devices} asked for, {len(local)} there; 0 takes all")
    return local[: devices or len(local)]


def make_parallel(backend: Literal["pmap", "shard_map"] = "pmap", devices: int = 0) -> Parallel:
    """Takes the first `devices` devices of every process (0 = all).

    Raises:
      UserError: an unknown backend, or more devices asked for than there are.
    """
    if backend not in ("pmap", "shard_map"):
        raise UserError(f"backend: {backend!r} is neither 'pmap' nor 'shard_map'")
    chosen = (device for process in range(jax.process_count()) for device in first_devices(devices, process))
    return Parallel(backend, tuple(chosen))


def start_processes(coordinator: str | None = None, processes: int | None = None, index: int | None = None) -> None:
    """Joins this process to the others of a multi-process run; a single process need not call it.

    Explicit arguments come first, then `JAXQC_COORDINATOR` (host:port), `JAXQC_PROCESSES` and `JAXQC_PROCESS_INDEX`,
    then a SLURM step of several tasks, which JAX reads itself. With none of them nothing happens. Must run before the
    first use of a device.

    Raises:
      UserError: some but not all of the three are given.
    """
    env = os.environ
    coordinator = coordinator or env.get("JAXQC_COORDINATOR")
    processes = processes if processes is not None else _int_or_none("JAXQC_PROCESSES")
    index = index if index is not None else _int_or_none("JAXQC_PROCESS_INDEX")
    given = [coordinator is not None, processes is not None, index is not None]
    if all(given):
        jax.distributed.initialize(coordinator, processes, index)
    elif any(given):
        raise UserError("multi-process start: coordinator address, number of processes and process index go together")
    elif int(env.get("SLURM_NTASKS", "1")) > 1 and "SLURM_PROCID" in env:
        jax.distributed.initialize()


def _int_or_none(name: str) -> int | None:
    value = os.environ.get(name)
    if value is None:
        return None
    try:
        return int(value)
    except ValueError as e:
        raise UserError(f"{name}: {value!r} is not a whole number") from e
