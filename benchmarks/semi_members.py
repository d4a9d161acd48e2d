"""The training steps of the semi-supervised family's members beside each other, on one encoder.

    python -m benchmarks.semi_members --encoder resnet18 --layers 3 --hidden 32 --size 96 --batch 4 --classes 4

Each row is the loop's own step on a raw uint8 batch that lies on the device, views augmented and mixed inside of it.
`batch` is that of the labelled images and that of the unlabelled ones; images/s counts both. `encoder` and `decoder`:
forward passes for each labelled image (`jaxqc.semi.cost.passes`), a backward pass counting as two. `ratio`: time over
that of the first method. `memory_mb`: XLA's plan for the step.
"""

import argparse
from collections.abc import Sequence

import jax

from benchmarks.lib.common import arguments, finish, interleave, result
from benchmarks.lib.machine import Row
from benchmarks.lib.networks import with_command
from benchmarks.lib.semi_candidates import Bench
from jaxqc.memory import use_huge_pages
from jaxqc.models.dinov2 import KERNELS
from jaxqc.semi.cost import passes
from jaxqc.semi.recipe import PRESETS
from jaxqc.training.parallel import make_parallel

COLUMNS = ("name", "model", "size", "batch", "images_per_s", "ms", "spread", "ratio", "encoder", "decoder",
           "compile_s", "memory_mb")  # fmt: skip
METHODS = [name for name, c in PRESETS.items() if not c.language.decoder]


def run(args: argparse.Namespace) -> list[Row]:
    jax.config.update("jax_enable_compilation_cache", False)  # a cached program would hide what compiling costs
    parallel, candidates, benches = make_parallel(args.backend, args.devices), {}, {}
    for name in args.methods:
        bench = benches[name] = Bench(argparse.Namespace(**{**vars(args), "method": name}), parallel)
        candidates[name] = bench.step(name, bench.method(bench.config), parallel.shard(bench.raw))
    timings = interleave(candidates, args.rounds, args.seconds)
    more = {"model": args.encoder, "size": args.size, "batch": args.batch, "dtype": args.dtype,
            "classes": args.classes, "layers": args.layers, "hidden": args.hidden,
            "chunk": args.chunk, "freeze": args.freeze}  # fmt: skip
    rows = []
    for name, timing in timings.items():
        bench, (encoder, decoder) = benches[name], passes(benches[name].config)
        row = result("semi-members", name, timing, images=2 * args.batch, flops=None, ceiling=None,
                     devices=parallel.count, **more)  # fmt: skip
        row |= {"encoder": encoder, "decoder": decoder, "compile_s": bench.compile_s[name]}
        row |= {"memory_mb": bench.memory_mb[name]} if name in bench.memory_mb else {}
        rows.append(row)
    return [row | {"ratio": row["ms"] / rows[0]["ms"]} for row in rows]


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--encoder", default="resnet18", help="a segmenter's")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["unimatch_v2", "ps_mt", "u2pl"])
    parser.add_argument("--layers", type=int, default=4, help="of a convolutional encoder that are used")
    parser.add_argument("--hidden", type=int, default=0, help="width of the head; 0 = the encoder's")
    parser.add_argument("--chunk", type=int, default=0, help="images whose logits are at full size at once; 0 = all")
    parser.add_argument("--freeze", action="store_true", help="keep the encoder as it starts")
    parser.add_argument("--size", type=int, default=96, help="side of the views")
    parser.add_argument("--batch", type=int, default=4, help="labelled images, and as many unlabelled ones")
    parser.add_argument("--accumulate", type=int, default=1, help="micro-batches a step")
    parser.add_argument("--classes", type=int, default=4)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--attention", choices=KERNELS, default="auto")
    parser.add_argument("--backend", choices=("pmap", "shard_map"), default="pmap")
    parser.add_argument("--devices", type=int, default=1)
    return parser.parse_args(argv)


def main() -> None:
    args = parse()
    title = f"members' steps, {args.encoder} at {args.size}, {args.batch} + {args.batch} images"
    finish(with_command(run(args)), args.json, title, COLUMNS)


if __name__ == "__main__":
    use_huge_pages()
    main()
