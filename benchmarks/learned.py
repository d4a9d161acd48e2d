"""Learned detectors beside anomalib 2.7's own modules, in turns: from images to map and score, and a training step.

    python -m benchmarks.learned --peer-python PATH --peer best --json build/bench/learned.jsonl
    python -m benchmarks.learned --savings       # what each of our exact savings brings

`score`: normalised images (ours: uint8 ones) to maps and scores. `step, images`: the loop's own step on a batch that
lies on the device. `step, features`: the same from the frozen network's cached features; anomalib has no such cache, so
its step from images is what both are compared with. Detectors of images have no such features. Random weights; maps
of members that are defined alike on both sides are compared on shared ones. The peer runs under another interpreter
(`peers/anomalib_learned.py`, and `peers/anomalib_images.py` for detectors of images), in its fastest setting of eager,
channels_last and, with `--peer best`, torch.compile.
"""

import os

os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.45")  # the other half of a GPU is the peer's

import argparse
import contextlib
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.lib import image_weights
from benchmarks.lib.common import Candidate, arguments, finish, interleave, result
from benchmarks.lib.learned_candidates import MEMBERS, Ours
from benchmarks.lib.learned_savings import savings_rows
from benchmarks.lib.learned_weights import NAMES, RIMS, difference, shared
from benchmarks.lib.machine import Row
from benchmarks.lib.networks import compared, ratios, with_command
from benchmarks.peers.served import PeerError, Served
from jaxqc.anomaly.learned.cache import Cache
from jaxqc.memory import use_huge_pages

WORKS = ("score", "step")
DEFAULT = ("stfpm", "rd4ad", "fastflow", "cflow", "efficient_ad")
MOST = 1e-3
"""Largest difference of two sides' maps, as a share of the largest value, at which they do the same work."""
COLUMNS = {
    "learned": ("model", "name", "batch", "images_per_s", "ms", "spread", "compile_s", "parameters", "vs_eager",
                "vs_best", "map_difference"),
    "learned-savings": ("name", "model", "work", "batch", "ms", "without_ms", "brings", "difference", "note"),
}  # fmt: skip


def noise(batch: int, size: int) -> np.ndarray:
    """Images uint8 [b size size 3]."""
    return np.random.default_rng(batch).integers(0, 256, (batch, size, size, 3), dtype=np.uint8)


def peer_candidates(
    args: argparse.Namespace, peer: Served, name: str, work: str, images: Path
) -> tuple[dict[str, Candidate], dict[str, int]]:
    """The peer's fastest eager setting and, where it is to be at its best, its fastest compiled one, by a row's name;
    and the numbers it trains. A kind of which no setting runs is named and left out."""
    member, out, parameters = MEMBERS[name], {}, {}
    for kind in ("eager", "compiled") if args.peer == "best" else ("eager",):
        label = f"{name} {work} {kind}"
        start = time.perf_counter()
        try:
            about = peer.ask(
                prepare=label, work="learned", member=member.detector, backbone=member.backbone, layers=member.layers,
                images=str(images), compile=kind == "compiled", train=work == "step", budget=args.budget,
                seconds=args.seconds, device="cpu" if jax.default_backend() == "cpu" else "cuda",
            )  # fmt: skip
        except PeerError as e:
            print(f"anomalib's {label} is left out: {e}", flush=True)
            continue
        print(
            f"anomalib's {label}, tried in {time.perf_counter() - start:.0f} s:", *about["tried"], sep="\n", flush=True
        )
        row = f"torch {kind}: anomalib {work}, {about['setting']}"
        out[row], parameters[row] = Candidate(partial(peer.ask, run=label)), about["parameters"]
    return out, parameters


def map_difference(peer: Served, name: str, ours: Ours, size: int, folder: Path) -> float | None:
    """The largest difference of both sides' maps with the peer's weights; None where the maps are not defined alike."""
    member, file = MEMBERS[name], folder / "arrays.npz"
    named = image_weights.NAMES if member.sees_pixels else NAMES
    if member.detector not in named or member.backbone.startswith("wide"):  # anomalib's wide embedding is narrow
        return None
    try:
        peer.ask(prepare="state", work="state", member=member.detector, backbone=member.backbone, layers=member.layers,
                 size=size)  # fmt: skip
        peer.ask(run="state")
        peer.ask(save="state", out=str(file))
    finally:
        peer.ask(drop="state")
    arrays = np.load(file)
    if member.sees_pixels:
        state, frozen = image_weights.shared_state(ours, arrays), ours.frozen_network
    else:
        state, frozen = shared(member, ours, arrays)
    maps, _ = ours.scores(jax.tree.map(jnp.asarray, state), jax.tree.map(jnp.asarray, frozen), jnp.asarray(ours.images))
    peer.ask(save=f"{name} score eager", out=str(file))
    apart = difference(np.asarray(maps), np.load(file)["map"], RIMS.get(member.detector, 0))
    print(f"{name}: maps differ by {apart:.1e} of the largest value", flush=True)
    return apart


