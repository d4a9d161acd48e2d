"""The recipe of `jaxqc fit`: detector, backbone, data and decision as frozen dataclasses."""

from dataclasses import dataclass, field
from typing import Any, Literal

from jaxqc.anomaly.detectors import Detector, Gaussian, PatchCore, Spade
from jaxqc.errors import UserError
from jaxqc.fields import check_positive, check_seed


@dataclass(frozen=True)
class BackboneConfig:
    """The frozen feature network."""

    name: str = "resnet50_cbam"
    """A key of `jaxqc.models.resnet.BACKBONES`."""
    weights: str = ""
    """A file (`.npz`, `.safetensors`, `.pth`) or a name that `jaxqc weights` lists; "" = that of the backbone."""
    layers: tuple[int, ...] = (1, 2, 3)
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Compute dtype of the backbone; statistics and distances stay float32."""


@dataclass(frozen=True)
class FitDataConfig:
    """Which images are fitted, and how they reach the network."""

    layout: Any = "auto"
    """As `jaxqc.config.DataConfig.layout`."""
    size: int = 224
    """Side in pixels to which images are resized."""
    crop: int = 0
    """Cut images into squares of this side first (the paper: 224 of 1,024); 0 = whole images."""
    samples: int = 0
    """Normal images to fit, drawn by the seed; 0 = all."""
    held_out: float = 0.2
    """Share of the groups of normal training images that calibrate the threshold, where the data bring none."""
    skip_bad: bool = False


@dataclass(frozen=True)
class DecisionConfig:
    """How scores become decisions."""

    threshold: Literal["quantile", "f1"] = "quantile"
    """`quantile`: of held-out normals, by `false_alarm`. `f1`: the best F1 on the defective and normal images of split
    `val`, which then must not be what is tested on."""
    false_alarm: float = 0.02
    """Share of normal images that may be called defective."""
    opening: int = 4
    """Radius in pixels of the disk that opens the mask; 0 = none."""
    smallest: int = 1
    """Pixels below which a marked region is dropped."""


@dataclass(frozen=True)
class FitConfig:
    """Everything a fit is made of, but the data's path and the folder it goes to."""

    method: Literal["gaussian", "patchcore", "spade"] = "gaussian"
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    data: FitDataConfig = field(default_factory=FitDataConfig)
    gaussian: Gaussian = field(default_factory=Gaussian)
    patchcore: PatchCore = field(default_factory=PatchCore)
    spade: Spade = field(default_factory=Spade)
    decision: DecisionConfig = field(default_factory=DecisionConfig)
    batch: int = 16
    """Images on a device at once."""
    devices: int = 0
    """Local devices to use; 0 takes all. Images are spread over them, and so are the positions of the Gaussians."""
    seed: int = 0
    """Draws `data.samples` and the held-out groups; the detectors have their own."""

    @property
    def detector(self) -> Detector:
        """The chosen detector with its settings."""
        return {"gaussian": self.gaussian, "patchcore": self.patchcore, "spade": self.spade}[self.method]

    def check(self, where: str) -> None:
        """What no single field's type tells. Raises UserError."""
        for name, seed in (("seed", self.seed), ("gaussian.seed", self.gaussian.seed)):
            check_seed(seed, where, name)
        check_seed(self.patchcore.seed, where, "patchcore.seed")
        positive = {"batch": self.batch, "data.size": self.data.size, "gaussian.eps": self.gaussian.eps}
        positive |= {"gaussian.top": self.gaussian.top, "gaussian.block": self.gaussian.block}
        positive |= {"patchcore.width": self.patchcore.width, "patchcore.coreset": self.patchcore.coreset}
        positive |= {"patchcore.neighbours": self.patchcore.neighbours, "spade.images": self.spade.images}
        check_positive(positive, where)
        for name, share in (("data.held_out", self.data.held_out), ("decision.false_alarm", self.decision.false_alarm)):
            if not 0 < share < 1:
                raise UserError(f"{where}: {name}={share!r} must be between 0 and 1")
        if self.patchcore.coreset > 1:
            raise UserError(f"{where}: patchcore.coreset={self.patchcore.coreset!r} is a share; give at most 1")
        if not self.backbone.layers or not set(self.backbone.layers) <= {1, 2, 3, 4}:
            raise UserError(f"{where}: backbone.layers={self.backbone.layers!r}; choose one or more of 1,2,3,4")
