"""A frozen backbone's inference at batch 1 and a larger one, beside PyTorch in its fastest setting.

    python -m benchmarks.backbone --model resnet50 --batch 16 --peer best --json build/bench/backbone.jsonl

Both compute the layers asked for (1 to 3, as the detectors use them) and nothing beyond, with the same weights, batch
norm folded; outputs are compared before anything is timed.
"""

import os

os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.45")  # the other half of a GPU is the peer's

import argparse
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.lib.common import Candidate, arguments, ceilings, finish, interleave, result
from benchmarks.lib.machine import Row
from benchmarks.lib.networks import compared, random_variables, ratios, torch_device, with_command
from jaxqc.anomaly.features import by_halves
from jaxqc.memory import use_huge_pages
from jaxqc.models.resnet import BACKBONES, build_backbone
from jaxqc.nn.fold import fold_batch_norm

COLUMNS = ("name", "batch", "dtype", "images_per_s", "ms", "spread", "mfu", "compile_s", "vs_eager", "vs_best")


def folded_variables(name: str, layers: tuple[int, ...] = (1, 2, 3)) -> dict[str, Any]:
    """Random variables of a backbone, batch norm folded in."""
    return fold_batch_norm(random_variables(build_backbone(name, layers), train=False))


def peer_candidates(
    args: argparse.Namespace, x: np.ndarray
) -> tuple[dict[str, Any], dict[str, Candidate], dict[str, np.ndarray], float]:
    """Our variables with the peer's weights, its candidates, its outputs [n h w c] and its FLOPs a call."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from benchmarks.peers.resnet_call import Layers, resnet_call, resnet_settings
    from benchmarks.peers.settings import fastest_of_each, library_switches, synchronizer
    from benchmarks.peers.torch_resnet import ResNet, randomized
    from jaxqc.models.pretrained import convert_state

    library_switches()
    device = torch_device()
    whole = randomized(ResNet(args.model))
    variables, _ = convert_state({k: v.numpy() for k, v in whole.state_dict().items()}, args.model, head=True)
    network, pixels = Layers(whole, max(args.layers)).eval(), torch.from_numpy(x).permute(0, 3, 1, 2).to(device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        outputs = network.to(device)(pixels)
    settings = resnet_settings(args.dtype == "bfloat16", compiled=args.peer == "best")
    out = {}
    for group, setting, call, _ in fastest_of_each(
        partial(resnet_call, network, x=pixels), settings, device, args.budget
    ):
        out[f"{group}: {setting.name.replace(' loop', '')}"] = Candidate(call, synchronizer(device))
    arrays = {f"layer{i + 1}": y.permute(0, 2, 3, 1).cpu().numpy() for i, y in enumerate(outputs)}
    return dict(variables), out, arrays, float(counter.get_total_flops())


def measure(args: argparse.Namespace, batch: int) -> list[Row]:
    x = np.random.default_rng(batch).standard_normal((batch, args.size, args.size, 3), np.float32)
    variables, peers, expected, flops = {}, {}, {}, None
    layers = tuple(args.layers)
    if args.peer != "off":
        variables, peers, expected, flops = peer_candidates(args, x)
        variables = fold_batch_norm(variables)
    else:
        variables = folded_variables(args.model, layers)
    network = build_backbone(args.model, layers, dtype=args.dtype, folded=True)
    call = jax.jit(by_halves(network.apply))
    on_device, image = jax.tree.map(jnp.asarray, variables), jnp.asarray(x)
    outputs: Any = call(on_device, image)
    for key in outputs.keys() & expected.keys() if args.dtype == "float32" else ():
        np.testing.assert_allclose(outputs[key], expected[key], rtol=1e-3, atol=1e-3, err_msg=key)
    jax.clear_caches()
    timings = interleave({"jaxqc folded": lambda: call(on_device, image), **peers}, args.rounds, args.seconds)
    more = {"model": args.model, "batch": batch, "size": args.size, "dtype": args.dtype, "layers": layers}
    ceiling = ceilings(jnp.dtype(args.dtype)) if flops else None
    rows = [
        result("backbone", name, timing, images=batch, flops=flops, ceiling=ceiling, **more)
        for name, timing in timings.items()
    ]
    rows[0]["compile_s"] = rows[0]["first_call_s"] - rows[0]["ms"] / 1e3
    rate = {row["name"]: row["images_per_s"] for row in rows[1:]}
    ratios(rows, "jaxqc", compared(rate, args.peer == "best"))
    return rows


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--model", choices=sorted(BACKBONES), default="resnet50")
    parser.add_argument("--layers", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--peer", choices=("off", "eager", "best"), default="eager")
    parser.add_argument("--budget", type=float, default=600, help="seconds for trying the peer's settings")
    args = parser.parse_args()
    rows = [row for batch in dict.fromkeys([1, args.batch]) for row in measure(args, batch)]
    finish(with_command(rows), args.json, f"{args.model} at {args.size} ({args.dtype})", COLUMNS)


if __name__ == "__main__":
    use_huge_pages()
    main()
