"""Needs of the semi-supervised step on a GPU that need not be there: XLA compiles it for one and plans its memory.

    python -m benchmarks.semi_plan --encoder dinov2_vitb14 --size 518 --batch 2 4 8 16 --attention cudnn xla

Takes the CUDA plugin of JAX and NVIDIA's libraries (`pip install -e '.[cuda13]'`), neither a GPU nor a driver. It tells
which batch fits and that every kernel of the step has code for the GPU, not how fast that is: without a GPU there is
nothing to choose the fastest variants by, so products are cuBLAS's, and scratch memory that cuBLAS and cuDNN ask for
while they run comes on top. `memory_gb`: parameters, moments, teacher, batch and everything in between at its peak;
`state_gb`: what stays between two steps. `--gpu none` plans for the CPU.
"""

import argparse
import importlib.util
import itertools
import os
import re
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.lib.common import arguments, finish
from benchmarks.lib.machine import Row
from benchmarks.lib.networks import with_command
from benchmarks.lib.semi_candidates import OPTIM, STEPS
from jaxqc.errors import UserError
from jaxqc.models.dinov2 import VITS
from jaxqc.models.segmenter import build_segmenter
from jaxqc.semi.method import SemiMethod
from jaxqc.semi.network import halves_of
from jaxqc.semi.recipe import PRESETS, preset
from jaxqc.training import state as states
from jaxqc.training.optim import make_optimizer, make_schedule
from jaxqc.training.parallel import Parallel
from jaxqc.training.step import make_step

COLUMNS = ("model", "method", "size", "batch", "micro", "chunk", "freeze", "dtype", "attention", "gpu", "memory_gb",
           "state_gb", "share", "attention_calls", "products", "convolutions", "compile_s")  # fmt: skip
# Multiprocessors, float32 lanes in each, memory in GiB and GB/s, second-level cache in MiB (the H200's as a card told
# it), clock in GHz: NVIDIA's data sheets. Compute capability, shared memory a multiprocessor and a block in KiB,
# threads: CUDA C++ Programming Guide, compute capabilities.
GPUS = {
    "h200": ("NVIDIA H200", 132, 128, 140.4, 4800, 60, 1.98, (9, 0), 228, 227, 2048),
    "a100": ("NVIDIA A100-SXM4-80GB", 108, 64, 79.2, 2039, 40, 1.41, (8, 0), 164, 163, 2048),
    "rtx4090": ("NVIDIA GeForce RTX 4090", 128, 128, 23.5, 1008, 72, 2.52, (8, 9), 100, 99, 1536),
}
CONFIG = """
gpu_device_info {{
  core_count: {cores}  fpus_per_core: {lanes}  clock_rate_ghz: {clock}
  threads_per_warp: 32  threads_per_block_limit: 1024  threads_per_core_limit: {threads}
  block_dim_limit_x: 2147483647  block_dim_limit_y: 65535  block_dim_limit_z: 65535
  shared_memory_per_core: {shared}  shared_memory_per_block: 49152  shared_memory_per_block_optin: {block}
  registers_per_core_limit: 65536  registers_per_block_limit: 65536
  device_memory_size: {memory}  memory_bandwidth: {bandwidth}  l2_cache_size: {cache}
  cuda_compute_capability {{ major: {major}  minor: {minor} }}
}}
platform_name: "CUDA"
device_description_str: "{name}"
dnn_version_info {{ major: 9  minor: 10 }}
runtime_version {{ major: {cuda} }}
"""
FLAGS = "--xla_gpu_autotune_level=0 --xla_gpu_enable_triton_gemm=false"
"""XLA's flags: there is no GPU to try variants out on, and Triton's have no default."""
PLUGINS = {f"jax_plugins.xla_cuda{cuda}": cuda for cuda in (13, 12)}


def gpu_device(name: str) -> Any:
    """A device of `GPUS` to compile for; nothing runs on it.

    Raises:
      UserError: JAX has no CUDA plugin here.
    """
    found = [cuda for module, cuda in PLUGINS.items() if _there(module)]
    if not found:
        raise UserError("JAX's CUDA plugin is not here: pip install -e '.[cuda13]', or --gpu none for the CPU")
    from jax.experimental import topologies

    title, cores, lanes, memory, bandwidth, cache, clock, (major, minor), shared, block, threads = GPUS[name]
    config = CONFIG.format(
        **{"name": title, "cores": cores, "lanes": lanes, "clock": clock, "threads": threads, "major": major},
        **{"minor": minor, "memory": int(memory * 2**30), "bandwidth": int(bandwidth * 1e9), "cache": cache << 20},
        **{"shared": shared << 10, "block": block << 10, "cuda": found[0]},
    )
    return topologies.get_topology_desc(platform="cuda", target_config=config, topology="1x1x1").devices[0]


