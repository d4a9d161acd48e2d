"""Parts that the model benchmarks share: the recipe under test, variables without a slow start, FLOPs, the device."""

import argparse
import dataclasses
import math
import shlex
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxqc.config import AugmentConfig, Phase, TrainConfig, load_config

MEAN, STD, FOREGROUND = 0.439, 0.209, 0.1
CLASSES = ("In", "Pa", "Sc")


def model_arguments(parser: argparse.ArgumentParser, batch: int) -> argparse.ArgumentParser:
    """`--recipe`, `--model`, `--batch`, `--size`, `--dtype`, `--peer`."""
    parser.add_argument("--recipe", default=None, help="a name of `jaxqc recipes`, or a path")
    parser.add_argument("--model", default=None, help="tscarnet or minet; overrides the recipe's")
    parser.add_argument("--batch", type=int, default=batch, help="global batch")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--budget", type=float, default=600, help="seconds for trying the peer's settings")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument(
        "--peer",
        choices=("off", "eager", "best"),
        default="eager",
        help="PyTorch beside it: not at all, the fastest eager setting, or also every compiled one",
    )
    return parser


def chosen_config(args: argparse.Namespace, steps_per_call: int = 1) -> TrainConfig:
    """The recipe with the flags on top, one endless phase of the asked batch and size, flips as the only augmentation
    (they are what the peer's step does too)."""
    config = load_config(args.recipe) if args.recipe else TrainConfig()
    model = dataclasses.replace(config.model, name=args.model or config.model.name, dtype=args.dtype)
    optim = dataclasses.replace(config.optim, warmup_epochs=0.0, schedule="constant")
    return dataclasses.replace(
        config,
        model=model,
        optim=optim,
        augment=AugmentConfig(),
        phases=(Phase(epochs=1e6, size=args.size, batch=args.batch),),
        steps_per_call=steps_per_call,
        backend=getattr(args, "backend", config.backend),
        devices=getattr(args, "devices", config.devices),
    )


def random_variables(module: Any, seed: int = 0, varied: bool = False, side: int = 64, **call: Any) -> dict[str, Any]:
    """Variables of the module's shapes, drawn by NumPy: a real initialisation would compile for half a minute.

    Kernels have variance 1 / fan-in; norms and scales are neutral, or with `varied` nothing at all is at a neutral
    value. side: of the image that it is called with. call: with what else (`aux=True` where nothing is given).
    """
    rng = np.random.default_rng(seed)
    call = call or {"aux": True}
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), jnp.zeros((1, side, side, 3)), **call))
    ranges = {"scale": (0.7, 1.3), "gamma": (0.4, 0.8), "var": (0.5, 1.5)}
    ranges = ranges if varied else dict.fromkeys(ranges, (1, 1))

    def draw(path: Any, leaf: Any) -> np.ndarray:
        kind = path[-1].key
        if kind == "kernel":
            return rng.normal(0, 1 / math.sqrt(math.prod(leaf.shape[:-1])), leaf.shape).astype(np.float32)
        low, high = ranges.get(kind, (-0.1, 0.1) if varied else (0, 0))
        return rng.uniform(low, high, leaf.shape).astype(np.float32)

    return dict(jax.tree_util.tree_map_with_path(draw, shapes))


def forward_flops(name: str, batch: int, size: int, aux: bool) -> float | None:
    """FLOPs (2 a multiply-add) of convolutions and products in one forward pass, counted on the peer without running
    it. A training step is taken as three forward passes. None without PyTorch.

    XLA's own count is no use here: it counts the body of a loop once, and blocks and gradients are loops.
    """
    try:
        import torch
        from torch.utils.flop_counter import FlopCounterMode
    except ImportError:
        return None
    from benchmarks.peers.convert import peer

    network = peer(name).to("meta").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.empty(1, 3, size, size, device="meta"), aux=aux)
    return float(counter.get_total_flops() * batch)


def segmenter_flops(encoder: str, classes: int, size: int) -> float | None:
    """FLOPs (2 a multiply-add) of products and convolutions in one image's forward pass through a transformer and its
    DPT head, counted on the peer without running it. None without PyTorch."""
    try:
        import torch
        from torch.utils.flop_counter import FlopCounterMode
    except ImportError:
        return None
    from benchmarks.peers.torch_semi import peer_segmenter

    network = peer_segmenter(encoder, classes).to("meta").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.empty(1, 3, size, size, device="meta"))
    return float(counter.get_total_flops())


def with_command(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each row with the command line that made it, so that a page can name it; the target file is left out, and
    another interpreter's place on this machine is `PATH`."""
    words = [f"benchmarks.{Path(sys.argv[0]).stem}", *sys.argv[1:]]
    if "--json" in words:
        at = words.index("--json")
        del words[at : at + 2]
    if "--peer-python" in words:
        words[words.index("--peer-python") + 1] = "PATH"
    return [{**row, "command": shlex.join(["python", "-m", *words])} for row in rows]


def torch_device() -> Any:
    """The peer runs where JAX runs. Raises RuntimeError where this PyTorch cannot."""
    import torch

    if jax.default_backend() == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise RuntimeError("JAX runs on a GPU but this PyTorch sees none; use --peer off")
    return torch.device("cuda")


def compared(rate: dict[str, float], best: bool) -> dict[str, str]:
    """The peer, by name and images/s, that each ratio is to: `vs_reference` and `vs_eager`, as far as there are
    such, and `vs_best`, the fastest of all, where the peers were tried at their best."""
    kinds = {"vs_reference": "torch reference", "vs_eager": "torch eager"}
    out = {key: name for key, kind in kinds.items() for name in rate if name.startswith(kind)}
    return out | ({"vs_best": max(rate, key=lambda name: rate[name])} if best and rate else {})


def ratios(rows: list[dict[str, Any]], ours: str, peers: dict[str, str]) -> None:
    """Adds to every row whose name starts with `ours` the ratio of its images/s to each peer's: key → peer's name."""
    rate = {row["name"]: row["images_per_s"] for row in rows}
    for row in rows:
        if row["name"].startswith(ours):
            row |= {key: row["images_per_s"] / rate[name] for key, name in peers.items() if name in rate}
