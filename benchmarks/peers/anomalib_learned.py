"""anomalib's learned detectors at their fastest setting, served to a benchmark as `anomalib_peer` serves PaDiM.

Its torch modules, losses and maps are imported from their own files and unchanged; weights are random. A training step
is put together as in the `training_step` and `configure_optimizers` of its Lightning modules, which are not imported.
The interpreter needs `anomalib` (2.7) and `FrEIA` (0.2), both without their dependencies, `torch`, `timm`, `kornia`,
`einops`, `scipy` and `numpy`; for packages that are imported and not needed stand those of `absent`.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from absent import put_in_place  # beside this file, as the next two
from anomalib_peer import Arrays, Modules, load, pass_over, serve
from torch import Tensor, nn
from torch_resnet import randomized

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks.peers.settings import (
    Call,
    Setting,
    arrange,
    best_setting,
    compiled,
    compiling,
    inference_call,
    layout,
    synchronizer,
)

MEAN, STD = np.array((0.485, 0.456, 0.406), np.float32), np.array((0.229, 0.224, 0.225), np.float32)
anomalib = Modules()
"""Filled by `serve`."""


class InferenceBatch(NamedTuple):
    """anomalib's answer, whose own definition is among its readers of data."""

    pred_score: Any = None
    pred_label: Any = None
    anomaly_map: Any = None
    pred_mask: Any = None


def learned_modules(components: tuple[str, ...] = (), images: tuple[str, ...] = ()) -> Modules:
    """anomalib's classes that the works need. Raises ImportError where it, or what they import, is not there.

    components, images: further packages of it that are put in place without running their first files.
    """
    put_in_place()
    pass_over(components, ("stfpm", "reverse_distillation", "fastflow", "cflow", "efficient_ad", *images))
    data: Any = type(sys)("anomalib.data")
    data.InferenceBatch = InferenceBatch
    sys.modules["anomalib.data"] = data
    import timm

    create = timm.create_model
    timm.create_model = lambda name, pretrained=False, **how: create(name, pretrained=False, **how)
    package: Any = sys.modules["anomalib.models.components"]
    package.TimmFeatureExtractor = load("components.feature_extractors").TimmFeatureExtractor
    package.GaussianBlur2d = load("components.filters.blur").GaussianBlur2d
    reverse, cflow = load("image.reverse_distillation.torch_model"), load("image.cflow.torch_model")
    return Modules(
        STFPMModel=load("image.stfpm.torch_model").STFPMModel,
        STFPMLoss=load("image.stfpm.loss").STFPMLoss,
        ReverseDistillationModel=reverse.ReverseDistillationModel,
        ADD=reverse.AnomalyMapGenerationMode.ADD,
        ReverseDistillationLoss=load("image.reverse_distillation.loss").ReverseDistillationLoss,
        FastflowModel=load("image.fastflow.torch_model").FastflowModel,
        FastflowLoss=load("image.fastflow.loss").FastflowLoss,
        CflowModel=cflow.CflowModel,
        get_logp=cflow.get_logp,
        positional_encoding_2d=cflow.positional_encoding_2d,
        EfficientAdModel=load("image.efficient_ad.torch_model").EfficientAdModel,
    )


@dataclass(frozen=True)
class Learned(Setting):
    """rows: cells that CFLOW's flow takes at a time, in training also a step of its optimiser; 0 = all of a layer."""

    rows: int = 64

    @property
    def name(self) -> str:
        return super().name.replace(f" {self.mixing}", "") + ("" if self.rows == 64 else f" rows {self.rows or 'all'}")


def network_of(member: str, backbone: str, layers: list[int], size: int) -> nn.Module:
    """A member with random weights, the same at each call."""
    torch.manual_seed(0)
    names = [f"layer{i}" for i in layers]
    made: dict[str, Callable[[], nn.Module]] = {
        "stfpm": lambda: anomalib.STFPMModel(names, backbone),
        "rd4ad": lambda: anomalib.ReverseDistillationModel(backbone, (size, size), names, anomalib.ADD, False),
        "fastflow": lambda: anomalib.FastflowModel((size, size), backbone, False),
        "cflow": lambda: anomalib.CflowModel(backbone, names, False),
        "efficient_ad": anomalib.EfficientAdModel,
    }
    return made[member]()


def trainable(member: str, network: Any) -> list[nn.Parameter]:
    """The parameters that the member's optimiser is given."""
    parts = {"stfpm": ("student_model",), "rd4ad": ("bottleneck", "decoder"), "fastflow": ("fast_flow_blocks", "norms"),
             "cflow": ("decoders",), "efficient_ad": ("student", "ae")}  # fmt: skip
    return [p for part in parts[member] for p in getattr(network, part).parameters() if p.requires_grad]


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "stfpm": partial(torch.optim.SGD, lr=0.4, momentum=0.9, weight_decay=1e-3),
    "rd4ad": partial(torch.optim.Adam, lr=5e-3, betas=(0.5, 0.99)),
    "fastflow": partial(torch.optim.Adam, lr=1e-3, weight_decay=1e-5),
    "cflow": partial(torch.optim.Adam, lr=1e-4),
    "efficient_ad": partial(torch.optim.Adam, lr=1e-4, weight_decay=1e-5),
}