def measured(args: argparse.Namespace, peer: Served | None, name: str, batch: int, folder: Path) -> list[Row]:
    """The rows of one member and batch."""
    images = noise(batch, args.size)
    np.save(folder / "images.npy", images)
    ours, rows, member = Ours(MEMBERS[name], images, args.dtype), [], MEMBERS[name]
    for work in args.work:
        if work == "step" and member.batches and batch not in member.batches:
            print(f"{name}: no training step at batch {batch}", flush=True)
            continue
        if work == "score":
            candidates, keys = {"jaxqc score": ours.score()}, {"jaxqc score": "score"}
        else:
            caches: dict[str, Cache] = {"jaxqc step, images": "none", "jaxqc step, features": "float32"}
            caches = {row: cache for row, cache in caches.items() if cache == "none" or not member.sees_pixels}
            candidates, keys = {row: ours.step(cache) for row, cache in caches.items()}, dict(caches)
        parameters = dict.fromkeys(candidates, ours.parameters)
        peers: dict[str, Candidate] = {}
        if peer:
            peers, theirs = peer_candidates(args, peer, name, work, folder / "images.npy")
            parameters |= theirs
        timings = interleave(candidates | peers, args.rounds, args.seconds)
        more: Row = {"model": name, "batch": batch, "size": args.size, "dtype": args.dtype}
        own = [
            result("learned", row, t, images=batch, parameters=parameters[row], **more) for row, t in timings.items()
        ]
        for row in own[: len(candidates)]:
            row["compile_s"] = ours.compile_s[keys[row["name"]]]
        rate, apart = {row["name"]: row["images_per_s"] for row in own if row["name"] in peers}, None
        if peer and work == "score" and args.dtype == "float32" and any("eager" in row for row in peers):
            apart = map_difference(peer, name, ours, args.size, folder)
            own[0] |= {} if apart is None else {"map_difference": apart}
        if apart is None or apart <= MOST:
            ratios(own, "jaxqc", compared(rate, args.peer == "best"))
        else:
            print(f"{name}: not the same work, so no ratio is given", flush=True)
        if peer:
            for kind in ("eager", "compiled"):
                peer.ask(drop=f"{name} {work} {kind}")
        rows += own
    return rows


def run(args: argparse.Namespace) -> dict[str, list[Row]]:
    """Rows by benchmark. Without a peer, or where it cannot start, ours alone are measured and a line says so."""
    # A cached program would hide what compiling costs.
    jax.config.update("jax_enable_compilation_cache", False)
    if args.savings:
        return {
            "learned-savings": savings_rows(args.savings, noise, args.size, max(args.batch), args.rounds, args.seconds)
        }
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        peers: dict[Path, Served | None] = {}
        if not args.peer_python or args.peer == "off":
            print("anomalib is left out: no --peer-python")
        rows: list[Row] = []
        for name in args.members:
            peer = None
            if args.peer_python and args.peer != "off":
                server = MEMBERS[name].server
                if server not in peers:
                    peers[server] = started(stack, args.peer_python, server)
                peer = peers[server]
            for batch in args.batch:
                start = time.perf_counter()
                own = measured(args, peer, name, batch, Path(folder))
                rows += [row | ({"peer": peer.versions} if peer else {}) for row in own]
                print(f"{name}, batch {batch}: {time.perf_counter() - start:.0f} s", flush=True)
        return {"learned": rows}


def started(stack: contextlib.ExitStack, python: str, server: Path) -> Served | None:
    """The peer's process, until the stack is left; None, and a line that says so, where it cannot start."""
    try:
        return stack.enter_context(Served(python, server))
    except PeerError as e:
        print(f"anomalib is left out: {e}")
        return None


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = arguments(__doc__.splitlines()[0])
    parser.set_defaults(rounds=5)
    parser.add_argument("--members", nargs="+", choices=sorted(MEMBERS), default=list(DEFAULT))
    parser.add_argument("--work", nargs="+", choices=WORKS, default=list(WORKS))
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="of our frozen network")
    parser.add_argument("--peer-python", default=None, help="interpreter of an environment that has anomalib")
    parser.add_argument("--peer", choices=("off", "eager", "best"), default="eager")
    parser.add_argument("--budget", type=float, default=120, help="seconds for trying a peer's settings, of each kind")
    parser.add_argument("--savings", nargs="*", choices=tuple("abcdefgh"), default=None, help="instead of all that: "
                        "what our exact savings bring, or those named")  # fmt: skip
    args = parser.parse_args(words)
    args.savings = list("abcdefgh") if args.savings == [] else args.savings
    return args


def main() -> None:
    args = parse()
    for benchmark, rows in run(args).items():
        finish(with_command(rows), args.json, f"{benchmark} at {args.size} ({args.dtype})", COLUMNS[benchmark])


if __name__ == "__main__":
    use_huge_pages()
    main()
