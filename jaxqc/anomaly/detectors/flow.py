"""Normalising flows over frozen features: their settings, one class a published system, each with its own defaults."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from jaxqc.anomaly.detectors.base import ASTRAY, BackboneConfig, TrainingConfig, check_top
from jaxqc.config import OptimConfig
from jaxqc.errors import UserError
from jaxqc.fields import check_positive

if TYPE_CHECKING:
    from jaxqc.anomaly.flow.detector import FlowDetector


Combine = Literal["likelihood", "softplus", "square", "product", "standard", "probability"]
SETTLED = ("standard", "probability")
"""Values of `FlowConfig.combine` that take a constant of each layer from held-out normal images."""


class FlowWeights(NamedTuple):
    """The trained flow: its parameters."""

    params: Any


class FlowInUnits(NamedTuple):
    """The trained flow, and a constant of each layer's map [layers]."""

    params: Any
    constants: Any


class FlowInWhite(NamedTuple):
    """The trained flow, a constant of each layer's map [layers], and each layer's whitening."""

    params: Any
    constants: Any
    whitening: Any


class FlowAndBackbone(NamedTuple):
    """The trained flow and the backbone, where a map is the gradient through both."""

    params: Any
    backbone: Any


ADAM = OptimConfig("adam", lr=1e-3, weight_decay=1e-5, decay="all", warmup_epochs=0.0, schedule="constant", clip=0.0)
"""FastFlow's authors' optimiser, of which the others' are changes."""
FASTFLOW = TrainingConfig(500.0, 32, ADAM)
CFLOW = TrainingConfig(200.0, 32, replace(ADAM, lr=2e-3, weight_decay=0.0, warmup_epochs=16.0, schedule="cosine"))
"""Ten times the authors' rate: they take a step for every 256 cells of a batch, some hundred where here is one."""
STEPS = {"warmup_epochs": 12.0, "schedule": "step", "milestones": (0.66, 0.89), "factor": 0.33}
"""Falls after 70 and 90 of 100 epochs, counted from the end of the warm-up."""
MSFLOW = TrainingConfig(100.0, 16, replace(ADAM, lr=1e-4, weight_decay=0.0, clip=2.0, **STEPS))
CSFLOW = TrainingConfig(240.0, 16, replace(ADAM, lr=2e-4, eps=1e-4, clip=1.0))
DIFFERNET = TrainingConfig(192.0, 24, replace(ADAM, lr=2e-4, beta1=0.8, beta2=0.8, eps=1e-4))