def plan(args: argparse.Namespace, device: Any, batch: int, attention: str) -> Row:
    """Compiles the step of one batch for a device: its memory, and how often it calls which library."""
    side, micro = args.size, batch // args.accumulate
    module = build_segmenter(args.encoder, args.classes, args.dtype, attention=attention)
    start = lambda key: module.init(key, jnp.zeros((1, side, side, 3)))["params"]
    names = tuple(f"class {i}" for i in range(args.classes))
    member = preset(args.method, chunk=args.chunk, freeze=args.freeze)
    method = SemiMethod(member, names, halves_of(module), start, head_rate=40.0)
    optimizer, schedule = make_optimizer(OPTIM), make_schedule(OPTIM, STEPS)
    parallel = Parallel("shard_map", (device,))
    step = make_step(method, optimizer, schedule, side, args.accumulate)
    call = parallel.map(lambda state, batch, seed: step(state, batch, jax.random.key(seed)), donate=(0,))

    abstract = lambda tree: jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((1, *x.shape), x.dtype, sharding=parallel.sharding), tree
    )
    state = abstract(jax.eval_shape(lambda key: states.create(method, optimizer, key), jax.random.key(0)))
    image, mask = (jax.ShapeDtypeStruct((batch, side, side, *more), np.uint8) for more in ((3,), ()))
    valid = jax.ShapeDtypeStruct(mask.shape, bool)
    raw = abstract({"image": image, "unlabeled": image, "mask": mask, "valid": valid})
    seed = abstract(jax.ShapeDtypeStruct((), np.uint32))
    begin = time.perf_counter()
    compiled: Any = (
        call.compile(state, raw, seed) if hasattr(call, "compile") else call.lower(state, raw, seed).compile()
    )
    needs = compiled.memory_analysis()
    held = needs.argument_size_in_bytes + needs.output_size_in_bytes - needs.alias_size_in_bytes
    # (matmul|fmha...|conv...): a library's call in the compiled program.
    calls = Counter(re.findall(r'custom_call_target="__cu\w+\$(?:lt\$)?([a-z]+)', compiled.as_text()))
    kept = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state))
    memory = held + needs.temp_size_in_bytes
    row = {"benchmark": "semi-plan", "name": args.gpu, "model": args.encoder, "method": args.method, "size": side,
           "batch": batch, "micro": micro, "dtype": args.dtype, "classes": args.classes, "attention": attention,
           "gpu": args.gpu, "chunk": args.chunk, "freeze": args.freeze, "memory_gb": memory / 1e9,
           "state_gb": kept / 1e9, "attention_calls": calls["fmha"], "products": calls["matmul"] + calls["gemm"],
           "convolutions": calls["conv"], "compile_s": time.perf_counter() - begin}  # fmt: skip
    return row | ({"share": memory / (GPUS[args.gpu][3] * 2**30)} if args.gpu in GPUS else {})


def run(args: argparse.Namespace) -> list[Row]:
    jax.config.update("jax_enable_compilation_cache", False)
    device = jax.devices("cpu")[0] if args.gpu == "none" else gpu_device(args.gpu)
    return [plan(args, device, *each) for each in itertools.product(args.batch, args.attention)]


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--gpu", choices=[*GPUS, "none"], default="h200")
    parser.add_argument("--encoder", choices=sorted(VITS), default="dinov2_vitb14")
    parser.add_argument("--method", choices=sorted(PRESETS), default="unimatch_v2")
    parser.add_argument("--size", type=int, default=518, help="side of the views, a multiple of 14")
    parser.add_argument("--batch", type=int, nargs="+", default=[16], help="labelled images, as many unlabelled ones")
    parser.add_argument("--accumulate", type=int, default=1, help="micro-batches a step")
    parser.add_argument("--classes", type=int, default=40)
    parser.add_argument("--chunk", type=int, default=0, help="images whose logits are at full size at once; 0 = all")
    parser.add_argument("--freeze", action="store_true", help="keep the encoder as it starts")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--attention", nargs="+", choices=("cudnn", "xla"), default=None,
                        help="default: cudnn for a GPU in bfloat16, else xla")  # fmt: skip
    args = parser.parse_args(argv)
    args.attention = args.attention or ["xla" if args.gpu == "none" or args.dtype == "float32" else "cudnn"]
    if "cudnn" in args.attention and (args.gpu == "none" or args.dtype == "float32"):
        parser.error("--attention cudnn: is of GPUs, and takes half precision only")
    if args.accumulate < 1:
        parser.error(f"--accumulate {args.accumulate}: at least 1")
    if bad := [batch for batch in args.batch if batch % args.accumulate]:
        parser.error(f"--batch {bad[0]} is no multiple of --accumulate {args.accumulate}")
    return args


def _there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def main() -> None:
    args = parse()
    # Read when JAX starts its backend, which nothing has done so far.
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAGS}"
    jax.config.update("jax_platforms", "cpu")
    try:
        rows = run(args)
    except UserError as e:
        raise SystemExit(f"semi_plan: {e}") from e
    finish(with_command(rows), args.json, f"{args.method} step, {args.encoder} at {args.size}", COLUMNS)


if __name__ == "__main__":
    main()
