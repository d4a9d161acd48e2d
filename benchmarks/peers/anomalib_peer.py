"""anomalib's PaDiM fit, PaDiM scoring and PatchCore coreset, served to a benchmark by a process of their own.

anomalib's requirements do not go together with this project's, so it runs under another interpreter. Of anomalib only
the modules that compute are imported, from their own files and unchanged; its packages' first files are passed over,
since they import its trainer and torchvision, which has no wheel for every build of PyTorch. The interpreter needs
`anomalib` (2.7, without its dependencies), `torch`, `numpy`, `scikit-learn`, `kornia` and `tqdm`.

Each line on standard input is a JSON request, each line on standard output its answer:

    {"prepare": NAME, "work": WORK, ...}   makes the inputs; answers with the memory held before
    {"run": NAME}                          does the work once; answers with its seconds and the peak of memory
    {"save": NAME, "out": FILE.npz}        writes the arrays that its last run made
    {"drop": NAME}                         frees what was prepared and made

A request that fails is answered with {"error": ...}.
"""

import importlib
import importlib.util
import json
import os
import sys
import time
import types
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch_resnet import ResNet, randomized  # beside this file

Arrays = dict[str, torch.Tensor]
Modules = types.SimpleNamespace


def load(name: str) -> Any:
    """A module of `anomalib.models`."""
    return importlib.import_module(f"anomalib.models.{name}")


def pass_over(components: tuple[str, ...], images: tuple[str, ...]) -> None:
    """Puts packages of anomalib's in place without running their first files: its own, and these of its components and
    image models. Raises ImportError where it is not there."""
    found = importlib.util.find_spec("anomalib")
    if found is None or not found.submodule_search_locations:
        raise ImportError("no package anomalib")
    root = Path(found.submodule_search_locations[0])
    packages = ["", ".models", ".models.components", ".models.image"]
    packages += [f".models.components.{x}" for x in components] + [f".models.image.{x}" for x in images]
    for name in packages:
        package = types.ModuleType(f"anomalib{name}")
        package.__path__ = [str(root.joinpath(*name.split(".")))]
        sys.modules[f"anomalib{name}"] = package


def anomalib_modules() -> Modules:
    """anomalib's classes that the works need. Raises ImportError where it, or what they import, is not there."""
    pass_over(("base", "stats", "filters", "sampling"), ("padim",))
    components: Any = sys.modules["anomalib.models.components"]
    base: Any = sys.modules["anomalib.models.components.base"]
    base.DynamicBufferMixin = load("components.base.dynamic_buffer").DynamicBufferMixin
    components.GaussianBlur2d = load("components.filters.blur").GaussianBlur2d
    return Modules(
        MultiVariateGaussian=load("components.stats.multi_variate_gaussian").MultiVariateGaussian,
        AnomalyMapGenerator=load("image.padim.anomaly_map").AnomalyMapGenerator,
        KCenterGreedy=load("components.sampling.k_center_greedy").KCenterGreedy,
    )


anomalib = Modules()
"""Filled by `serve`."""


