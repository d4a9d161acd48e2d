"""The training step on 1..N devices: weak and strong scaling, pmap and shard_map, one and two processes.

    python -m benchmarks.scaling --devices 1 2 4 8 --mode weak strong --json rows.jsonl
    python -m benchmarks.scaling --devices 2 4 --processes 2

Weak: `--batch` images a device. Strong: `--batch` images in all. `efficiency` is images/s a device over that of one
device (the smallest count given). Where the CPU is cut into simulated devices they share the same cores, so more of
them can only cost: there `efficiency` is images/s over images/s of one device, 1 minus it is the overhead, and neither
says anything about real devices. With `--processes 2`, each process drives half the devices, joined by
`jax.distributed` on this machine.
"""

import json
import os
import socket
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.lib import common, machine
from jaxqc.config import ModelConfig, TrainConfig
from jaxqc.memory import use_huge_pages
from jaxqc.saliency.method import make_method
from jaxqc.training import state as states
from jaxqc.training.optim import make_optimizer, make_schedule
from jaxqc.training.parallel import make_parallel, start_processes
from jaxqc.training.step import make_step

_MARK = "scaling-rows "


def main() -> None:
    parser = common.arguments(str(__doc__).splitlines()[0])
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 2, 4, 8], help="devices, over all processes")
    parser.add_argument("--mode", nargs="+", choices=("weak", "strong"), default=["weak", "strong"])
    parser.add_argument("--backend", nargs="+", choices=("pmap", "shard_map"), default=["pmap"])
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--model", default="tscarnet")
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--batch", type=int, default=8, help="images: a device (weak) or in all (strong)")
    parser.add_argument("--size", type=int, default=224)
    args = parser.parse_args()
    for n in args.devices:
        if n % args.processes or ("strong" in args.mode and args.batch % n):
            parser.error(f"--devices {n}: must divide by --processes {args.processes} and into --batch {args.batch}")

    if "JAXQC_PROCESS_INDEX" in os.environ:
        _part(args)
        return
    rows = _several(args) if args.processes > 1 else _single(args)
    _efficiency(rows)
    title = f"Training step, {args.processes} process(es)"
    if rows[0]["simulated"]:
        title += f"; simulated devices on {machine.environment()['cores']} shared cores: overhead only"
    columns = ("mode", "backend", "devices", "batch", "images_per_s", "ms", "spread", "efficiency", "first_call_s")
    common.finish(rows, args.json, title, columns)


def _single(args: Namespace) -> list[common.Row]:
    """All device counts in turns, in this process."""
    if _on_cpu():
        machine.simulate_devices(max(args.devices))
    cases = [(m, b, n) for m in args.mode for b in args.backend for n in args.devices]
    steps = {case: _step(args, *case) for case in cases}
    timings = common.interleave(steps, args.rounds, args.seconds)
    return [_row(args, case, timings[case]) for case in cases]


def _several(args: Namespace) -> list[common.Row]:
    """One start of all processes a device count; the first process reports."""
    rows: list[common.Row] = []
    for n in args.devices:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{s.getsockname()[1]}"
        command = [sys.executable, "-m", "benchmarks.scaling", *_without_devices(sys.argv[1:]), "--devices", str(n)]
        env = {**os.environ, "JAXQC_COORDINATOR": address, "JAXQC_PROCESSES": str(args.processes)}
        parts = [
            subprocess.Popen(command, env={**env, "JAXQC_PROCESS_INDEX": str(i)}, stdout=subprocess.PIPE, text=True)
            for i in range(args.processes)
        ]
        outputs = [part.communicate()[0] for part in parts]
        if any(part.returncode for part in parts):
            raise SystemExit(f"--devices {n}: a process ended with {[part.returncode for part in parts]}")
        line = next(line for line in outputs[0].splitlines() if line.startswith(_MARK))
        rows += json.loads(line.removeprefix(_MARK))
    return rows


def _part(args: Namespace) -> None:
    """One process of several. All must run the same calls, so the number of calls a round is fixed, not measured."""
    if _on_cpu():
        machine.simulate_devices(args.devices[0] // args.processes)
    start_processes()
    rows = []
    for mode in args.mode:
        for backend in args.backend:
            task = common.Candidate(_step(args, mode, backend, args.devices[0]))
            first = task.run()
            task.run()
            seconds = tuple(task.run(3) / 3 for _ in range(args.rounds))
            rows.append(_row(args, (mode, backend, args.devices[0]), common.Timing(seconds, first, 3)))
    print(_MARK + json.dumps(rows), flush=True)


def _step(args: Namespace, mode: str, backend: Any, devices: int) -> Callable[[], Any]:
    """The training step over raw uint8 batches that are already on the devices; keeps its state from call to call."""
    config = TrainConfig(model=ModelConfig(args.model, args.width, args.dtype), backend=backend)
    method = make_method(config, ("In", "Pa", "Sc"), 0.44, 0.21, 0.12)
    optimizer = make_optimizer(config.optim)
    step = make_step(method, optimizer, make_schedule(config.optim, 1000, 10), args.size)
    parallel = make_parallel(backend, devices // args.processes)
    call = parallel.map(lambda state, batch, seed: step(state, batch, jax.random.key(seed)), donate=(0,))
    fresh = jax.device_get(jax.jit(lambda key: states.create(method, optimizer, key))(jax.random.key(0)))
    held = parallel.replicate(fresh)
    rng = np.random.default_rng(0)
    b, s = (args.batch * devices if mode == "weak" else args.batch) // args.processes, args.size
    batch = {
        "image": rng.integers(0, 256, (b, s, s, 1), np.uint8),
        "mask": (rng.random((b, s, s)) < 0.12).astype(np.uint8),
        "label": rng.integers(0, 3, b).astype(np.int32),
        "weight": np.ones(b, np.float32),
    }
    batch, seed = parallel.shard(batch), parallel.replicate(np.uint32(0))

    def run() -> Any:
        nonlocal held
        held, logs = call(held, batch, seed)
        return logs

    return run


def _row(args: Namespace, case: tuple[str, str, int], timing: common.Timing) -> common.Row:
    mode, backend, devices = case
    batch = args.batch * devices if mode == "weak" else args.batch
    more = {"mode": mode, "backend": backend, "processes": args.processes, "batch": batch, "size": args.size}
    row = common.result("scaling", args.model, timing, images=batch, dtype=args.dtype, width=args.width, **more)
    return {**row, "devices": devices, "simulated": jax.devices()[0].platform == "cpu"}


def _efficiency(rows: list[common.Row]) -> None:
    """Adds each row's efficiency against the smallest device count of its mode and backend."""
    for row in rows:
        peers = [r for r in rows if (r["mode"], r["backend"]) == (row["mode"], row["backend"])]
        base = min(peers, key=lambda r: r["devices"])
        ratio = row["images_per_s"] / base["images_per_s"]
        row["efficiency"] = ratio if row["simulated"] else ratio * base["devices"] / row["devices"]


def _on_cpu() -> bool:
    """True where JAX will use the CPU, found without starting it: devices can be simulated only before that."""
    named = os.environ.get("JAX_PLATFORMS", "")
    return named == "cpu" or (not named and not any(Path("/dev").glob("nvidia[0-9]*")))


def _without_devices(argv: list[str]) -> list[str]:
    """The arguments less `--devices 1 2 4`."""
    if "--devices" not in argv:
        return argv
    start = argv.index("--devices")
    stop = next((i for i in range(start + 1, len(argv)) if argv[i].startswith("--")), len(argv))
    return argv[:start] + argv[stop:]


if __name__ == "__main__":
    use_huge_pages()
    main()
