"""Parts that every benchmark shares: interleaved timing, measured ceilings, FLOPs, and the rows it prints and keeps.

Rules that the helpers keep so that two figures may be compared: candidates of one run are timed in turns (round by
round, in rotating order), so that a noisy minute hits all of them; the first call, which compiles, is kept apart;
a call ends when its results are ready; the figure is the median over rounds and its spread stands beside it.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.lib.machine import Row, environment, peak_memory


@dataclass(frozen=True)
class Timing:
    """Seconds a call: one value a round (each the mean over `calls` calls), and the very first call apart."""

    seconds: tuple[float, ...]
    first: float
    calls: int = 1

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Interquartile range of the rounds as a share of the median."""
        low, high = np.percentile(self.seconds, (25, 75))
        return float(high - low) / self.median


@dataclass(frozen=True)
class Candidate:
    """Something to time. `call` returns what must be ready at the end; `sync` waits for work that the result does not
    show (`torch.cuda.synchronize`)."""

    call: Callable[[], Any]
    sync: Callable[[], Any] | None = None

    def run(self, calls: int = 1) -> float:
        """Seconds for that many calls, dispatched in a row and waited for at the end."""
        start = time.perf_counter()
        result = None
        for _ in range(calls):
            result = self.call()
        jax.block_until_ready(result)
        if self.sync is not None:
            self.sync()
        return time.perf_counter() - start


def interleave(
    candidates: Mapping[str, Candidate | Callable[[], Any]],
    rounds: int = 7,
    seconds: float = 0.3,
    warmup: int = 2,
    settle: bool = True,
) -> dict[str, Timing]:
    """Times the candidates in turns: `rounds` rounds, each of about `seconds` a candidate and in an order of its own.
    In one order for all rounds each would always follow the same other one, and bear what that leaves behind.

    settle: whether a turn begins with a call that is not timed. The candidate before has taken caches and memory: a
    step that needs 3 GB took half as long again in its first call after another's, which no training run pays.
    A training step that donates its state fits in as a closure that keeps the newest state.
    """
    tasks = {name: c if isinstance(c, Candidate) else Candidate(c) for name, c in candidates.items()}
    first = {name: task.run() for name, task in tasks.items()}
    calls = {}
    for name, task in tasks.items():
        once = min(task.run() for _ in range(max(1, warmup)))
        calls[name] = max(1, round(seconds / max(once, 1e-7)))
    measured: dict[str, list[float]] = {name: [] for name in tasks}
    names = list(tasks)
    order = np.random.default_rng(0)
    for _ in range(rounds):
        for name in order.permutation(names).tolist():
            if settle:
                tasks[name].run()
            measured[name].append(tasks[name].run(calls[name]) / calls[name])
    return {name: Timing(tuple(measured[name]), first[name], calls[name]) for name in names}


def in_turns(candidates: dict[str, Callable[[], Any]], rounds: int, long: float) -> dict[str, Timing]:
    """`interleave` for work of seconds that is done once and not in a row: each call is a round. A candidate whose
    first call takes more than `long` seconds is not called again; that call then counts."""
    first: dict[str, float] = {}
    for name, call in candidates.items():
        first[name] = Candidate(call).run()
    again = {name: call for name, call in candidates.items() if first[name] <= long}
    timings = interleave(again, rounds, 0.0, 1, settle=False) if again else {}
    return {
        name: Timing(timings[name].seconds, first[name]) if name in timings else Timing((first[name],), first[name])
        for name in candidates
    }


def compile_timed(fn: Callable[..., Any], *args: Any) -> tuple[Any, float]:
    """Compiles ahead of time: the executable and the seconds it took to trace, lower and compile."""
    start = time.perf_counter()
    own: Any = getattr(fn, "compile", None)  # a mapped training function knows its own options
    compiled = own(*args) if own else _jitted(fn).lower(*args).compile()
    return compiled, time.perf_counter() - start