@dataclass(frozen=True)
class FlowConfig:
    """A flow that makes features of normal images a standard Gaussian: what is improbable under it is a defect."""

    coupling: Literal["one_sided", "two_sided"] = "one_sided"
    """`one_sided`: half of the channels scale and shift the others; `two_sided`: these then do so to the first."""
    blocks: tuple[int, ...] = (8,)
    """Couplings of each layer's chain, finest first; one number holds for all."""
    subnet: Literal["conv", "conv_norm", "conv_edge", "cross"] = "conv"
    """The network inside a coupling: convolutions with ReLU, with a layer norm before it, or across layers. That of
    `conv_edge` repeats the outermost cells beyond the border, and its output has a factor that starts at 0."""
    kernels: tuple[int, ...] = (3,)
    """Sides of the subnets' kernels, coupling after coupling in turn; 1 sees each cell alone."""
    depth: int = 1
    """Hidden layers of a subnet."""
    hidden: float = 1.0
    """A hidden layer's channels over those that enter the subnet."""
    width: int = 0
    """A hidden layer's channels; 0 = by `hidden`."""
    clamp: float = 2.0
    """Bound of a scale's logarithm."""
    permutation: Literal["hard", "soft"] = "hard"
    """The channels' change between couplings: another order, or a rotation."""
    condition: int = 0
    """Sines and cosines of a cell's position that enter each subnet, a multiple of 4; 0 = none."""
    together: Literal["apart", "cross", "fusion"] = "apart"
    """The layers' chains: each `apart`, all in one (`cross`), or apart and then joined by one coupling (`fusion`)."""
    norm: bool = False
    """Normalise each layer over an image's cells and channels first."""
    pool: Literal["none", "half", "mean"] = "none"
    """Average each layer first: 3x3 at every other cell, or over the whole image, all layers side by side."""
    whiten: bool = False
    """Take what enters in units of a Gaussian about its place, as `Gaussian` has it with `around` 1, so that the flow
    learns what that leaves: for parts that lie alike in all images, whose edges are no defects."""
    scales: tuple[int, ...] = (1,)
    """Divisors of the image's side, ascending: the backbone sees the image at each of these sizes."""
    turns: Literal[1, 2, 4] = 1
    """Equal turns in which the backbone sees the image, where `pool` is `mean`."""
    loss: Literal["nll", "nll_dim", "log_sigmoid"] = "nll"
    """Negative log-likelihood of an image, the same over its values, or a soft bound of each cell's."""
    cells: int = 0
    """Cells of each image and layer that a step draws, for subnets that see each cell alone; 0 = all."""
    combine: Combine = "likelihood"
    """The way from the layers to one map, z being the flow's output: mean of 1 - exp(-½ mean z²), sum of the cells'
    `log_sigmoid` losses, sum of ½ mean z², or its geometric mean. `standard`: the sum of ½ mean z², each layer's over
    its deviation on held-out normal images. `probability`: of one less each cell's density a channel over the largest
    of those; it is 0 at best and the number of layers far away, however far."""
    place: Literal["cells", "pixels"] = "cells"
    """The map where `pool` is `mean`: the features' share in the score, cell by cell, or the size of the score's
    gradient by the image's pixels, through the backbone, which the fit then keeps."""
    aligned: bool = False
    """Enlarge maps with their corner pixels aligned."""
    sigma: float = 0.0
    """Standard deviation of the map's smoothing, in pixels; 0 = none."""
    score: Literal["map", "latent"] = "map"
    """An image's score: of its map (`top`), or ½ mean z² over everything."""
    top: float = 1.0
    """Highest pixels whose mean is the image's score; below 1 a share of all pixels."""
    training: TrainingConfig = FASTFLOW

    states = (FlowWeights, FlowInUnits, FlowInWhite, FlowAndBackbone)
    advice = ASTRAY

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        self.training.check(f"{where}.training")
        check_positive({"clamp": self.clamp, "depth": self.depth, "hidden": self.hidden}, where)
        if not self.blocks or min(self.blocks) < 1:
            raise UserError(f"{where}: blocks={self.blocks!r} must be numbers of at least 1")
        if not self.kernels or any(k < 1 or k % 2 == 0 for k in self.kernels):
            raise UserError(f"{where}: kernels={self.kernels!r} must be odd numbers")
        if not self.scales or min(self.scales) < 1 or list(self.scales) != sorted(set(self.scales)):
            raise UserError(f"{where}: scales={self.scales!r} must ascend from 1 or more")
        if self.pool == "mean" and (self.score, self.together) != ("latent", "apart"):
            raise UserError(f"{where}: pool=mean needs score=latent and together=apart")
        if self.whiten and self.pool == "mean":
            raise UserError(f"{where}: whiten goes by places, and pool=mean has none; set one of them back")
        if self.place == "pixels" and self.pool != "mean":
            raise UserError(f"{where}: place=pixels needs pool=mean; or set place=cells")
        if self.turns > 1 and self.pool != "mean":
            raise UserError(f"{where}: turns={self.turns} needs pool=mean; or set turns=1")
        if self.condition % 4 or self.condition < 0:
            raise UserError(f"{where}: condition={self.condition} must be a multiple of 4")
        check_top(self.top, where)
        alone = self.kernels == (1,) and self.together == "apart" and self.subnet != "cross"
        for name, value, unset in (("loss", self.loss, "nll"), ("combine", self.combine, "likelihood")):
            if value in ("log_sigmoid", "softplus", "probability") and not alone:
                raise UserError(f"{where}: {name}={value} needs kernels=1 and together=apart; or set {name}={unset}")
        if self.cells and not alone:
            raise UserError(f"{where}: cells={self.cells} needs kernels=1 and together=apart; or set cells=0")
        if (self.together == "cross") != (self.subnet == "cross"):
            raise UserError(f"{where}: together={self.together}, subnet={self.subnet}: both or neither must be cross")
        if self.together == "cross" and (self.coupling, self.condition, self.depth) != ("two_sided", 0, 1):
            raise UserError(f"{where}: together=cross needs coupling=two_sided, condition=0 and depth=1")
        if self.together == "cross" and not self.width:
            raise UserError(f"{where}: together=cross needs a width above 0")

    def on(self, backbone: BackboneConfig) -> "FlowDetector":
        """This detector for a backbone."""
        from jaxqc.anomaly.flow.detector import FlowDetector

        return FlowDetector(self, backbone)