def memory(field: str) -> int:
    """`VmRSS` (now) or `VmHWM` (peak) of this process in bytes."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(field))
    return int(line.split()[1]) * 1024


def gaussian(n: int, d: int, grid: int, features: str = "") -> Callable[[], Arrays]:
    """`MultiVariateGaussian.fit` of features [n d grid grid], drawn here or read from a `.npy` file [n grid*grid d].

    Gives its mean and its distances to the first two samples."""
    if features:
        x = torch.from_numpy(np.load(features)).permute(0, 2, 1).reshape(n, d, grid, grid).contiguous()
    else:
        x = torch.randn(n, d, grid, grid, generator=torch.Generator().manual_seed(0))

    def run() -> Arrays:
        mean, inverse = anomalib.MultiVariateGaussian().fit(x)
        return {"mean": mean, "distance": anomalib.AnomalyMapGenerator.compute_distance(x[:2], [mean, inverse])}

    return run


def padim(
    backbone: str, d: int, size: int, batch: int, part: str = "whole", channels_last: bool = False
) -> Callable[[], Arrays]:
    """PaDiM on normalised images, put together as in anomalib's `PadimModel.forward`: the `whole`, its `backbone`
    (layers 1 to 3, batch norm apart as there) or what comes after that (`score`)."""
    torch.manual_seed(0)
    network: Any = randomized(ResNet(backbone))
    x = torch.randn(batch, 3, size, size)
    if channels_last:
        network, x = network.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    stem = torch.nn.Sequential(network.conv1, network.bn1, torch.nn.ReLU(), torch.nn.MaxPool2d(3, 2, 1))
    generator = anomalib.AnomalyMapGenerator()
    positions = (size // 4) ** 2
    mean, inverse = (
        torch.zeros(d, positions),
        torch.eye(d).expand(positions, d, d).contiguous(),
    )  # cost is in the shapes

    def extract() -> list[torch.Tensor]:
        first = network.layer1(stem(x))
        second = network.layer2(first)
        return [first, second, network.layer3(second)]

    with torch.no_grad():
        layers = extract()
    chosen = torch.randperm(sum(y.shape[1] for y in layers))[:d]

    def score(layers: list[torch.Tensor]) -> Arrays:
        grid = layers[0].shape[-2:]
        embedding = torch.cat([layers[0], *(F.interpolate(y, size=grid, mode="nearest") for y in layers[1:])], 1)
        embedding = torch.index_select(embedding, 1, chosen)
        maps = generator(embedding=embedding, mean=mean, inv_covariance=inverse, image_size=x.shape[-2:])
        return {"map": maps, "score": maps.amax((-2, -1))}

    def run() -> Arrays:
        with torch.no_grad():
            if part == "backbone":
                return dict(zip("123", extract(), strict=True))
            return score(layers if part == "score" else extract())

    return run


def coreset(features: str, ratio: float) -> Callable[[], Arrays]:
    """`KCenterGreedy` of the rows of a `.npy` file, its own projection included. Gives the indices and its width."""
    x = torch.from_numpy(np.load(features))

    def run() -> Arrays:
        torch.manual_seed(0)
        sampler = anomalib.KCenterGreedy(x, ratio)
        chosen = sampler.select_coreset_idxs()
        return {"index": torch.tensor(chosen), "width": torch.tensor(sampler.features.shape[1])}

    return run


WORKS: dict[str, Callable[..., Callable[[], Arrays]]] = {"gaussian": gaussian, "padim": padim, "coreset": coreset}


class Server:
    """Prepared works, and their results when they ran last."""

    def __init__(self, works: dict[str, Callable[..., Callable[[], Arrays]]]) -> None:
        self.works = works
        self.prepared: dict[str, Callable[[], Arrays]] = {}
        self.made: dict[str, Arrays] = {}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        if "prepare" in request:
            name, before = request.pop("prepare"), memory("VmRSS")
            self.prepared[name] = self.works[request.pop("work")](**request)
            return {"before": before, **getattr(self.prepared[name], "about", {})}
        if "save" in request:
            arrays: dict[str, Any] = {k: v.cpu().numpy() for k, v in self.made[request["save"]].items()}
            np.savez(request["out"], **arrays)
            return {}
        if "drop" in request:
            self.made.pop(request["drop"], None)
            self.prepared.pop(request["drop"], None)
            return {}
        start = time.perf_counter()
        self.made[request["run"]] = self.prepared[request["run"]]()
        return {"seconds": time.perf_counter() - start, "peak": memory("VmHWM")}


def serve(modules: Callable[[], Modules], into: Modules, works: dict[str, Callable[..., Callable[[], Arrays]]]) -> None:
    """Answers requests for these works until standard input ends. modules: fills `into` first."""
    # Answers go where standard output went; whatever the libraries print goes to standard error.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    into.__dict__.update(modules().__dict__)
    answers.write(json.dumps({"anomalib": metadata.version("anomalib"), "torch": torch.__version__}) + "\n")
    server = Server(works)
    for line in sys.stdin:
        try:
            reply = server.answer(json.loads(line))
        except (RuntimeError, MemoryError, ValueError, OSError, ImportError) as e:
            reply = {"error": f"{type(e).__name__}: {str(e).splitlines()[0] if str(e) else ''}"[:200]}
        answers.write(json.dumps(reply) + "\n")


if __name__ == "__main__":
    serve(anomalib_modules, anomalib, WORKS)
