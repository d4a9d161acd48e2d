"""Scoring by Gaussians per position, whole and each part alone, beside anomalib's PaDiM: a part of fit.py."""

import argparse
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.backbone import folded_variables
from benchmarks.lib.common import in_turns, result
from benchmarks.lib.gaussian_fit import feature_batches, fit
from benchmarks.lib.machine import Row
from benchmarks.peers.served import Served
from jaxqc.anomaly.detectors import Gaussian
from jaxqc.anomaly.features import apply_function
from jaxqc.anomaly.recipe import BackboneConfig


def score_rows(args: argparse.Namespace, peer: Served | None) -> list[Row]:
    config, d, size, b = BackboneConfig(args.backbone), max(args.channels), args.size, args.batch
    variables = jax.tree.map(jnp.asarray, folded_variables(args.backbone))
    images = jnp.asarray(np.random.default_rng(1).integers(0, 256, (b, size, size, 3), dtype=np.uint8))
    detector = Gaussian(channels=d)
    backbone, embed = apply_function(config), apply_function(config, detector.embed)
    layers = jax.jit(backbone)(variables, images)
    about = tuple(x.shape[1:] for x in layers)
    state = fit(feature_batches(args.samples, about), args.samples, about, detector)
    calls: dict[str, Any] = {
        "whole": (lambda state, v, x: detector.score(state, embed(v, x), size), (state, variables, images)),
        "backbone": (backbone, (variables, images)),
        "score": (lambda state, layers: detector.score(state, detector.embed(layers, None), size), (state, layers)),
    }
    rows: list[Row] = []
    for part, (fn, inputs) in calls.items():
        candidates: dict[str, Any] = {f"jaxqc {part}": partial(jax.jit(fn), *inputs)}
        for last in ((False, True) if part == "whole" else (False,)) if peer else ():
            name = f"anomalib {part}{' channels_last' if last else ''}"
            about = {"backbone": args.backbone, "d": args.peer_channels, "size": size, "batch": b}
            assert peer is not None
            peer.ask(prepare=name, work="padim", part=part, channels_last=last, **about)
            candidates[name] = partial(peer.ask, run=name)
        timings = in_turns(candidates, args.rounds, args.long)
        own = [
            result("score", name, t, images=b, d=d if i == 0 else args.peer_channels, batch=b, size=size)
            for i, (name, t) in enumerate(timings.items())
        ]
        own[0]["compile_s"] = own[0]["first_call_s"] - own[0]["ms"] / 1e3
        if len(own) > 1:
            own[0]["vs_anomalib"] = own[0]["images_per_s"] / max(row["images_per_s"] for row in own[1:])
        rows += own
    return rows