def ceilings(dtype: Any = jnp.float32, rounds: int = 5) -> dict[str, float]:
    """Measured speed of one device of this machine: `matmul_flops` (FLOP/s of a square product of `dtype`, summed in
    float32) and `copy_bytes` (bytes read plus written a second). The best round counts: it is a ceiling."""
    small = jax.default_backend() == "cpu"
    n = 1536 if small else 8192
    a = jnp.full((n, n), 0.5, dtype)
    product = jax.jit(lambda x: jax.lax.dot(x, x, preferred_element_type=jnp.float32))
    held = [jnp.zeros((32 << 20 if small else 512 << 20,), jnp.float32)]
    shift = jax.jit(lambda x: x + 1, donate_argnums=0)  # in place: fresh pages would measure the kernel's page faults

    def copy() -> jax.Array:
        held[0] = shift(held[0])
        return held[0]

    timing = interleave({"matmul": lambda: product(a), "copy": copy}, rounds, 0.15)
    return {
        "matmul_flops": 2 * n**3 / min(timing["matmul"].seconds),
        "copy_bytes": 2 * held[0].nbytes / min(timing["copy"].seconds),
    }


def result(
    benchmark: str,
    name: str,
    timing: Timing,
    *,
    images: int,
    flops: float | None = None,
    ceiling: Mapping[str, float] | None = None,
    devices: int = 1,
    **more: Any,
) -> Row:
    """One row: `images` and `flops` are a call's; `ceiling` (of one device) turns FLOPs into the share reached (MFU).
    `more` is what names the candidate: batch, dtype, backend, ..."""
    row: Row = {
        "benchmark": benchmark,
        "name": name,
        **more,
        "images_per_s": images / timing.median,
        "ms": timing.median * 1e3,
        "spread": timing.spread,
        "rounds": len(timing.seconds),
        "first_call_s": timing.first,
    }
    if flops is not None:
        row["model_gflops"] = flops / 1e9
        if ceiling is not None:
            row["mfu"] = flops / timing.median / (ceiling["matmul_flops"] * devices)
            row["ceiling_gflops"] = ceiling["matmul_flops"] * devices / 1e9
    return row


def finish(rows: Sequence[Row], path: str | Path | None, title: str, columns: Iterable[str] = ()) -> None:
    """Prints the table and, with a path, appends one JSON line a row, each with the environment and peak memory."""
    table(title, rows, columns)
    if path is None:
        return
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    around = {**environment(), **peak_memory()}
    with path.open("a") as f:
        for row in rows:
            f.write(json.dumps({**around, **row}) + "\n")


def table(title: str, rows: Sequence[Row], columns: Iterable[str] = ()) -> None:
    """Prints rows as a rich table; without `columns`, every key whose value is a scalar, in order of appearance."""
    from rich.console import Console
    from rich.table import Table

    columns = list(columns) or list(
        dict.fromkeys(k for row in rows for k, v in row.items() if not isinstance(v, dict | list))
    )
    out = Table(title=title)
    for column in columns:
        numeric = any(isinstance(row.get(column), int | float) for row in rows)
        out.add_column(column, justify="right" if numeric else "left")
    for row in rows:
        out.add_row(*(_cell(row.get(column)) for column in columns))
    width = None if sys.stdout.isatty() else 160
    Console(width=width).print(out)


def arguments(description: str) -> argparse.ArgumentParser:
    """A parser with the flags that all programs share: `--rounds`, `--seconds`, `--json`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="interleaved rounds; the median counts")
    parser.add_argument("--seconds", type=float, default=0.3, help="length of one candidate's part of a round")
    parser.add_argument("--json", type=Path, default=None, help="file to which one JSON line a row is appended")
    return parser


def _jitted(fn: Callable[..., Any]) -> Any:
    return fn if hasattr(fn, "lower") else jax.jit(fn)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)
