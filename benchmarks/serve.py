"""A server under load on loopback, beside `jaxqc inspect` on the same files and model, and beside peers, in one run.

    python -m benchmarks.serve --checkpoint runs/first --images 400 --side 256 --json build/bench/serve.jsonl
    python -m benchmarks.serve --checkpoint runs/minet --peer-python PATH

`inspect` is the whole of `jaxqc inspect` with one picture a lot. `closed` is the server with `--clients` clients, each
of which sends its next image when it has its answer. `open` sends at half of that rate, at random times, whatever comes
back. Every image is new to the ledger. Times are those of a client, from sending to the whole answer; `STAGE_p99` those
of the server's stages, as its answers have them.

With `--peer-python` a peer stands beside them under the same loads, with as many threads as there are cores and with
one: for a network LitServe with the same weights in PyTorch, for a fit of STFPM on layers 1 and 2 of ResNet-18
anomalib's inferencer for such a one behind FastAPI. Peers answer with a score; they keep no picture, find no defects
and have no ledger. The interpreter needs torch and litserve, or fastapi, uvicorn and anomalib.
"""

import argparse
import asyncio
import base64
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jaxqc.data.synthetic.plates import synthetic_arrays

Row = dict[str, Any]
DRAWN = 64


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--images", type=int, default=400, help="of each part")
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--threshold", type=float, default=None, help="of the network's map, as of jaxqc inspect")
    parser.add_argument("--peer-python", metavar="PATH", help="interpreter that has litserve, and anomalib")
    parser.add_argument("--json", metavar="FILE")
    return parser.parse_args(argv)


@lru_cache
def files(count: int, side: int, seed: int) -> list[bytes]:
    """PNG files of plates, all different: of `DRAWN` plates each is there shifted, too."""
    found, drawn = [], synthetic_arrays(min(count, DRAWN), side, seed=seed).images
    for i in range(count):
        image = np.roll(drawn[i % len(drawn)], i // len(drawn), 1)
        out = io.BytesIO()
        Image.fromarray(np.squeeze(image)).save(out, "PNG", compress_level=1)
        found.append(out.getvalue())
    return found


def start(checkpoint: str, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "jaxqc", "serve", "--checkpoint", checkpoint, "--quiet", *more]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


class Answers:
    """Times of a load's answers, and failures."""

    def __init__(self) -> None:
        self.times, self.failed, self.seconds = list[float](), 0, 0.0
        self.stages: dict[str, list[float]] = {}

    def took(self, begin: float, answer: Any) -> None:
        self.times.append(time.perf_counter() - begin)
        self.failed += answer.status_code != 200
        for stage, ms in answer.json().get("timings_ms", {}).items() if answer.status_code == 200 else ():
            self.stages.setdefault(stage, []).append(ms)


Send = Callable[[Any, bytes], Coroutine[Any, Any, Any]]
"""(client, file) → the answer of a server."""


async def ours(client: Any, data: bytes) -> Any:
    return await client.post("/v1/inspect", content=data, headers={"Content-Type": "image/png"})


async def of_litserve(client: Any, data: bytes) -> Any:
    return await client.post("/predict", json={"image": base64.b64encode(data).decode()})


async def of_anomalib(client: Any, data: bytes) -> Any:
    return await client.post("/predict", content=data, headers={"Content-Type": "image/png"})


async def load(address: str, data: list[bytes], clients: int, rate: float = 0.0, send: Send = ours) -> Answers:
    """A load's answers. rate: images a second at random times; 0 = as answers come, by so many clients."""
    import httpx

    found = Answers()
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=address, timeout=120, trust_env=False, limits=limits) as client:

        async def one(file: bytes) -> None:
            begin = time.perf_counter()
            found.took(begin, await send(client, file))

        async def work(rest: list[bytes]) -> None:
            while rest:
                await one(rest.pop())

        begin = time.perf_counter()
        if rate:
            rng, tasks = np.random.default_rng(0), []
            due = begin + np.cumsum(rng.exponential(1 / rate, len(data)))
            for file, at in zip(data, due, strict=True):  # by the clock: late sends do not thin the load
                await asyncio.sleep(max(0.0, at - time.perf_counter()))
                tasks.append(asyncio.create_task(one(file)))
            await asyncio.gather(*tasks)
        else:
            rest = list(data)
            await asyncio.gather(*(work(rest) for _ in range(clients)))
        found.seconds = time.perf_counter() - begin
        return found


def row(name: str, found: Answers) -> Row:
    p50, p95, p99 = (round(1000 * float(np.percentile(found.times, p)), 1) for p in (50, 95, 99))
    stages = {f"{stage}_p99": round(float(np.percentile(ms, 99)), 1) for stage, ms in found.stages.items()}
    return {"name": name, "images_per_s": round(len(found.times) / found.seconds, 1), "p50_ms": p50, "p95_ms": p95,
            "p99_ms": p99, "failed": found.failed, **stages}  # fmt: skip


