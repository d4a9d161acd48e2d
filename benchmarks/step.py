"""The training step: alone, as the resident scan, and fed from files, beside the same step in PyTorch, in turns.

    python -m benchmarks.step --model tscarnet --batch 16 --size 224 --peer best --json build/bench/step.jsonl

`pure`: one compiled call a step, the uint8 batch on the device already. `resident`: the loop's own feed, data on the
device, many steps inside one call. `stream`: the loop's own feed from image files, so decoding and transfer count; its
`input_wait` is the share of its time that the pure step does not explain. Synthetic plates, flips as augmentation.
"""

import os

os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.45")  # the other half of a GPU is the peer's

import argparse
import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.lib.common import Candidate, arguments, ceilings, compile_timed, finish, interleave, result
from benchmarks.lib.machine import Row
from benchmarks.lib.machine import simulate_devices as simulate
from benchmarks.lib.networks import (
    CLASSES,
    FOREGROUND,
    MEAN,
    STD,
    chosen_config,
    compared,
    forward_flops,
    model_arguments,
    random_variables,
    ratios,
    torch_device,
    with_command,
)
from jaxqc.config import TrainConfig
from jaxqc.data.dataset import ArrayDataset
from jaxqc.data.readers import open_dataset
from jaxqc.data.synthetic.plates import synthetic_arrays, write_sd900
from jaxqc.memory import use_huge_pages
from jaxqc.saliency.method import SaliencyMethod, make_method
from jaxqc.training import state as states
from jaxqc.training.feed import Resident, Stream
from jaxqc.training.optim import make_optimizer, make_schedule
from jaxqc.training.parallel import Parallel, make_parallel
from jaxqc.training.plan import make_plan
from jaxqc.training.state import TrainState
from jaxqc.training.step import make_step

COLUMNS = ("name", "batch", "size", "dtype", "images_per_s", "ms", "spread", "mfu", "compile_s", "share_of_pure",
           "input_wait", "vs_reference", "vs_eager", "vs_best")  # fmt: skip


