"""The fit of a Gaussian per position: time and memory, beside anomalib's and as the work grows; parts of fit.py."""

import argparse
import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.lib.common import Timing, in_turns, result
from benchmarks.lib.machine import Row, peak_memory
from benchmarks.peers.served import PeerError, Served
from jaxqc.anomaly.detectors import Gaussian
from jaxqc.anomaly.detectors.base import Layers, Shapes
from jaxqc.anomaly.ops.maps import on_finest

ROOT = Path(__file__).resolve().parents[2]
BATCH = 10
"""Images whose features are taken up at a time."""
ALL = Gaussian(channels=0)


def shapes(d: int, grid: int) -> Shapes:
    """d channels in the ratio of ResNet's layers 1 to 3, each layer at half the side of the one before: [h w c]."""
    channels = (d - 6 * (d // 7), 2 * (d // 7), 4 * (d // 7))
    return tuple((side, side, c) for side, c in zip((grid, -(-grid // 2), -(-grid // 4)), channels, strict=True))


def feature_batches(n: int, about: Shapes) -> Iterator[tuple[Layers, np.ndarray]]:
    """Random layers float32 [b h w c] and their samples' numbers, a batch at a time as a backbone gives them."""
    rng = np.random.default_rng(0)
    for start in range(0, n, BATCH):
        number = np.arange(start, min(start + BATCH, n), dtype=np.int32)
        yield tuple(rng.standard_normal((len(number), *shape), np.float32) for shape in about), number


def embedding(layers: Layers) -> np.ndarray:
    """The layers as the peer takes them: repeated over the finest grid, float32 [b P d]."""
    grid = np.asarray(on_finest(layers))
    return grid.reshape(len(grid), -1, grid.shape[-1])


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def _collect(detector: Gaussian, collected: Any, layers: Layers, number: np.ndarray) -> Any:
    return detector.collect(collected, detector.embed(layers, None), number)


def fit(batches: Any, n: int, about: Shapes, detector: Gaussian = ALL) -> Any:
    """Fits to features as `jaxqc fit` does."""
    collected = detector.begin(about, n)
    for layers, number in batches:
        collected = _collect(detector, collected, layers, number)
    return jax.block_until_ready(detector.finish(collected, about))


def fit_alone(n: int, d: int, grid: int) -> dict[str, float]:
    """One fit in a fresh process: bytes beyond what the libraries held before it, features included."""
    code = "import json; from benchmarks.lib import gaussian_fit as g; print(json.dumps(g.measured_alone({}, {}, {})))"
    line = [sys.executable, "-c", code.format(n, d, grid)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measured_alone(n: int, d: int, grid: int) -> dict[str, float]:
    jax.block_until_ready(jnp.zeros(1))
    before = peak_memory()["host_peak"] or 0
    state = fit(feature_batches(n, shapes(d, grid)), n, shapes(d, grid))
    after = peak_memory()
    held = sum(x.nbytes for x in jax.tree.leaves(state))
    return {"memory": (after["host_peak"] or 0) - before, "state": held, "device": after["device_peak"] or 0}


def fit_rows(args: argparse.Namespace, peer: Served | None, folder: Path) -> list[Row]:
    rows: list[Row] = []
    n, rate = args.samples, {}  # rate: of a position, by channels
    for d in args.channels:
        for grid in args.grids:
            batches = list(feature_batches(n, shapes(d, grid)))
            candidates: dict[str, Callable[[], Any]] = {"jaxqc": partial(fit, batches, n, shapes(d, grid))}
            needs = 4.3 * 4 * d * d * grid * grid  # its covariances, copied three times, and a solver's work space
            if peer and needs <= available_memory() / 2:
                np.save(folder / "x.npy", np.concatenate([embedding(x) for x, _ in batches]))
                peer.ask(prepare="fit", work="gaussian", n=n, d=d, grid=grid, features=str(folder / "x.npy"))
                candidates["anomalib"] = partial(peer.ask, run="fit")
            timings = in_turns(candidates, args.rounds, args.long)
            for name, timing in timings.items():
                alone = fit_alone(n, d, grid) if name == "jaxqc" else peer_alone(args, n, d, grid)
                rows.append(_fit_row(name, timing, n, d, grid, alone["memory"]))
            if "anomalib" in timings:
                rate[d] = (rows[-1]["ms"] / grid**2, rows[-1]["memory_mb"] / grid**2, grid)
                rows[-2]["distance_error"] = fit_error(peer, batches, n, d, grid, folder)
            elif peer and d in rate:
                seconds, memory, smaller = (rate[d][0] * grid**2 / 1e3, rate[d][1] * grid**2, rate[d][2])
                row = _fit_row("anomalib", Timing((seconds,), seconds), n, d, grid, memory * 1e6)
                rows.append(row | {"note": f"scaled from grid {smaller}: needs about {needs / 1e9:.0f} GB"})
            if peer and rows[-1]["name"].startswith("anomalib"):
                ours, theirs = rows[-2], rows[-1]
                ours["vs_anomalib"] = theirs["ms"] / ours["ms"]
                ours["memory_share"] = ours["memory_mb"] / theirs["memory_mb"]
    return rows


def _fit_row(name: str, timing: Timing, n: int, d: int, grid: int, memory: float) -> Row:
    more: Row = {"n": n, "d": d, "grid": grid, "memory_mb": memory / 1e6}
    if not name.startswith("anomalib"):
        more["compile_s"] = max(0.0, timing.first - timing.median)
    return result("fit", f"{name} d{d} grid {grid}", timing, images=n, **more)


def fit_error(peer: Any, batches: list[Any], n: int, d: int, grid: int, folder: Path) -> float:
    """Largest relative difference between the two sides' distances of the first two samples."""
    peer.ask(save="fit", out=str(folder / "out.npz"))
    theirs = np.load(folder / "out.npz")["distance"].reshape(2, -1)
    detector = Gaussian(channels=0, eps=0.01 + 1e-5, sigma=0)  # anomalib adds both
    state = fit(batches, n, shapes(d, grid), detector)
    ours = np.asarray(detector.score(state, tuple(x[:2] for x in batches[0][0]), grid)[0]).reshape(2, -1)
    error = float(np.max(np.abs(ours - theirs) / theirs))
    if error > 1e-2:
        raise PeerError(f"the two sides' distances differ by {error:.1%}: not the same work")
    return error


def peer_alone(args: argparse.Namespace, n: int, d: int, grid: int) -> dict[str, float]:
    with Served(args.peer_python) as alone:
        before = alone.ask(prepare="fit", work="gaussian", n=n, d=d, grid=grid)["before"]
        return {"memory": alone.ask(run="fit")["peak"] - before}


def available_memory() -> float:
    """Bytes that new processes may take without swapping; without /proc, none are promised."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        return float(next(x for x in lines if x.startswith("MemAvailable")).split()[1]) * 1024
    return 0.0


def cost_rows(args: argparse.Namespace) -> list[Row]:
    """One of samples, channels and grid varied at a time around the first of each."""
    n, d, grid = args.samples, max(args.channels), min(args.grids)
    points = [(i, d, grid) for i in args.cost_samples] + [(n, i, grid) for i in args.cost_channels]
    points += [(n, d, i) for i in args.cost_grids]
    rows = []
    for point in dict.fromkeys(points):
        about = shapes(*point[1:])
        batches = list(feature_batches(point[0], about))
        jax.clear_caches()
        timing = in_turns({"jaxqc": partial(fit, batches, point[0], about)}, min(3, args.rounds), args.long)["jaxqc"]
        alone = fit_alone(*point)
        row = _fit_row("jaxqc", timing, *point, alone["memory"])
        form = "low rank" if point[0] <= point[1] else "full rank"
        rows.append(row | {"benchmark": "fit-cost", "name": form, "state_mb": alone["state"] / 1e6})
    return rows
