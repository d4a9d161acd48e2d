"""Inference, stage by stage and end to end, at a large batch (images/s) and at batch 1 (p50, p99), beside PyTorch.

    python -m benchmarks.inference --model minet --batch 16 --peer best --json build/bench/inference.jsonl

`decode`: image files → uint8 (threads); `transfer`: uint8 → device; `prepare`: pixels → normalised input at the
network's size; `backbone`: the network; `scoring`: its map → probabilities at the images' own size, on the host;
`post-processing`: map → boxes round its regions; `end to end`: `Model.predict` from uint8, and from files with boxes.
The peer runs the backbone, and the same work from uint8 to the map on the host, with the same weights.
"""

import os

os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.45")  # the other half of a GPU is the peer's

import argparse
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.lib.common import Candidate, arguments, ceilings, finish, interleave, result
from benchmarks.lib.machine import Row
from benchmarks.lib.networks import (
    CLASSES,
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
from jaxqc.data.batches import decoded
from jaxqc.data.decode import read_image
from jaxqc.data.synthetic.plates import synthetic_arrays, write_sd900
from jaxqc.memory import use_huge_pages
from jaxqc.pictures.figures import boxes
from jaxqc.saliency.model import Model
from jaxqc.saliency.networks import build

COLUMNS = ("name", "batch", "dtype", "images_per_s", "ms", "spread", "mfu", "p50_ms", "p99_ms", "vs_reference",
           "vs_eager", "vs_best")  # fmt: skip


def our_candidates(config: TrainConfig, variables: Any, batch: int, side: int, folder: Path) -> dict[str, Candidate]:
    """Every stage of the published way of using a model, each on inputs that the stage before left where it leaves
    them."""
    size, meta = config.phases[0].size, {"classes": CLASSES, "mean": MEAN, "std": STD}
    model = Model(variables, config, meta, fold=True, batch=batch)
    unfolded = Model(variables, config, meta, fold=False, batch=batch)
    model.size = unfolded.size = size
    files = sorted((write_sd900(folder, batch, side, seed=2) / "Source Images").iterdir())
    host = np.stack([read_image(f) for f in files])
    on_device = jax.device_put(host)
    prepare = jax.jit(partial(model.prepare, size=size))
    x = prepare(on_device)
    network = {True: jax.jit(model.apply), False: jax.jit(unfolded.apply)}
    small = network[True](model.variables, x)["map"]
    score = jax.jit(lambda m: jnp.clip(jax.image.resize(m, (batch, side, side), "linear"), 0.0, 1.0))
    maps = np.asarray(score(small))

    def from_files() -> Any:
        images = [image for _, image in decoded(files, read_image)]
        return [boxes(m) for m in model.predict(np.stack(images))]

    return {
        "decode": Candidate(lambda: list(decoded(files, read_image))),
        "transfer": Candidate(lambda: jax.device_put(host)),
        "prepare": Candidate(lambda: prepare(on_device)),
        "jaxqc backbone, folded": Candidate(lambda: network[True](model.variables, x)),
        "jaxqc backbone, unfolded": Candidate(lambda: network[False](unfolded.variables, x)),
        "scoring": Candidate(lambda: np.asarray(score(small))),
        "post-processing": Candidate(lambda: [boxes(m) for m in maps]),
        "jaxqc end to end from uint8": Candidate(lambda: model.predict(host)),
        "jaxqc end to end from files": Candidate(from_files),
    }


def peer_candidates(
    config: TrainConfig, variables: Any, batch: int, side: int, kind: str, budget: float
) -> dict[str, Candidate]:
    """The reference (eager, batch norm apart, channel by channel), the fastest eager setting, for kind `best` the
    fastest compiled one, and the fastest of all from uint8 to the map on the host."""
    import torch
    import torch.nn.functional as F

    from benchmarks.peers.convert import convert, peer
    from benchmarks.peers.settings import (
        REFERENCE,
        fastest_of_each,
        inference_call,
        inference_settings,
        library_switches,
        synchronizer,
    )

    library_switches()
    device, size = torch_device(), config.phases[0].size
    network = convert(variables, peer(config.model.name, len(CLASSES)))
    bf16 = config.model.dtype == "bfloat16"
    settings = [s for s in inference_settings(bf16) if s.mixing != "loop" and (kind == "best" or s.compile == "off")]
    x = torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(0)).to(device)
    prepare = partial(inference_call, network, x=x)
    out = {"torch reference": Candidate(inference_call(network, REFERENCE, x), synchronizer(device))}
    found = list(fastest_of_each(prepare, settings, device, budget))
    out |= {f"{group}: {setting.name}": Candidate(call, synchronizer(device)) for group, setting, call, _ in found}
    _, setting, call, _ = min(found, key=lambda f: f[3])
    pixels = torch.from_numpy(synthetic_arrays(batch, side, seed=2).images)

    def from_uint8() -> Any:
        images = pixels.to(device).permute(0, 3, 1, 2).float().div(255).sub(MEAN).div(STD).expand(-1, 3, -1, -1)
        images = F.interpolate(images, size=(size, size), mode="bilinear", align_corners=False)
        maps = call(images)["map"].float()
        return F.interpolate(maps[:, None], size=(side, side), mode="bilinear", align_corners=False).cpu().numpy()

    out[f"torch end to end from uint8: {setting.name}"] = Candidate(from_uint8)
    return out