def loads(address: str, args: argparse.Namespace, name: str = "", send: Send = ours) -> Iterator[Row]:
    """The rows of both loads."""
    asyncio.run(load(address, files(2 * args.batch, args.side, 6), args.clients, send=send))  # warm
    yield row(f"{name}closed", asyncio.run(load(address, files(args.images, args.side, 2), args.clients, send=send)))
    closed = asyncio.run(load(address, files(args.images, args.side, 7), args.clients, send=send))
    rate = len(closed.times) / closed.seconds / 2
    yield row(f"{name}open", asyncio.run(load(address, files(args.images, args.side, 3), 0, rate, send)))


def run(args: argparse.Namespace) -> Iterator[Row]:
    """The rows as they are measured: inspect, the server's, the peers'."""
    own = [] if args.threshold is None else ["--threshold", str(args.threshold)]
    about = {"side": args.side, "batch": args.batch, "cores": os.cpu_count()}
    yield inspected(args) | about
    for one in served(args, args.checkpoint, *own):
        yield one | about
    if not args.peer_python:
        return
    with tempfile.TemporaryDirectory(prefix="jaxqc-bench-") as folder:
        name, file = weights_of(args.checkpoint, Path(folder) / "weights.npz"), str(Path(folder) / "weights.npz")
        of_network = ["litserve_network", name, file, "--batch", str(args.batch)]
        command, send = (of_network, of_litserve) if name else (["anomalib_served", "--side", "256"], of_anomalib)
        for threads in dict.fromkeys((os.cpu_count() or 1, 1)):  # beside clients fewer may be faster
            for one in peer(args, [*command, "--threads", str(threads)], "peer ", send):
                yield one | about | {"peer": command[0], "threads": threads}


def served(args: argparse.Namespace, checkpoint: str, *more: str) -> list[Row]:
    """`jaxqc serve` under both loads."""
    import httpx

    with tempfile.TemporaryDirectory(prefix="jaxqc-bench-") as folder:
        process = start(checkpoint, "--ledger", str(Path(folder) / "quality.sqlite"), "--port", "0", "--max-batch",
                        str(args.batch), "--image-size", f"{args.side}x{args.side}", *more)  # fmt: skip
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            until_ready(f"{address}/readyz")
            rows = list(loads(address, args))
            text = httpx.get(f"{address}/metrics", trust_env=False).text
            value = lambda name: next(float(x.split()[-1]) for x in text.splitlines() if x.startswith(name))
            batch = value("jaxqc_batch_seconds_sum") / value("jaxqc_batch_seconds_count")
            size = value("jaxqc_batch_images_sum") / value("jaxqc_batch_images_count")
            rows[-1] |= {"batch_ms": round(1000 * batch, 1), "batch_images": round(size, 2)}
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=120)
    return rows


def peer(args: argparse.Namespace, command: list[str], name: str, send: Send) -> Iterator[Row]:
    """A peer's server under both loads, in a process group of its own, which ends with it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    module, *more = command
    words = [args.peer_python, "-m", f"benchmarks.peers.{module}", *more, "--port", str(port)]
    root = Path(__file__).resolve().parents[1]
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"NO_PROXY": "*"}
    process = subprocess.Popen(words, cwd=root, env=env, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        until_ready(f"http://127.0.0.1:{port}/health", process)
        yield from loads(f"http://127.0.0.1:{port}", args, name, send)
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # its workers too
        process.wait()


def until_ready(address: str, process: Any = None) -> None:
    """Waits for 200. Raises RuntimeError where that does not come within minutes, or the process has ended."""
    import httpx

    end = time.monotonic() + 300
    while time.monotonic() < end and (process is None or process.poll() is None):
        try:
            if httpx.get(address, trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"{address}: not ready")


def weights_of(checkpoint: str, file: Path) -> str:
    """Writes a network's variables as arrays by path; its name, and "" of a detector."""
    from flax import traverse_util

    from jaxqc.training.checkpoint import load_variables

    if not (Path(checkpoint) / "checkpoints").is_dir():
        return ""
    variables, config, _ = load_variables(checkpoint, "best")
    flat = traverse_util.flatten_dict(dict(variables), sep="/")
    np.savez(file, **{name: np.asarray(value) for name, value in flat.items()})
    return config.model.name


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
        look = partial(inspect, threshold=args.threshold, progress=False, worst=1)
        look(model, root / "warm", root / "first")
        found = look(model, root / "images", root / "second")
        return {"name": "inspect", "images_per_s": round(found.images_per_second, 1)}


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the servers end with it
    for one in run(args):
        print(json.dumps(one), flush=True)
        if args.json:
            Path(args.json).parent.mkdir(parents=True, exist_ok=True)
            with open(args.json, "a", encoding="utf-8") as out:
                out.write(json.dumps(one) + "\n")


if __name__ == "__main__":
    main()
