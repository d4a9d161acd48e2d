"""PatchCore's greedy choice beside anomalib's, on equal rows: a part of fit.py."""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.lib.common import in_turns, result
from benchmarks.lib.machine import Row
from benchmarks.peers.served import Served
from jaxqc.anomaly.ops.coreset import greedy_coreset, project
from jaxqc.anomaly.ops.neighbours import nearest


def patches(n: int, width: int) -> np.ndarray:
    """Rows with the structure of patch features: clumps of differing spread within a few dozen directions."""
    rng = np.random.default_rng(2)
    clump = rng.integers(0, 40, n)
    inner = 3 * rng.standard_normal((40, 24))[clump] + rng.gamma(2, 1, (n, 1)) * rng.standard_normal((n, 24))
    outer = inner @ rng.standard_normal((24, width)) / 5
    return (outer + 0.1 * rng.standard_normal((n, width))).astype(np.float32)


def radius(x: np.ndarray, chosen: np.ndarray) -> float:
    """The largest distance from a row to its nearest chosen one: what a coreset makes small."""
    return float(nearest(jnp.asarray(x), jnp.asarray(x[chosen]))[0].max())


def coreset_rows(args: argparse.Namespace, peer: Served | None, folder: Path) -> list[Row]:
    n, kept = args.samples * min(args.grids) ** 2, args.kept
    x = patches(n, args.width)
    if args.patch_file:
        x = np.load(args.patch_file)
        n = len(x)
    count, device = max(1, int(kept * n)), jnp.asarray(x)

    def ours(width: int) -> jax.Array:
        return greedy_coreset(project(jax.random.key(0), device, width), count, 0)

    candidates: dict[str, Callable[[], Any]] = {"jaxqc": lambda: ours(128)}
    if peer:
        np.save(folder / "patches.npy", x)
        peer.ask(prepare="coreset", work="coreset", features=str(folder / "patches.npy"), ratio=kept)
        candidates["anomalib"] = partial(peer.ask, run="coreset")
        theirs_width = int(4 * np.log(n) / (0.9**2 / 2 - 0.9**3 / 3))  # its eps .9, Johnson and Lindenstrauss
        candidates["jaxqc, anomalib's width"] = lambda: ours(theirs_width)
    timings = in_turns(candidates, args.rounds, args.long)
    rows = [result("coreset", name, t, images=args.samples, n=n, width=128, kept=count) for name, t in timings.items()]
    for row in rows:
        if row["name"] == "anomalib":
            assert peer is not None
            peer.ask(save="coreset", out=str(folder / "chosen.npz"))
            out = np.load(folder / "chosen.npz")
            row |= {"width": int(out["width"]), "radius": radius(x, out["index"])}
        else:
            row["width"] = 128 if row["name"] == "jaxqc" else theirs_width
            row |= {
                "compile_s": row["first_call_s"] - row["ms"] / 1e3,
                "radius": radius(x, np.asarray(ours(row["width"]))),
            }
    theirs = [row["ms"] for row in rows if row["name"] == "anomalib"]
    for row in rows:
        if theirs and row["name"] != "anomalib":
            row["vs_anomalib"] = theirs[0] / row["ms"]
    return rows
