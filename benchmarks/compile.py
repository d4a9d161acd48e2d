"""Compile time of the training step, the resident scan and the inference graph, cold: nothing comes from a cache.

    python -m benchmarks.compile --model tscarnet --batch 16 --size 224

Each program is built in a process of its own, so that none profits from what another left in memory. `trace_s` is
Python's and JAX's part (tracing and lowering), `compile_s` the backend's; `wall_s` is the whole start of the process.
"""

import argparse
import json
import subprocess
import sys
import time
from typing import Any

from benchmarks.lib.common import arguments, finish
from benchmarks.lib.machine import Row
from benchmarks.lib.networks import CLASSES, MEAN, STD, chosen_config, model_arguments, random_variables, with_command
from jaxqc.memory import use_huge_pages

PROGRAMS = ("step", "resident", "inference")
COLUMNS = ("name", "batch", "size", "dtype", "trace_s", "compile_s", "total_s", "wall_s", "cores", "load")


def build_program(args: argparse.Namespace) -> dict[str, float]:
    """Lowers and compiles `args.only` in this process; seconds of each part."""
    import jax

    jax.config.update("jax_enable_compilation_cache", False)
    if args.only == "inference":
        import numpy as np

        from jaxqc.saliency.model import Model
        from jaxqc.saliency.networks import build

        config = chosen_config(args)
        variables = random_variables(build(config.model.name, len(CLASSES), config.model.width))
        model = Model(variables, config, {"classes": CLASSES, "mean": MEAN, "std": STD}, batch=args.batch)
        fn: Any = jax.jit(model.forward, static_argnames="size")
        images = np.zeros((args.batch, args.size, args.size, 1), np.uint8)
        lower = lambda: fn.lower(model.variables, images, size=args.size)
    else:
        import numpy as np

        from benchmarks.step import Bench
        from jaxqc.training.parallel import make_parallel
        from jaxqc.training.step import make_scan, make_step

        config = chosen_config(args, steps_per_call=32)
        parallel = make_parallel(config.backend, 1)
        bench = Bench(config, parallel, 2 * args.batch)
        if args.only == "step":
            fn, given = bench.step_call()
        else:
            step = make_step(bench.method, bench.optimizer, bench.schedule, args.size, config.optim.accumulate)
            steps = bench.resident().steps
            fn = parallel.map(make_scan(step, steps), donate=(0,))
            arrays = bench.arrays
            data = parallel.replicate({"image": arrays.images, "mask": arrays.masks, "label": arrays.labels})
            rows, count = np.zeros((1, steps, args.batch), np.int32), np.ones(1, np.int32)
            given = (bench.state(), data, parallel.put(rows), parallel.put(count), parallel.replicate(np.uint32(0)))
        lower = lambda: fn.lower(*given)
    start = time.perf_counter()
    lowered = lower()
    traced = time.perf_counter()
    lowered() if callable(lowered) else lowered.compile()  # a mapped training function knows its own options
    done = time.perf_counter()
    return {"trace_s": traced - start, "compile_s": done - traced, "total_s": done - start}


def run(args: argparse.Namespace) -> list[Row]:
    """One row a program, each from its own process."""
    import os

    rows = []
    for program in args.programs:
        command = [sys.executable, "-m", "benchmarks.compile", "--only", program, "--batch", str(args.batch)]
        command += ["--size", str(args.size), "--dtype", args.dtype, "--backend", args.backend]
        command += ["--recipe", args.recipe] if args.recipe else []
        command += ["--model", args.model] if args.model else []
        start, load = time.perf_counter(), os.getloadavg()[0]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
        seconds = json.loads(done.stdout.strip().splitlines()[-1])
        model = args.model or (args.recipe or "tscarnet")
        rows.append({"benchmark": "compile", "name": f"{model} {program}", "batch": args.batch, "size": args.size,
                     "dtype": args.dtype, "cores": len(os.sched_getaffinity(0)), "load": round(load, 2),
                     "wall_s": time.perf_counter() - start, **seconds})  # fmt: skip
    return rows


def main() -> None:
    parser = model_arguments(arguments(__doc__.splitlines()[0]), batch=16)
    parser.add_argument("--backend", choices=("pmap", "shard_map"), default="pmap")
    parser.add_argument("--programs", nargs="*", choices=PROGRAMS, default=list(PROGRAMS))
    parser.add_argument("--only", choices=PROGRAMS, default=None, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        print(json.dumps(build_program(args)))
        return
    finish(with_command(run(args)), args.json, "compile time, cold", COLUMNS)


if __name__ == "__main__":
    use_huge_pages()
    main()