def latencies(candidates: Mapping[str, Candidate], calls: int, block: int = 10) -> dict[str, dict[str, float]]:
    """p50 and p99 in ms of single calls, the candidates in turns of `block` calls: each alone in the caches as in use,
    all over the same minutes."""
    for task in candidates.values():
        for _ in range(3):
            task.run()
    each: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(max(1, round(calls / block))):
        for name, task in candidates.items():
            task.run()
            each[name] += [task.run() for _ in range(block)]
    return {
        name: dict(zip(("p50_ms", "p99_ms"), (np.percentile(v, (50, 99)) * 1e3).tolist(), strict=True))
        for name, v in each.items()
    }


def measure(args: argparse.Namespace, batch: int, make: Callable[..., dict[str, Candidate]]) -> list[Row]:
    """Rows of one batch size; `make(batch)` gives the candidates."""
    candidates = make(batch)
    timings = interleave(candidates, args.rounds, args.seconds)
    single = latencies(candidates, args.calls) if batch == 1 else {}
    flops = forward_flops(args.network, batch, args.size, aux=False)
    ceiling = ceilings(jnp.dtype(args.dtype)) if flops else None
    rows = []
    for name, timing in timings.items():
        counted = {"flops": flops, "ceiling": ceiling} if "backbone" in name or name.startswith("torch") else {}
        more = {"model": args.network, "batch": batch, "size": args.size, "side": args.side, "dtype": args.dtype}
        rows.append(result("inference", name, timing, images=batch, **counted, **more, **single.get(name, {})))
    rate = {row["name"]: row["images_per_s"] for row in rows}
    peers = {name: rate[name] for name in rate if name.startswith("torch") and "end to end" not in name}
    ratios(rows, "jaxqc backbone", compared(peers, args.peer == "best"))
    whole = [name for name in rate if name.startswith("torch end to end")]
    ratios(rows, "jaxqc end to end from uint8", {"vs_best": whole[0]} if whole else {})
    return rows


def run(args: argparse.Namespace) -> list[Row]:
    config = chosen_config(args)
    args.network = config.model.name
    variables = random_variables(build(config.model.name, len(CLASSES), config.model.width))
    rows = []
    with tempfile.TemporaryDirectory() as folder:

        def make(batch: int) -> dict[str, Candidate]:
            ours = our_candidates(config, variables, batch, args.side, Path(folder) / str(batch))
            if args.peer == "off":
                return ours
            return ours | peer_candidates(config, variables, batch, args.side, args.peer, args.budget)

        for batch in dict.fromkeys([1, args.batch]):
            rows += measure(args, batch, make)
    return rows


def main() -> None:
    parser = model_arguments(arguments(__doc__.splitlines()[0]), batch=16)
    parser.add_argument("--side", type=int, default=200, help="side of the image files, resized on the device")
    parser.add_argument("--calls", type=int, default=100, help="single calls behind p50 and p99 at batch 1")
    args = parser.parse_args()
    finish(with_command(run(args)), args.json, f"inference at {args.size}x{args.size} ({args.dtype})", COLUMNS)


if __name__ == "__main__":
    use_huge_pages()
    main()
