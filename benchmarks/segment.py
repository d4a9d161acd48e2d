"""Segmenting whole images at full size and fast, beside PyTorch: speed alone (what it costs in mIoU needs data).

    python -m benchmarks.segment --encoder dinov2_vits14 --side 518 --long-side 0 392 378 --peer best

An image of `side` is resized to a long side (0: not at all), goes through the network, and its logits are resized
back to probabilities at its own size (`jaxqc.semi.inference.whole_image`); 378 is what 384 rounds to. `vs_full` is the
gain over the first of the sizes. The peer does the same with the same weights.
"""

import os

os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.45")  # the other half of a GPU is the peer's

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.lib.common import Candidate, arguments, ceilings, compile_timed, finish, interleave, result
from benchmarks.lib.machine import Row
from benchmarks.lib.networks import random_variables, segmenter_flops, torch_device, with_command
from jaxqc.memory import use_huge_pages
from jaxqc.models.dinov2 import KERNELS, VITS
from jaxqc.models.segmenter import build_segmenter
from jaxqc.semi.inference import fitting, whole_image
from jaxqc.semi.network import halves_of

COLUMNS = ("name", "side", "input", "batch", "dtype", "images_per_s", "ms", "spread", "mfu", "compile_s", "vs_full",
           "vs_eager", "vs_best")  # fmt: skip


def peer_candidates(
    args: argparse.Namespace, params: Any, image: np.ndarray, size: tuple[int, int]
) -> dict[str, tuple[Candidate, np.ndarray]]:
    """`torch eager: SETTING` and, where asked for, `torch compiled: SETTING`; with the probabilities each gives."""
    import torch

    from benchmarks.peers.settings import fastest_of_each, inference_call, library_switches, synchronizer
    from benchmarks.peers.torch_semi import WholeImage, forward_settings, load_segmenter, peer_segmenter

    library_switches()
    device = torch_device()
    network = WholeImage(load_segmenter(params, peer_segmenter(args.encoder, args.classes)), size).eval()
    x = torch.from_numpy(image).to(device).permute(0, 3, 1, 2)
    with torch.no_grad():
        plain = network.to(device)(x)

    def prepare(setting: Any) -> Any:
        call = inference_call(network, setting, x)
        off = float((call().float() - plain).abs().max())
        if off > (1e-4 if args.dtype == "float32" else 0.1):  # passed over, and told
            raise ValueError(f"another result than without this setting: off by {off:.2g}")
        return call

    settings = forward_settings(args.dtype == "bfloat16", compiled=args.peer == "best")
    out = {}
    for group, setting, call, _ in fastest_of_each(prepare, settings, device, args.budget):
        found = call().permute(0, 2, 3, 1).float().cpu().numpy()
        out[f"{group}: {setting.name}"] = (Candidate(call, synchronizer(device)), found)
    return out


def run(args: argparse.Namespace) -> list[Row]:
    module = build_segmenter(args.encoder, args.classes, args.dtype, attention=args.attention)
    params = random_variables(module, side=28, train=False)["params"]
    image = np.random.default_rng(0).standard_normal((args.batch, args.side, args.side, 3), np.float32)
    network, ready, pixels = halves_of(module), jax.tree.map(jnp.asarray, params), jnp.asarray(image)
    candidates: dict[str, Candidate] = {}
    of: dict[str, tuple[str, int]] = {}
    compile_s: dict[int, float] = {}
    for side in args.long_side:
        size = fitting(args.side, args.side, side=side)
        program = jax.jit(lambda params, image, side=side: whole_image(network, params, image, side=side))
        segment, compile_s[size[0]] = compile_timed(program, ready, pixels)
        own = {"jaxqc": Candidate(partial(segment, ready, pixels))}
        if args.peer != "off":
            probability = np.asarray(segment(ready, pixels))
            for name, (candidate, found) in peer_candidates(args, params, image, size).items():
                if args.dtype == "float32":
                    np.testing.assert_allclose(found, probability, rtol=1e-3, atol=1e-4, err_msg=name)
                own[name] = candidate
        for name, candidate in own.items():
            key = f"{name} at {size[0]}"
            candidates[key], of[key] = candidate, (name, size[0])
    timings = interleave(candidates, args.rounds, args.seconds)

    ceiling = ceilings(jnp.dtype(args.dtype))
    rows = []
    for key, timing in timings.items():
        name, side = of[key]
        forward = segmenter_flops(args.encoder, args.classes, side)
        more = {"model": args.encoder, "side": args.side, "input": side, "batch": args.batch, "dtype": args.dtype,
                "classes": args.classes, "attention": args.attention}  # fmt: skip
        flops = forward * args.batch if forward else None
        rows.append(result("segment", name, timing, images=args.batch, flops=flops, ceiling=ceiling, **more))
        if name == "jaxqc":
            rows[-1]["compile_s"] = compile_s[side]
    ours = [row for row in rows if row["name"] == "jaxqc"]
    for row in ours:
        row["vs_full"] = row["images_per_s"] / ours[0]["images_per_s"]
        peers = {r["name"]: r["images_per_s"] for r in rows if r["input"] == row["input"] and r is not row}
        eager = [rate for name, rate in peers.items() if name.startswith("torch eager")]
        row |= {"vs_eager": row["images_per_s"] / eager[0]} if eager else {}
        row |= {"vs_best": row["images_per_s"] / max(peers.values())} if peers and args.peer == "best" else {}
    return rows


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--encoder", choices=sorted(VITS), default="dinov2_vits14")
    parser.add_argument("--side", type=int, default=518, help="of the images")
    parser.add_argument(
        "--long-side", type=int, nargs="+", default=[0, 392, 378], help="sides to shrink them to; 0 = not"
    )
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--classes", type=int, default=40)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--attention", choices=KERNELS, default="auto")
    parser.add_argument("--peer", choices=("off", "eager", "best"), default="eager", help="PyTorch beside it: not at "
                        "all, the fastest eager setting, or also every compiled one")  # fmt: skip
    parser.add_argument("--budget", type=float, default=600, help="seconds for trying the peer's settings")
    return parser.parse_args(argv)


def main() -> None:
    args = parse()
    title = f"segmenting images of {args.side}, {args.encoder}, batch {args.batch} ({args.dtype})"
    finish(with_command(run(args)), args.json, title, COLUMNS)


if __name__ == "__main__":
    use_huge_pages()
    main()
