"""A server under load on loopback, beside `jaxqc inspect` on the same files and model, in one run.

    python -m benchmarks.serve --checkpoint runs/first --images 400 --side 256 --json build/bench/serve.jsonl

`inspect` is the whole of `jaxqc inspect` with one picture a lot. `closed` is the server with `--clients` clients, each
of which sends its next image when it has its answer. `open` sends at half of that rate, at random times, whatever comes
back. Every image is new to the ledger. Times are those of a client, from sending to the whole answer.
"""

import argparse
import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jaxqc.data.synthetic.plates import synthetic_arrays

Row = dict[str, Any]


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--images", type=int, default=400, help="of each part")
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--json", metavar="FILE")
    return parser.parse_args(argv)


def files(count: int, side: int, seed: int) -> list[bytes]:
    """PNG files of plates, all different."""
    found = []
    for image in synthetic_arrays(count, side, seed=seed).images:
        out = io.BytesIO()
        Image.fromarray(np.squeeze(image)).save(out, "PNG", compress_level=1)
        found.append(out.getvalue())
    return found


def start(checkpoint: str, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "jaxqc", "serve", "--checkpoint", checkpoint, "--quiet", *more]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


async def load(address: str, data: list[bytes], clients: int, rate: float = 0.0) -> tuple[float, list[float], int]:
    """Seconds, each answer's seconds, and failures. rate: images a second at random times; 0 = as answers come."""
    import httpx

    times, failed = list[float](), 0
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=address, timeout=120, trust_env=False, limits=limits) as client:

        async def send(one: bytes) -> None:
            nonlocal failed
            begin = time.perf_counter()
            answer = await client.post("/v1/inspect", content=one, headers={"Content-Type": "image/png"})
            times.append(time.perf_counter() - begin)
            failed += answer.status_code != 200

        async def work(rest: list[bytes]) -> None:
            while rest:
                await send(rest.pop())

        begin = time.perf_counter()
        if rate:
            rng, tasks = np.random.default_rng(0), []
            for one in data:
                tasks.append(asyncio.create_task(send(one)))
                await asyncio.sleep(rng.exponential(1 / rate))
            await asyncio.gather(*tasks)
        else:
            rest = list(data)
            await asyncio.gather(*(work(rest) for _ in range(clients)))
        return time.perf_counter() - begin, times, failed


def row(name: str, count: int, seconds: float, times: list[float], failed: int) -> Row:
    p50, p95, p99 = (round(1000 * float(np.percentile(times, p)), 1) for p in (50, 95, 99)) if times else (0.0,) * 3
    return {"name": name, "images_per_s": round(count / seconds, 1), "p50_ms": p50, "p95_ms": p95, "p99_ms": p99,
            "failed": failed}  # fmt: skip


def run(args: argparse.Namespace) -> list[Row]:
    """The rows: inspect, closed, open."""
    import httpx

    rows = []
    with tempfile.TemporaryDirectory(prefix="jaxqc-bench-") as folder:
        root = Path(folder)
        process = start(args.checkpoint, "--ledger", str(root / "quality.sqlite"), "--port", "0", "--max-batch",
                        str(args.batch), "--image-size", f"{args.side}x{args.side}")  # fmt: skip
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            while httpx.get(f"{address}/readyz", trust_env=False).status_code != 200:
                time.sleep(0.1)
            closed = asyncio.run(load(address, files(args.images, args.side, 2), args.clients))
            rows.append(row("closed", args.images, *closed))
            rate = rows[-1]["images_per_s"] / 2
            rows.append(
                row("open", args.images, *asyncio.run(load(address, files(args.images, args.side, 3), 0, rate)))
            )
            text = httpx.get(f"{address}/metrics", trust_env=False).text
            value = lambda name: next(float(x.split()[-1]) for x in text.splitlines() if x.startswith(name))
            batch = value("jaxqc_batch_seconds_sum") / value("jaxqc_batch_seconds_count")
            rows[-1]["batch_ms"] = round(1000 * batch, 1)
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=120)
    return [
        {**one, "side": args.side, "batch": args.batch, "cores": os.cpu_count()} for one in [inspected(args), *rows]
    ]


def inspected(args: argparse.Namespace) -> Row:
    """`jaxqc inspect` in this process, the model loaded and its program compiled before."""
    import jaxqc
    from jaxqc.inspection.inspect import inspect

    with tempfile.TemporaryDirectory(prefix="jaxqc-bench-") as folder:
        root = Path(folder)
        for name, seed in (("warm", 4), ("images", 5)):
            (root / name).mkdir()
            for i, data in enumerate(files(args.batch if name == "warm" else args.images, args.side, seed)):
                (root / name / f"{i}.png").write_bytes(data)
        model = jaxqc.load(args.checkpoint, batch=args.batch)
        inspect(model, root / "warm", root / "first", progress=False, worst=1)
        found = inspect(model, root / "images", root / "second", progress=False, worst=1)
        return {"name": "inspect", "images_per_s": round(found.images_per_second, 1)}


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    for one in run(args):
        print(json.dumps(one), flush=True)
        if args.json:
            Path(args.json).parent.mkdir(parents=True, exist_ok=True)
            with open(args.json, "a", encoding="utf-8") as out:
                out.write(json.dumps(one) + "\n")


if __name__ == "__main__":
    main()
