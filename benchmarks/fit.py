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
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.lib.common import arguments, finish
from benchmarks.lib.coreset import coreset_rows
from benchmarks.lib.gaussian_fit import cost_rows, fit_rows
from benchmarks.lib.machine import Row
from benchmarks.lib.networks import with_command
from benchmarks.lib.scoring import score_rows
from benchmarks.peers.served import PeerError, Served
from jaxqc.memory import use_huge_pages

PARTS = ("fit", "score", "coreset", "cost")
COLUMNS = {
    "fit": ("name", "n", "ms", "spread", "compile_s", "memory_mb", "vs_anomalib", "memory_share", "note"),
    "score": ("name", "d", "batch", "images_per_s", "ms", "spread", "compile_s", "vs_anomalib"),
    "coreset": ("name", "n", "width", "kept", "ms", "spread", "compile_s", "vs_anomalib", "note"),
    "fit-cost": ("name", "n", "d", "grid", "ms", "spread", "compile_s", "memory_mb", "state_mb"),
}


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
    use_huge_pages()
    main()
