"""One model by each engine that is installed, in turns: from uint8 pixels to map and score on the host.

    python -m benchmarks.engines --models minet stfpm --batch 1 8 --peer-python PATH --peer best

XLA, OpenVINO and onnxruntime run the same weights through the model's own `score` or `predict`; an engine whose outputs
differ from XLA's by more than 1e-4 is named and left out. With `--peer-python`, learned detectors stand beside
anomalib's own modules as in `benchmarks.learned`, and MINet and TSCARNet beside OpenVINO on their PyTorch form (from
normalised pixels to the map at the network's size). Random weights.
"""

import argparse
import contextlib
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from benchmarks.learned import noise, peer_candidates, started
from benchmarks.lib.common import Candidate, arguments, finish, interleave, result
from benchmarks.lib.learned_candidates import MEMBERS, Member, Ours, folded
from benchmarks.lib.machine import Row
from benchmarks.lib.networks import CLASSES, MEAN, STD, chosen_config, random_variables, with_command
from benchmarks.peers.served import Served
from jaxqc.anomaly.detectors import Gaussian
from jaxqc.anomaly.detectors.base import BackboneConfig
from jaxqc.anomaly.features import apply_function
from jaxqc.anomaly.model import AnomalyModel
from jaxqc.anomaly.recipe import FitConfig, FitDataConfig
from jaxqc.anomaly.thresholds import Thresholds
from jaxqc.errors import UserError
from jaxqc.export.engines import ENGINES, XLA, installed
from jaxqc.export.engines.use import with_engine
from jaxqc.memory import use_huge_pages
from jaxqc.saliency.model import Model
from jaxqc.saliency.networks import build, network_of
from jaxqc.training.cache import enable_compilation_cache

NETWORKS = ("tscarnet", "minet", "unet")
WITH_FORM = ("tscarnet", "minet")
"""Networks of which there is a PyTorch form with the same variables."""
DEFAULT = (*NETWORKS, "gaussian", "stfpm", "fastflow", "rd4ad", "cflow", "efficient_ad", "conv_ae")
SIDES = {"network": 224, "detector": 256}
THRESHOLDS = Thresholds(1.0, 1.0, "by hand", 0.5, 1.0)
COLUMNS = ("model", "name", "batch", "images_per_s", "ms", "spread", "vs_xla", "vs_best_peer")


def network(name: str, batch: int) -> tuple[Model, dict[str, Any]]:
    """A saliency network with random variables, and these."""
    config = chosen_config(argparse.Namespace(recipe=None, model=name, dtype="float32", size=SIDES["network"],
                                              batch=batch))  # fmt: skip
    variables = random_variables(build(network_of(config.model), len(CLASSES), config.model.width))
    model = Model(variables, config, {"classes": CLASSES, "mean": MEAN, "std": STD}, batch=batch)
    model.size = SIDES["network"]
    return model, variables


def gaussian(batch: int) -> AnomalyModel:
    """A Gaussian at each place, of ResNet-18's features of noise."""
    size, member = SIDES["detector"], Member("gaussian", "resnet18")
    backbone = BackboneConfig(member.backbone, layers=member.layers)
    config = FitConfig(Gaussian(), backbone, FitDataConfig(size=size), batch=batch)
    detector: Any = config.ready
    variables = jax.tree.map(jnp.asarray, folded(member))
    embed, count = jax.jit(apply_function(backbone, detector.embed)), 32
    shapes = tuple(x.shape[1:] for x in jax.eval_shape(apply_function(backbone), variables, noise(1, size)))
    collected = detector.begin(shapes, count)
    for start in range(0, count, 8):
        images = np.random.default_rng(start).integers(0, 256, (8, size, size, 3), dtype=np.uint8)
        collected = detector.collect(collected, embed(variables, images), jnp.arange(start, start + 8))
    return AnomalyModel(config, detector.finish(collected, shapes), variables, THRESHOLDS, {})


def detector(name: str, batch: int) -> AnomalyModel:
    """A detector with random variables."""
    if name == "gaussian":
        return gaussian(batch)
    ours = Ours(MEMBERS[name], noise(batch, SIDES["detector"]))
    return AnomalyModel(ours.config, ours.state, ours.frozen_network, THRESHOLDS, {})


