"""Depthwise convolution at every shape that the networks use: shifted multiply-adds against the library, in turns.

    python -m benchmarks.depthwise --batch 16 --dtype float32

Forward, and forward with both gradients. `nn.depthwise_conv` chooses one of them by backend; this is what it rests on.
"""

import os

os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.45")

import argparse
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.lib.common import arguments, finish, interleave
from benchmarks.lib.machine import Row
from benchmarks.lib.networks import with_command
from jaxqc.memory import use_huge_pages
from jaxqc.nn.depthwise import depthwise_conv

CASES = (  # side at 224, channels, stride, dilation
    (112, 16, 1, 1), (112, 16, 1, 4), (112, 16, 2, 1), (56, 32, 1, 1), (56, 32, 1, 8), (56, 32, 2, 1),
    (28, 64, 1, 1), (28, 64, 1, 8), (14, 96, 1, 1), (14, 96, 1, 8), (7, 128, 1, 1), (28, 96, 1, 1), (56, 96, 1, 1),
)  # fmt: skip
IMPLEMENTATIONS = ("shift", "library")
COLUMNS = ("name", "shape", "dtype", "forward_ms", "gradient_ms", "spread")


def run(args: argparse.Namespace) -> list[Row]:
    rows: list[Row] = []
    rng = np.random.default_rng(0)
    dtype = jnp.dtype(args.dtype)
    for side, channels, stride, dilation in CASES:
        x = jnp.asarray(rng.normal(size=(args.batch, side, side, channels)), dtype)
        kernel = jnp.asarray(rng.normal(size=(3, 3, channels)), dtype)
        candidates: dict[str, Any] = {}
        for name in IMPLEMENTATIONS:
            conv = partial(depthwise_conv, stride=stride, dilation=dilation, implementation=name)
            forward = jax.jit(conv)
            gradient = jax.jit(jax.grad(lambda x, k, conv=conv: (conv(x, k).astype(jnp.float32) ** 2).mean(), (0, 1)))
            candidates[f"{name} forward"] = partial(forward, x, kernel)
            candidates[f"{name} gradient"] = partial(gradient, x, kernel)
        timing = interleave(candidates, args.rounds, args.seconds)
        for name in IMPLEMENTATIONS:
            forward, gradient = timing[f"{name} forward"], timing[f"{name} gradient"]
            rows.append({"benchmark": "depthwise", "name": name, "batch": args.batch, "dtype": args.dtype,
                         "shape": f"{args.batch}x{side}x{side}x{channels} s{stride} d{dilation}",
                         "forward_ms": forward.median * 1e3, "gradient_ms": gradient.median * 1e3,
                         "spread": max(forward.spread, gradient.spread)})  # fmt: skip
    return rows


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.set_defaults(seconds=0.1, rounds=5)
    args = parser.parse_args()
    finish(with_command(run(args)), args.json, "depthwise 3x3 convolution", COLUMNS)


if __name__ == "__main__":
    use_huge_pages()
    main()
