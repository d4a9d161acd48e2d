"""The semi-supervised training step beside UniMatch V2's in PyTorch, what past models and augmentation cost in it.

    python -m benchmarks.semi_step --encoder dinov2_vits14 --size 224 --batch 4 --peer best --past 0 1 2 3

`jaxqc step`: the loop's own step on a raw uint8 batch that lies on the device, views augmented and mixed inside of it.
`jaxqc step, views given`: the same from prepared views, which is what the peer's step starts from too (its authors
augment on the host). `past models: k`: the step with a queue of 8, of which k label too. Nothing is decoded anywhere.
`batch` is that of the labelled images and that of the unlabelled ones; images/s counts both.

FLOPs of a step: f · batch · (1 teacher + k past models + 3 · (1 + views) student), f being one forward pass's products
and convolutions, counted on the peer's network by PyTorch without running it.
"""

import os

os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.45")  # the other half of a GPU is the peer's

import argparse
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.lib.common import Candidate, arguments, ceilings, finish, interleave, result
from benchmarks.lib.machine import Row
from benchmarks.lib.machine import simulate_devices as simulate
from benchmarks.lib.networks import compared, ratios, segmenter_flops, torch_device, with_command
from benchmarks.lib.semi_candidates import STEPS, Bench
from jaxqc.memory import use_huge_pages
from jaxqc.models.dinov2 import KERNELS, VITS
from jaxqc.semi.cost import passes
from jaxqc.semi.recipe import PRESETS
from jaxqc.training.parallel import make_parallel

COLUMNS = ("name", "size", "batch", "dtype", "images_per_s", "ms", "spread", "mfu", "compile_s", "memory_mb", "share",
           "vs_reference", "vs_eager", "vs_best")  # fmt: skip
METHODS = [name for name, c in PRESETS.items() if c.labels in ("none", "ema") and not c.history.length]


def peer_candidates(
    bench: Bench, prepared: Any, kind: str, budget: float
) -> tuple[dict[str, Candidate], dict[str, float]]:
    """`torch reference: SETTING` (as its authors have it), `torch eager: SETTING` and for kind `best` also `torch
    compiled: SETTING`, the last two each the fastest of their kind; and, on a GPU, the memory each needs in MB."""
    import torch

    from benchmarks.peers.settings import fastest_of_each, library_switches, synchronizer
    from benchmarks.peers.torch_semi import StepSetting, load_segmenter, peer_segmenter, step_call, step_settings

    library_switches()
    device, bf16 = torch_device(), bench.args.dtype == "bfloat16"
    model = load_segmenter(bench.params, peer_segmenter(bench.args.encoder, bench.args.classes))
    batch = {name: np.asarray(x)[0] for name, x in jax.device_get(prepared).items()}
    prepare = lambda setting: step_call(model, setting, batch, device, total=STEPS)
    settings = step_settings(bf16, compiled=kind == "best")
    out, memory = {}, {}
    reference = StepSetting(joined=False, bf16=bf16)
    for group, setting, call, _ in fastest_of_each(prepare, settings, device, budget, reference):
        name = f"{group}: {setting.name}"
        out[name] = Candidate(call, synchronizer(device))
        if device.type == "cuda":
            torch.cuda.empty_cache()
            others = torch.cuda.memory_allocated(device)
            torch.cuda.reset_peak_memory_stats(device)
            call()
            memory[name] = (torch.cuda.max_memory_allocated(device) - others) / 1e6
    return out, memory


