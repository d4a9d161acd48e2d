"""Fitting and scoring of detectors as the work grows, beside anomalib where its interpreter is given.

    python -m benchmarks.fit --peer-python /path/to/anomalib-env/bin/python --json build/bench/fit.jsonl
    python -m benchmarks.fit --part cost          # time and memory against samples, channels and grid; no peer

`fit`: features at hand → a Gaussian per position, at several channel counts and grids: seconds, compile time apart, and
the memory that the fit takes beyond its libraries, each measured in a process of its own. `score`: ours at 550 channels
beside PaDiM at `--peer-channels`, the backbone included and each part alone. `coreset`: PatchCore's greedy choice.
Both sides get equal features; distances and covering radius are compared, so that equal work is timed.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.backbone import folded_variables
from benchmarks.common import Candidate, Row, Timing, arguments, finish, interleave, peak_memory, result
from benchmarks.networks import with_command
from benchmarks.peers.served import PeerError, Served
from jaxqc.anomaly import gaussian
from jaxqc.anomaly.coreset import greedy_coreset, project
from jaxqc.anomaly.detectors import Gaussian
from jaxqc.anomaly.features import apply_function
from jaxqc.anomaly.recipe import BackboneConfig

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("fit", "score", "coreset", "cost")
COLUMNS = {
    "fit": ("name", "n", "ms", "spread", "compile_s", "memory_mb", "vs_anomalib", "memory_share", "note"),
    "score": ("name", "d", "batch", "images_per_s", "ms", "spread", "compile_s", "vs_anomalib"),
    "coreset": ("name", "n", "width", "kept", "ms", "spread", "compile_s", "vs_anomalib", "note"),
    "fit-cost": ("name", "n", "d", "grid", "ms", "spread", "compile_s", "memory_mb", "state_mb"),
}
BATCH = 10
"""Images whose features are taken up at a time."""


def feature_batches(n: int, d: int, grid: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Random features float32 [b P d] and their samples' numbers, a batch at a time as a backbone gives them."""
    rng = np.random.default_rng(0)
    for start in range(0, n, BATCH):
        number = np.arange(start, min(start + BATCH, n), dtype=np.int32)
        yield rng.standard_normal((len(number), grid * grid, d), np.float32), number


_collect: Any = jax.jit(gaussian.collect, donate_argnums=0)


def fit(batches: Any, n: int, d: int, grid: int, eps: float = 0.01) -> gaussian.Gaussian:
    """What `jaxqc fit` does with features."""
    collected = gaussian.empty(grid * grid, d, n)
    for features, number in batches:
        collected = _collect(collected, features, number)
    return jax.block_until_ready(gaussian.finish(collected, eps))