class Bench:
    """One recipe on this machine: the states, the data and the candidates to time."""

    def __init__(self, config: TrainConfig, parallel: Parallel, images: int) -> None:
        self.config, self.parallel = config, parallel
        self.phase = config.phases[0]
        self.method: SaliencyMethod = make_method(config, CLASSES, MEAN, STD, FOREGROUND)
        self.optimizer = make_optimizer(config.optim)
        unique = synthetic_arrays(min(images, 64), self.phase.size, seed=1, defect_free=0.1)
        self.arrays: ArrayDataset = unique.take(np.arange(images) % len(unique))
        self.stretch = make_plan(config, images, parallel.count)[0]
        self.schedule = make_schedule(config.optim, self.stretch.stop)
        self.variables = random_variables(self.method.inference_network)

    def state(self) -> TrainState:
        """A fresh state on the devices; every candidate donates its own."""
        # In place of a real initialisation, which takes the compiler a minute.
        given = SimpleNamespace(init=lambda key: self.variables, init_extra=self.method.init_extra)
        host = jax.jit(lambda key: states.create(given, self.optimizer, key))(jax.random.key(0))
        return self.parallel.replicate(jax.device_get(host))

    def host_batch(self) -> dict[str, np.ndarray]:
        part = self.arrays.take(np.arange(self.phase.batch))
        weight = np.ones(self.phase.batch, np.float32)
        return {"image": part.images, "mask": part.masks, "label": part.labels, "weight": weight}

    def step_call(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """The mapped step, as the stream feed maps it, and its arguments."""
        step = make_step(self.method, self.optimizer, self.schedule, self.phase.size, self.config.optim.accumulate)
        call = self.parallel.map(lambda state, batch, seed: step(state, batch, jax.random.key(seed)), donate=(0,))
        return call, (self.state(), self.parallel.shard(self.host_batch()), self.parallel.replicate(np.uint32(0)))

    def pure(self) -> tuple[Candidate, float]:
        """The step on one batch that stays on the device, and its compile time in seconds."""
        call, (state, batch, seed) = self.step_call()
        compiled, seconds = compile_timed(call, state, batch, seed)
        held = [state]

        def run() -> Any:
            held[0], logs = compiled(held[0], batch, seed)
            return logs["loss"]

        return Candidate(run), seconds

    def fed(self, feed: Resident | Stream) -> Candidate:
        """`steps_per_call` steps through one of the loop's feeds, their logs fetched as the loop fetches them."""
        held: list[Any] = [self.state(), 0]
        count = self.config.steps_per_call

        def run() -> Any:
            held[0], fetch = feed.run(held[0], self.stretch, held[1], count)
            held[1] += count
            return fetch()

        return Candidate(run)

    def resident(self) -> Resident:
        return Resident(self.method, self.optimizer, self.schedule, self.config, self.parallel, self.arrays)

    def stream(self, folder: Path, workers: int) -> Stream:
        data = dataclasses.replace(self.config.data, mode="stream", workers=workers)
        config = dataclasses.replace(self.config, data=data)
        files = write_sd900(folder, len(self.arrays), self.phase.size, seed=1)
        return Stream(self.method, self.optimizer, self.schedule, config, self.parallel, open_dataset(files, "sd900"))


def peer_candidates(bench: Bench, kind: str, budget: float) -> dict[str, Candidate]:
    """`torch reference: SETTING` (as its authors write it), `torch eager: SETTING`, for kind `best` also
    `torch compiled: SETTING`; the last two each the fastest of their kind."""
    import torch

    from benchmarks.peers.convert import convert, peer
    from benchmarks.peers.losses_torch import LOSSES
    from benchmarks.peers.settings import REFERENCE, fastest_of_each, library_switches, synchronizer, train_settings
    from benchmarks.peers.training import train_call

    library_switches()
    device, name = torch_device(), bench.config.model.name
    network = convert(bench.variables, peer(name, len(CLASSES)))
    host = bench.host_batch()
    batch = tuple(torch.from_numpy(np.asarray(host[k])).to(device) for k in ("image", "mask", "label"))
    batch = (*batch[:2], batch[2].long())
    optim = bench.config.optim

    def prepare(setting: Any) -> Callable[[], Any]:
        return train_call(network, setting, LOSSES[name], batch, MEAN, STD, optim.lr, optim.clip)

    bf16 = bench.config.model.dtype == "bfloat16"
    settings = [s for s in train_settings(bf16) if kind == "best" or s.compile == "off"]
    chosen = fastest_of_each(prepare, settings, device, budget, dataclasses.replace(REFERENCE, bf16=bf16))
    return {f"{group}: {setting.name}": Candidate(call, synchronizer(device)) for group, setting, call, _ in chosen}


def run(args: argparse.Namespace) -> list[Row]:
    if args.devices > 1 and jax.config.jax_platforms == "cpu":
        simulate(args.devices)
    # A cached program would hide what compiling costs.
    jax.config.update("jax_enable_compilation_cache", False)
    accelerator = jax.default_backend() != "cpu"
    steps = args.steps or (32 if accelerator else 4)
    config = chosen_config(args, steps)
    parallel = make_parallel(config.backend, config.devices)
    bench = Bench(config, parallel, max(args.images, args.batch * 2))

    candidates: dict[str, Candidate] = {}
    images: dict[str, int] = {}
    compile_s: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        pure = f"jaxqc pure step ({config.backend})"
        candidates[pure], compile_s[pure] = bench.pure()
        images[pure] = args.batch
        stream = None
        if "resident" in args.parts:
            candidates["jaxqc resident scan"] = bench.fed(bench.resident())
            images["jaxqc resident scan"] = args.batch * steps
        if "stream" in args.parts:
            stream = bench.stream(Path(folder), args.workers)
            candidates["jaxqc stream from files"] = bench.fed(stream)
            images["jaxqc stream from files"] = args.batch * steps
        peers = peer_candidates(bench, args.peer, args.budget) if args.peer != "off" else {}
        images |= dict.fromkeys(peers, args.batch)
        try:
            timings = interleave(candidates | peers, args.rounds, args.seconds)
        finally:
            if stream is not None:
                stream.close()

    forward = forward_flops(config.model.name, args.batch, args.size, aux=True)
    ceiling = ceilings(jnp.dtype(args.dtype)) if forward else None
    rows = []
    for name, timing in timings.items():
        more = {"model": config.model.name, "batch": args.batch, "size": args.size, "dtype": args.dtype}
        if name in compile_s:
            more["compile_s"] = compile_s[name]
        flops = 3 * forward * images[name] / args.batch if forward else None
        rows.append(
            result(
                "step", name, timing, images=images[name], flops=flops, ceiling=ceiling, devices=parallel.count, **more
            )
        )
    rate = {row["name"]: row["images_per_s"] for row in rows}
    for row in rows:
        if row["name"] in ("jaxqc resident scan", "jaxqc stream from files"):
            row["share_of_pure"] = row["images_per_s"] / rate[pure]
        if row["name"] == "jaxqc stream from files":
            row["input_wait"] = max(0.0, 1 - row["share_of_pure"])
    ratios(rows, "jaxqc", compared({name: rate[name] for name in peers}, args.peer == "best"))
    return rows


def main() -> None:
    parser = model_arguments(arguments(__doc__.splitlines()[0]), batch=16)
    parser.add_argument("--backend", choices=("pmap", "shard_map"), default="pmap")
    parser.add_argument("--devices", type=int, default=0, help="0 takes all; more than one on a CPU simulates them")
    parser.add_argument("--steps", type=int, default=0, help="steps in one resident call (0: 4 on CPU, 32 elsewhere)")
    parser.add_argument("--images", type=int, default=128, help="size of the synthetic set")
    parser.add_argument("--workers", type=int, default=0, help="worker processes that decode for the stream")
    parser.add_argument("--parts", nargs="*", default=["resident", "stream"], choices=("resident", "stream"))
    args = parser.parse_args()
    finish(with_command(run(args)), args.json, f"training step, {args.size}x{args.size}, batch {args.batch}", COLUMNS)


if __name__ == "__main__":
    use_huge_pages()
    main()
