"""Codes of images made normal, and where they were not: the settings of DSR."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxqc.anomaly.detectors.base import ASTRAY, BackboneConfig, TrainingConfig
from jaxqc.anomaly.detectors.trainings import ADAM
from jaxqc.errors import UserError
from jaxqc.fields import check_positive

if TYPE_CHECKING:
    from jaxqc.anomaly.dual.detector import DualSubspace

RATE = replace(ADAM, lr=2e-4)
CODEBOOK_TRAINING = TrainingConfig(100.0, 8, RATE)
"""Ours: the authors train codes for 200,000 steps on ImageNet."""
RESTORE_TRAINING = TrainingConfig(100.0, 8, replace(RATE, schedule="step", milestones=(0.8,)))
"""The authors' training."""
UPSAMPLE_TRAINING = TrainingConfig(50.0, 8, RATE)
"""The authors' training, half as long as that before."""


class DualNetworks(NamedTuple):
    """The trained networks.

    codebook: `params` of the VQ-VAE and its codes by `lo` and `hi`. restore: parameters of the networks that make codes
    normal, decode them and find where they were not. upsample: those of the network of the fine mask.
    """

    codebook: Any
    restore: Any
    upsample: Any


@dataclass(frozen=True)
class Dsr:
    """DSR (arXiv 2208.01521): an image's codes are made normal; two images, of the codes before and after, give a mask.

    Three trainings: `training_codebook`, `training_restore`, where codes are replaced by others far away, and
    `training`, the network of the fine mask, with painted textures. It sees the image itself:
    `--backbone.name pixels --backbone.layers 1`. A side is a multiple of 32 pixels. The authors take a codebook of
    ImageNet and photographs of textures; here textures are generated, or the pictures of a folder (`pictures`).
    """

    width: float = 1.0
    """Factor on every channel count."""
    codes: int = 4096
    """Codes of each of the two maps."""
    strength: float = 0.2
    """Least share of the codes, by distance, from which a defect's are drawn; the largest is 1."""
    pictures: str = ""
    """A folder of pictures for codebook and painted textures, all of which are taken; "" = generated textures."""
    mixed: float = 0.5
    """Share of the codebook's images that are such pictures and not good images; as published 1."""
    share: float = 0.5
    """Share of the images that get defects."""
    window: int = 21
    """Side in pixels, an odd number, of squares whose mean, at the highest, is the image's score."""
    codebook: TrainingConfig = CODEBOOK_TRAINING
    """The training of the codes."""
    restore: TrainingConfig = RESTORE_TRAINING
    """The training of the networks that make codes normal, decode them and find where they were not."""
    training: TrainingConfig = UPSAMPLE_TRAINING
    """The training of the network of the fine mask."""

    states = (DualNetworks,)
    advice = ASTRAY

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        for name in ("codebook", "restore", "training"):
            getattr(self, name).check(f"{where}.{name}")
        check_positive({"width": self.width, "share": self.share, "strength": self.strength}, where)
        for name, value in (("mixed", self.mixed), ("share", self.share), ("strength", self.strength)):
            if not 0 <= value <= 1:
                raise UserError(f"{where}: {name}={value!r} is a share; give 0 to 1")
        if self.codes < 2:
            raise UserError(f"{where}: codes={self.codes}: a defect needs another code; give 2 or more")
        if self.window < 1 or self.window % 2 == 0:
            raise UserError(f"{where}: window={self.window} must be odd")

    def on(self, backbone: BackboneConfig) -> "DualSubspace":
        """This detector for a backbone."""
        from jaxqc.anomaly.dual.detector import DualSubspace

        return DualSubspace(self, backbone)