@dataclass(frozen=True)
class FastFlow(FlowConfig):
    """FastFlow (arXiv 2111.07677): a convolutional flow a layer, of kernels 3 and 1 in turn."""

    kernels: tuple[int, ...] = (3, 1)
    norm: bool = True


@dataclass(frozen=True)
class Cflow(FlowConfig):
    """CFLOW-AD (arXiv 2107.12571): a flow a layer that sees each cell alone, with its position.

    The layers count by their training loss, where the authors divide by the largest probability of the test set;
    `combine=probability` divides by that of held-out normal images. A step draws cells of each image, where the authors
    take all in turn: hence fewer steps, at a higher rate.
    """

    kernels: tuple[int, ...] = (1,)
    hidden: float = 2.0
    clamp: float = 1.9
    condition: int = 128
    loss: Literal["nll", "nll_dim", "log_sigmoid"] = "log_sigmoid"
    cells: int = 32
    combine: Combine = "softplus"
    aligned: bool = True
    training: TrainingConfig = CFLOW


@dataclass(frozen=True)
class MsFlow(FlowConfig):
    """MSFlow (arXiv 2308.15300): chains of convolutions that know the position, joined by a last coupling.

    The layers' distances are summed in units of their deviation on normal images, where the authors take each image's
    own lowest from its map.
    """

    blocks: tuple[int, ...] = (2, 5, 8)
    subnet: Literal["conv", "conv_norm", "conv_edge", "cross"] = "conv_norm"
    clamp: float = 1.9
    condition: int = 64
    together: Literal["apart", "cross", "fusion"] = "fusion"
    pool: Literal["none", "half", "mean"] = "half"
    combine: Combine = "standard"
    aligned: bool = True
    top: float = 0.03
    training: TrainingConfig = MSFLOW


@dataclass(frozen=True)
class CsFlow(FlowConfig):
    """CS-Flow (arXiv 2110.02855): one chain over the image at three sizes, whose subnets cross between them.

    Made for one deep layer of EfficientNet-B5 at 768 pixels.
    """

    coupling: Literal["one_sided", "two_sided"] = "two_sided"
    blocks: tuple[int, ...] = (4,)
    subnet: Literal["conv", "conv_norm", "conv_edge", "cross"] = "cross"
    kernels: tuple[int, ...] = (3, 3, 3, 5)
    width: int = 1024
    clamp: float = 3.0
    together: Literal["apart", "cross", "fusion"] = "cross"
    scales: tuple[int, ...] = (1, 2, 4)
    loss: Literal["nll", "nll_dim", "log_sigmoid"] = "nll_dim"
    combine: Combine = "product"
    score: Literal["map", "latent"] = "latent"
    training: TrainingConfig = CSFLOW


@dataclass(frozen=True)
class DifferNet(FlowConfig):
    """DifferNet (arXiv 2008.12577): a flow of the whole image's mean features at three sizes.

    Made for AlexNet's last convolution at 448 pixels. The authors turn an image 64 times; four quarter turns need no
    interpolation. The map is the features' share in the score, since a score of means has no place; with `place=pixels`
    it is the gradient's, as theirs.
    """

    coupling: Literal["one_sided", "two_sided"] = "two_sided"
    kernels: tuple[int, ...] = (1,)
    depth: int = 3
    width: int = 2048
    clamp: float = 3.0
    pool: Literal["none", "half", "mean"] = "mean"
    scales: tuple[int, ...] = (1, 2, 4)
    turns: Literal[1, 2, 4] = 4
    loss: Literal["nll", "nll_dim", "log_sigmoid"] = "nll_dim"
    score: Literal["map", "latent"] = "latent"
    training: TrainingConfig = DIFFERNET


MEMBERS: dict[str, type[FlowConfig]] = {
    "fastflow": FastFlow,
    "cflow": Cflow,
    "msflow": MsFlow,
    "cs_flow": CsFlow,
    "differnet": DifferNet,
}
"""By the names of `jaxqc.anomaly.detectors.DETECTORS`."""