def run(args: argparse.Namespace) -> list[Row]:
    if args.devices > 1 and jax.config.jax_platforms == "cpu":
        simulate(args.devices)
    jax.config.update("jax_enable_compilation_cache", False)  # a cached program would hide what compiling costs
    parallel = make_parallel(args.backend, args.devices)
    bench = Bench(args, parallel)
    raw = parallel.shard(bench.raw)
    prepare, prepared = bench.prepared()
    whole, given = "jaxqc step", "jaxqc step, views given"
    candidates = {whole: bench.step(whole, bench.method(bench.config), raw)}
    if "given" in args.parts:
        candidates[given] = bench.step(given, bench.method(bench.config, given=True), prepared)
        candidates["prepare alone"] = Candidate(prepare)
    candidates |= bench.past(args.past, raw) if args.past else {}
    peers, memory = {}, {}
    if args.peer != "off" and args.method == "unimatch_v2" and parallel.count == 1:
        peers, memory = peer_candidates(bench, prepared, args.peer, args.budget)
    timings = interleave(candidates | peers, args.rounds, args.seconds)

    forward = segmenter_flops(args.encoder, args.classes, args.size)
    ceiling = ceilings(jnp.dtype(args.dtype)) if forward else None
    more = {"model": args.encoder, "method": args.method, "size": args.size, "batch": args.batch, "dtype": args.dtype,
            "classes": args.classes, "attention": args.attention, "backend": args.backend}  # fmt: skip
    compile_s, memory = bench.compile_s, memory | bench.memory_mb
    rows = []
    for name, timing in timings.items():
        past = int(name.rpartition(" ")[2]) if name.startswith("past") else 0
        each, _ = passes(
            bench.config, past
        )  # the decoder's are as many: no member here drops features of the weak view
        flops = forward * args.batch * each if forward and name != "prepare alone" else None
        row = result("semi-step", name, timing, images=2 * args.batch, flops=flops, ceiling=ceiling,
                     devices=parallel.count, **more)  # fmt: skip
        key = "past models" if name.startswith("past") else name
        row |= {"k": past} if name.startswith("past") else {}
        row |= {"compile_s": compile_s[key]} if key in compile_s else {}
        row |= {"memory_mb": memory[key]} if key in memory else {}
        rows.append(row)
    ms = {row["name"]: row["ms"] for row in rows}
    for row in rows:
        if row["name"] == "prepare alone":
            row["share"] = row["ms"] / ms[whole]
        elif row["name"] == whole and given in ms:
            row["share"] = max(0.0, 1 - ms[given] / ms[whole])
        elif row["name"].startswith("past") and "past models: 0" in ms:
            row["share"] = max(0.0, 1 - ms["past models: 0"] / row["ms"])
    ratios(rows, "jaxqc", compared({name: 1 / ms[name] for name in peers}, args.peer == "best"))
    return rows


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--encoder", choices=sorted(VITS), default="dinov2_vits14")
    parser.add_argument("--method", choices=METHODS, default="unimatch_v2")
    parser.add_argument("--size", type=int, default=224, help="side of the views, a multiple of 14")
    parser.add_argument("--batch", type=int, default=4, help="labelled images, and as many unlabelled ones")
    parser.add_argument("--accumulate", type=int, default=1, help="micro-batches a step")
    parser.add_argument("--classes", type=int, default=40)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--attention", choices=KERNELS, default="auto")
    parser.add_argument("--parts", nargs="*", default=["given"], choices=("given",), help="what else than the step")
    parser.add_argument("--past", type=int, nargs="*", default=[], help="numbers of past models, up to 3, to time")
    parser.add_argument("--peer", choices=("off", "eager", "best"), default="eager", help="PyTorch beside it: not at "
                        "all, the fastest eager setting, or also every compiled one")  # fmt: skip
    parser.add_argument("--budget", type=float, default=600, help="seconds for trying the peer's settings")
    parser.add_argument("--backend", choices=("pmap", "shard_map"), default="pmap")
    parser.add_argument("--devices", type=int, default=0, help="0 takes all; more than one on a CPU simulates them")
    return parser.parse_args(argv)


def main() -> None:
    args = parse()
    title = f"{args.method} step, {args.encoder} at {args.size}, {args.batch} + {args.batch} images"
    finish(with_command(run(args)), args.json, title, COLUMNS)


if __name__ == "__main__":
    use_huge_pages()
    main()
