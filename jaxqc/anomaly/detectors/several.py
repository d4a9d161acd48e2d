"""Autoencoders of the image with several outputs: the settings of the family, and its published members."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from jaxqc.anomaly.detectors.base import ASTRAY, BackboneConfig, TrainingConfig, check_top
from jaxqc.anomaly.detectors.trainings import ADAM
from jaxqc.errors import UserError
from jaxqc.fields import check_positive

if TYPE_CHECKING:
    from jaxqc.anomaly.several.detector import Several

Outputs = Literal["scales", "depths", "parts"]
SEVERAL_TRAINING = TrainingConfig(200.0, 16, replace(ADAM, lr=1e-3))
"""Ours: the published layers and trainings could not be looked up."""


class SeveralNetwork(NamedTuple):
    """The trained network: its parameters, batch norm folded."""

    params: Any


class SettledNetwork(NamedTuple):
    """The same with mean and deviation of each scale's differences on good images [n]."""

    params: Any
    mean: Any
    deviation: Any


@dataclass(frozen=True)
class SeveralConfig:
    """An autoencoder of `width` channels, doubled at each of `depth` steps, with several outputs.

    It sees the image itself: `--backbone.name pixels --backbone.layers 1`.
    """

    outputs: Outputs = "scales"
    """`scales`: an autoencoder for each of `count` sizes of the image, halved from one to the next; a pixel counts
    where two neighbouring sizes find it odd. `depths`: a decoder for each of the last `count` maps of one encoder,
    whose differences add up, and a code near one of `clusters`. `parts`: a decoder of the texture, and one of what
    painted defects add to it, which is the map."""
    width: int = 32
    """Channels of the first step."""
    depth: int = 4
    """Steps, each of which halves the sides."""
    count: int = 3
    """Sizes of `scales`, or decoders of `depths`."""
    noise: float = 0.1
    """Deviation of the noise in what `scales` see in training, where white is 1."""
    clusters: int = 10
    """Centres of the codes of `depths`."""
    cluster: float = 0.1
    """Weight of the distance of their assignments from sharpened ones."""
    share: float = 0.5
    """Share of the images that get painted textures, of `parts`."""
    pictures: str = ""
    """A folder of textures, whose pictures are all taken, of `parts`; "" = generated ones."""
    sigma: float = 0.0
    """Standard deviation of the map's smoothing, in pixels; 0 = none."""
    top: float = 1.0
    """Highest pixels whose mean is the image's score; below 1 a share of all pixels."""
    training: TrainingConfig = SEVERAL_TRAINING

    states = (SeveralNetwork, SettledNetwork)
    advice = ASTRAY

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        self.training.check(f"{where}.training")
        check_top(self.top, where)
        names = ("width", "depth", "count", "clusters", "share")
        check_positive({name: getattr(self, name) for name in names}, where)
        if self.share > 1:
            raise UserError(f"{where}: share={self.share!r} is a share; give at most 1")
        if self.noise < 0 or self.cluster < 0:
            raise UserError(f"{where}: noise={self.noise!r}, cluster={self.cluster!r}: give at least 0")
        if self.outputs == "scales" and self.count < 2:
            raise UserError(f"{where}: count={self.count}: neighbouring sizes are compared; give 2 or more")
        if self.outputs == "depths" and self.count > self.depth:
            raise UserError(f"{where}: count={self.count}: the encoder has {self.depth} steps; give no more")
        if self.pictures and self.outputs != "parts":
            raise UserError(f"{where}: pictures={self.pictures!r}: outputs={self.outputs} shows none; leave it out")

    @property
    def multiple(self) -> int:
        """Pixels of which a side must be a multiple.

        Examples:
          >>> SeveralConfig().multiple, Acdn().multiple
          (64, 16)
        """
        return 2 ** (self.depth + (self.count - 1 if self.outputs == "scales" else 0))

    def on(self, backbone: BackboneConfig) -> "Several":
        """This detector for a backbone."""
        from jaxqc.anomaly.several.detector import Several

        return Several(self, backbone)


@dataclass(frozen=True)
class Mscdae(SeveralConfig):
    """MSCDAE (Mei et al., 2018): denoising autoencoders at three sizes, whose maps are compared pairwise.

    The authors' maps are 0 or 1 by a threshold a size; here they are in deviations of good images, and the smaller of
    two neighbours counts. Their layers could not be looked up. A side is a multiple of 64 pixels.
    """


@dataclass(frozen=True)
class MsFcae(SeveralConfig):
    """MS-FCAE (Yang et al., 2020): decoders of three depths of one encoder, whose codes gather about centres.

    The authors' layers could not be looked up. A side is a multiple of 16 pixels.
    """

    outputs: Outputs = "depths"


@dataclass(frozen=True)
class Acdn(SeveralConfig):
    """ACDN: painted defects and the texture below them, taken apart by two decoders. A side is a multiple of 16 pixels.

    No public code of it was found.
    """

    outputs: Outputs = "parts"


MEMBERS: dict[str, type[SeveralConfig]] = {"mscdae": Mscdae, "ms_fcae": MsFcae, "acdn": Acdn}
"""By the names of `jaxqc.anomaly.detectors.DETECTORS`."""