def loss_of(member: str, network: Any, images: Tensor) -> Tensor:
    """The loss of a batch, but for CFLOW (`cflow_step`). EfficientAD's unrelated pictures are the batch mirrored."""
    if member == "efficient_ad":
        parts = network(images, images.flip(-1))
        return parts[0] + parts[1] + parts[2]
    first, second = network(images)
    if member == "rd4ad":  # its loss takes views, which other layouts do not have
        return anomalib.ReverseDistillationLoss()([x.contiguous() for x in first], [x.contiguous() for x in second])
    return {"stfpm": anomalib.STFPMLoss, "fastflow": anomalib.FastflowLoss}[member]()(first, second)


def step_call(member: str, network: nn.Module, setting: Learned, images: Tensor) -> Call:
    """A call without arguments that does one training step and returns the loss, not waited for. Compiled before it is
    returned, where the setting says so."""
    own = arrange(network, setting, images.device).train()
    optimizer, x = OPTIMIZERS[member](trainable(member, own), fused=True), layout(images, setting)
    if member == "cflow":
        call = partial(cflow_step, own, optimizer, x, setting, compiled(partial(cell_loss, own), setting))
    else:
        objective = compiled(partial(loss_of, member, own), setting)

        def call() -> Tensor:
            optimizer.zero_grad(set_to_none=True)
            loss = objective(x)
            loss.backward()
            optimizer.step()
            return loss.detach()

    with compiling(setting):
        call()
    return call


def cell_loss(network: Any, place: int, cells: Tensor, condition: Tensor) -> Tensor:
    """The mean over cells [n c] of one layer."""
    z, det = network.decoders[place](cells, [condition])
    return -F.logsigmoid(anomalib.get_logp(cells.shape[1], z, det) / cells.shape[1]).mean()


def cflow_step(
    network: Any, optimizer: torch.optim.Optimizer, images: Tensor, setting: Learned, objective: Callable[..., Tensor]
) -> Tensor:
    """All cells of a batch once, in an order drawn anew: an optimiser's step for each so many rows."""
    total = images.new_zeros(())
    features = network.encoder(images)
    for place, name in enumerate(network.pool_layers):
        b, c, h, w = features[name].shape
        cells = features[name].permute(0, 2, 3, 1).reshape(-1, c)
        position = anomalib.positional_encoding_2d(network.condition_vector, h, w).to(images.device)
        condition = position.permute(1, 2, 0).reshape(-1, network.condition_vector).repeat(b, 1)
        for some in torch.randperm(len(cells), device=images.device).split(setting.rows or len(cells)):
            optimizer.zero_grad(set_to_none=True)
            loss = objective(place, cells[some], condition[some])
            loss.backward()
            optimizer.step()
            total += loss.detach()
    return total


def settings_of(member: str, compile: bool, train: bool) -> Iterator[Learned]:
    """Settings worth trying, cheapest to prepare first. Compiled, CFLOW scores all rows at once by itself."""
    each = ((64, 1024, 0) if train else (64, 0)) if member == "cflow" else (64,)
    for rows in each[-1:] if compile and not train else each:
        for last in (False, True):
            how = {"compile": "default", "freezing": not train} if compile else {}
            yield Learned(channels_last=last, rows=rows, **how)


@dataclass(frozen=True)
class Chosen:
    """A call in its fastest setting, and an answer to `prepare`: what it is, what was tried, parameters trained."""

    call: Callable[[], Arrays]
    about: dict[str, Any]

    def __call__(self) -> Arrays:
        return self.call()


def learned(
    member: str, backbone: str, layers: list[int], images: str, compile: bool, train: bool, budget: float,
    seconds: float, device: str,
) -> Chosen:  # fmt: skip
    """Scoring, or a training step, of the images of a `.npy` file, uint8 [n h w 3], in its fastest setting.

    budget: seconds for trying them. seconds: for timing each. Scoring gives the map [n h w] and the score [n], a step
    its loss. Raises RuntimeError where no setting runs.
    """
    pixels = np.load(images)
    network = network_of(member, backbone, layers, pixels.shape[1])
    x, sync = seen(member, pixels).to(device), synchronizer(torch.device(device))

    def prepare(setting: Setting) -> Call:
        assert isinstance(setting, Learned)
        if train:
            return step_call(member, network.to(device), setting, x)
        if member == "cflow":
            scored.fiber_batch_size = setting.rows or len(x) * x.shape[-1] ** 2
        return inference_call(scored, setting, x)

    scored: Any = None if train else randomized(network).to(device)
    lines: list[str] = []
    settings = list(settings_of(member, compile, train))
    setting, call, _ = best_setting(prepare, settings, torch.device(device), seconds, budget, lines.append)

    def run() -> Arrays:
        out = call()
        if sync:
            sync()
        return {"loss": out} if train else {"map": out.anomaly_map.reshape(x[:, 0].shape), "score": out.pred_score}

    count = sum(p.numel() for p in trainable(member, network))
    return Chosen(run, {"setting": setting.name, "tried": lines, "parameters": count})


def seen(member: str, pixels: np.ndarray) -> Tensor:
    """uint8 [n h w 3] as the member takes it [n 3 h w]: EfficientAD's networks normalise by themselves."""
    scaled = pixels.astype(np.float32) / 255
    scaled = scaled if member == "efficient_ad" else (scaled - MEAN) / STD
    return torch.from_numpy(np.ascontiguousarray(scaled.transpose(0, 3, 1, 2)))


def state(member: str, backbone: str, layers: list[int], size: int) -> Callable[[], Arrays]:
    """The random weights that `learned` scores with, by their names."""
    network = randomized(network_of(member, backbone, layers, size))
    return lambda: {name: value for name, value in network.state_dict().items() if value.numel() > 0}


if __name__ == "__main__":
    serve(learned_modules, anomalib, {"learned": learned, "state": state})