def ours(name: str, model: Any, images: np.ndarray) -> dict[str, Candidate]:
    """The model by XLA and by each engine that is installed and agrees."""
    found = {}
    for engine in (XLA, *filter(installed, ENGINES)):
        start = time.perf_counter()
        try:
            used = with_engine(model, engine)
        except UserError as e:
            print(f"{name}: {engine} is left out: {e}", flush=True)
            continue
        call: Callable[..., Any] = used.predict if name in NETWORKS else used.score
        call(images)
        print(f"{name}: {engine} ready in {time.perf_counter() - start:.0f} s", flush=True)
        found[f"jaxqc, {engine}"] = Candidate(partial(call, images))
    return found


def torch_form(name: str, variables: dict[str, Any], batch: int, python: str, folder: Path) -> dict[str, Candidate]:
    """OpenVINO on the network's PyTorch form, folded, with the same weights."""
    file, weights = folder / f"{name}-{batch}.xml", folder / f"{name}.npz"
    np.savez(weights, **traverse_util.flatten_dict(variables, sep="/"))
    words = ["-m", "benchmarks.peers.openvino_form", name, str(weights), str(batch), str(SIDES["network"]), str(file)]
    subprocess.run([python, *words], check=True, timeout=300)
    from openvino import Core  # type: ignore[import-not-found]

    from jaxqc.export.engines.openvino import SETTINGS

    request = Core().compile_model(str(file), "CPU", SETTINGS).create_infer_request()
    x = np.random.default_rng(0).normal(size=(batch, 3, SIDES["network"], SIDES["network"])).astype(np.float32)
    return {"OpenVINO on the PyTorch form": Candidate(lambda: request.infer([x], share_inputs=True)[0])}


def measured(args: argparse.Namespace, name: str, batch: int, peer: Served | None, folder: Path) -> list[Row]:
    """The rows of one model and batch."""
    side = SIDES["network" if name in NETWORKS else "detector"]
    images, peers = noise(batch, side), {}
    if name in NETWORKS:
        model, variables = network(name, batch)
        if args.peer_python and name in WITH_FORM and installed("openvino"):
            peers = torch_form(name, variables, batch, args.peer_python, folder)
    else:
        model = detector(name, batch)
    candidates = ours(name, model, images)
    if peer:
        np.save(folder / "images.npy", images)
        peers, _ = peer_candidates(args, peer, name, "score", folder / "images.npy")
    timings = interleave(candidates | peers, args.rounds, args.seconds)
    rows = [result("engines", row, t, images=batch, model=name, batch=batch, size=side) for row, t in timings.items()]
    rate = {row["name"]: row["images_per_s"] for row in rows}
    for row in rows[: len(candidates)]:
        row["vs_xla"] = row["images_per_s"] / rate[f"jaxqc, {XLA}"]
        row |= {"vs_best_peer": row["images_per_s"] / max(rate[other] for other in peers)} if peers else {}
    if peer:
        for kind in ("eager", "compiled"):
            peer.ask(drop=f"{name} score {kind}")
    return rows


def run(args: argparse.Namespace) -> list[Row]:
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        peers: dict[Path, Served | None] = {}
        for name in args.models:
            server = MEMBERS[name].server if name in MEMBERS and args.peer_python and args.peer != "off" else None
            if server and server not in peers:
                peers[server] = started(stack, args.peer_python, server)
            for batch in args.batch:
                rows += measured(args, name, batch, peers[server] if server else None, Path(folder))
                print(*(f"{r['model']} {r['batch']} {r['name']}: {r['images_per_s']:.1f}" for r in rows), sep="\n")
    return rows


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.set_defaults(rounds=5)
    parser.add_argument("--models", nargs="+", choices=sorted({*DEFAULT, *MEMBERS}), default=list(DEFAULT))
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--peer-python", default=None, help="interpreter of an environment that has PyTorch")
    parser.add_argument("--peer", choices=("off", "eager", "best"), default="best")
    parser.add_argument("--budget", type=float, default=90, help="seconds for trying a peer's settings, of each kind")
    args = parser.parse_args()
    enable_compilation_cache()
    finish(with_command(run(args)), args.json, "engines", COLUMNS)


if __name__ == "__main__":
    use_huge_pages()
    main()