def fit_alone(n: int, d: int, grid: int) -> dict[str, float]:
    """One fit in a fresh process: bytes beyond what the libraries held before it, features included."""
    code = "import json; from benchmarks import fit; print(json.dumps(fit.measured_alone({}, {}, {})))"
    line = [sys.executable, "-c", code.format(n, d, grid)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measured_alone(n: int, d: int, grid: int) -> dict[str, float]:
    jax.block_until_ready(jnp.zeros(1))
    before = peak_memory()["host_peak"] or 0
    state = fit(feature_batches(n, d, grid), n, d, grid)
    after = peak_memory()
    held = sum(x.nbytes for x in jax.tree.leaves(state))
    return {"memory": (after["host_peak"] or 0) - before, "state": held, "device": after["device_peak"] or 0}


def in_turns(candidates: dict[str, Callable[[], Any]], rounds: int, long: float) -> dict[str, Timing]:
    """`interleave` for work of seconds: each call is a round. A candidate whose first call takes more than `long`
    seconds is not called again; that call then counts."""
    first: dict[str, float] = {}
    for name, call in candidates.items():
        first[name] = Candidate(call).run()
    again = {name: call for name, call in candidates.items() if first[name] <= long}
    timings = interleave(again, rounds, 0.0, 1) if again else {}
    return {
        name: Timing(timings[name].seconds, first[name]) if name in timings else Timing((first[name],), first[name])
        for name in candidates
    }


def fit_rows(args: argparse.Namespace, peer: Served | None, folder: Path) -> list[Row]:
    rows: list[Row] = []
    n, rate = args.samples, {}  # rate: of a position, by channels
    for d in args.channels:
        for grid in args.grids:
            batches = list(feature_batches(n, d, grid))
            candidates: dict[str, Callable[[], Any]] = {"jaxqc": partial(fit, batches, n, d, grid)}
            needs = 4.3 * 4 * d * d * grid * grid  # its covariances, copied three times, and a solver's work space
            if peer and needs <= available_memory() / 2:
                np.save(folder / "x.npy", np.concatenate([x for x, _ in batches]))
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
    state = fit(batches, n, d, grid, eps=0.01 + 1e-5)  # anomalib adds both
    ours = np.asarray(gaussian.distance(state, jnp.asarray(batches[0][0][:2])))
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


def score_rows(args: argparse.Namespace, peer: Served | None) -> list[Row]:
    config, d, size, b = BackboneConfig(args.backbone), max(args.channels), args.size, args.batch
    variables = jax.tree.map(jnp.asarray, folded_variables(args.backbone))
    apply = apply_function(config)
    images = jnp.asarray(np.random.default_rng(1).integers(0, 256, (b, size, size, 3), dtype=np.uint8))
    detector = Gaussian(channels=d)
    layers = jax.jit(apply)(variables, images)
    grid = layers[0].shape[1]
    state = fit(feature_batches(args.samples, d, grid), args.samples, d, grid)
    calls: dict[str, Any] = {
        "whole": (lambda state, v, x: detector.score(state, apply(v, x), size), (state, variables, images)),
        "backbone": (apply, (variables, images)),
        "score": (lambda state, layers: detector.score(state, layers, size), (state, layers)),
    }
    rows: list[Row] = []
    for part, (fn, inputs) in calls.items():
        candidates: dict[str, Any] = {f"jaxqc {part}": partial(jax.jit(fn), *inputs)}
        for last in ((False, True) if part == "whole" else (False,)) if peer else ():
            name = f"anomalib {part}{' channels_last' if last else ''}"
            about = {"backbone": args.backbone, "d": args.peer_channels, "size": size, "batch": b}
            assert peer is not None
            peer.ask(prepare=name, work="padim", part=part, channels_last=last, **about)
            candidates[name] = partial(peer.ask, run=name)
        timings = in_turns(candidates, args.rounds, args.long)
        own = [
            result("score", name, t, images=b, d=d if i == 0 else args.peer_channels, batch=b, size=size)
            for i, (name, t) in enumerate(timings.items())
        ]
        own[0]["compile_s"] = own[0]["first_call_s"] - own[0]["ms"] / 1e3
        if len(own) > 1:
            own[0]["vs_anomalib"] = own[0]["images_per_s"] / max(row["images_per_s"] for row in own[1:])
        rows += own
    return rows


def patches(n: int, width: int) -> np.ndarray:
    """Rows with the structure of patch features: clumps of differing spread within a few dozen directions."""
    rng = np.random.default_rng(2)
    clump = rng.integers(0, 40, n)
    inner = 3 * rng.standard_normal((40, 24))[clump] + rng.gamma(2, 1, (n, 1)) * rng.standard_normal((n, 24))
    outer = inner @ rng.standard_normal((24, width)) / 5
    return (outer + 0.1 * rng.standard_normal((n, width))).astype(np.float32)


def radius(x: np.ndarray, chosen: np.ndarray) -> float:
    """The largest distance from a row to its nearest chosen one: what a coreset makes small."""
    from jaxqc.anomaly.neighbours import nearest

    return float(nearest(jnp.asarray(x), jnp.asarray(x[chosen]))[0].max())


def coreset_rows(args: argparse.Namespace, peer: Served | None, folder: Path) -> list[Row]:
    n, kept = args.samples * min(args.grids) ** 2, args.kept
    x = patches(n, args.width)
    if args.patch_file:
        x = np.load(args.patch_file)
        n = len(x)
    count, device = max(1, int(kept * n)), jnp.asarray(x)

    def ours(width: int) -> jax.Array:
        return greedy_coreset(project(jax.random.key(0), device, width), count, 0)

    candidates: dict[str, Callable[[], Any]] = {"jaxqc": lambda: ours(128)}
    if peer:
        np.save(folder / "patches.npy", x)
        peer.ask(prepare="coreset", work="coreset", features=str(folder / "patches.npy"), ratio=kept)
        candidates["anomalib"] = partial(peer.ask, run="coreset")
        theirs_width = int(4 * np.log(n) / (0.9**2 / 2 - 0.9**3 / 3))  # its eps .9, Johnson and Lindenstrauss
        candidates["jaxqc, anomalib's width"] = lambda: ours(theirs_width)
    timings = in_turns(candidates, args.rounds, args.long)
    rows = [result("coreset", name, t, images=args.samples, n=n, width=128, kept=count) for name, t in timings.items()]
    for row in rows:
        if row["name"] == "anomalib":
            assert peer is not None
            peer.ask(save="coreset", out=str(folder / "chosen.npz"))
            out = np.load(folder / "chosen.npz")
            row |= {"width": int(out["width"]), "radius": radius(x, out["index"])}
        else:
            row["width"] = 128 if row["name"] == "jaxqc" else theirs_width
            row |= {
                "compile_s": row["first_call_s"] - row["ms"] / 1e3,
                "radius": radius(x, np.asarray(ours(row["width"]))),
            }
    theirs = [row["ms"] for row in rows if row["name"] == "anomalib"]
    for row in rows:
        if theirs and row["name"] != "anomalib":
            row["vs_anomalib"] = theirs[0] / row["ms"]
    return rows


def cost_rows(args: argparse.Namespace) -> list[Row]:
    """One of samples, channels and grid varied at a time around the first of each."""
    n, d, grid = args.samples, max(args.channels), min(args.grids)
    points = [(i, d, grid) for i in args.cost_samples] + [(n, i, grid) for i in args.cost_channels]
    points += [(n, d, i) for i in args.cost_grids]
    rows = []
    for point in dict.fromkeys(points):
        batches = list(feature_batches(*point))
        jax.clear_caches()
        timing = in_turns({"jaxqc": partial(fit, batches, *point)}, min(3, args.rounds), args.long)["jaxqc"]
        alone = fit_alone(*point)
        row = _fit_row("jaxqc", timing, *point, alone["memory"])
        form = "low rank" if point[0] <= point[1] else "full rank"
        rows.append(row | {"benchmark": "fit-cost", "name": form, "state_mb": alone["state"] / 1e6})
    return rows


def run(args: argparse.Namespace) -> dict[str, list[Row]]:
    """Rows by benchmark. Without a peer, or where it cannot start, ours alone are measured and a line says so."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder, peer = Path(name), None
        if args.peer_python:
            try:
                peer = stack.enter_context(Served(args.peer_python))
            except PeerError as e:
                print(f"anomalib is left out: {e}")
        else:
            print("anomalib is left out: no --peer-python")
        work: dict[str, Callable[[], list[Row]]] = {
            "fit": lambda: fit_rows(args, peer, folder),
            "score": lambda: score_rows(args, peer),
            "coreset": lambda: coreset_rows(args, peer, folder),
            "cost": lambda: cost_rows(args),
        }
        out: dict[str, list[Row]] = {}
        for part in args.part:
            start = time.perf_counter()
            rows = [row | ({"peer": peer.versions} if peer else {}) for row in work[part]()]
            print(f"{part}: {time.perf_counter() - start:.0f} s", flush=True)
            out[rows[0]["benchmark"]] = rows
    return out


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--peer-python", default=None, help="interpreter of an environment that has anomalib")
    parser.add_argument("--samples", type=int, default=50, help="images fitted")
    parser.add_argument("--channels", type=int, nargs="+", default=[100, 550])
    parser.add_argument("--grids", type=int, nargs="+", default=[28, 56], help="sides of the grid of positions")
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--peer-channels", type=int, default=100, help="channels of PaDiM in `score`")
    parser.add_argument("--kept", type=float, default=0.1, help="share of the patches in the coreset")
    parser.add_argument("--width", type=int, default=1024, help="channels of a patch")
    parser.add_argument("--patch-file", type=Path, default=None, help=".npy [n d] of real patches for the coreset")
    parser.add_argument("--long", type=float, default=20.0, help="seconds above which work is not repeated")
    parser.add_argument("--cost-samples", type=int, nargs="+", default=[5, 20, 50, 100, 200])
    parser.add_argument("--cost-channels", type=int, nargs="+", default=[50, 100, 250, 550])
    parser.add_argument("--cost-grids", type=int, nargs="+", default=[14, 28, 56])
    return parser.parse_args(words)


def main() -> None:
    args = parse()
    for benchmark, rows in run(args).items():
        finish(with_command(rows), args.json, benchmark, COLUMNS[benchmark])


if __name__ == "__main__":
    main()
