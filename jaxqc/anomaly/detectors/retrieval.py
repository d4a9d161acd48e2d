"""Detectors that learn what a cell is to be compared with: their settings, and the states that a fit leaves."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxtyping import Array, Bool, Float, Int

from jaxqc.anomaly.detectors.base import ASTRAY, ODD_FEATURES, BackboneConfig, TrainingConfig, check_top
from jaxqc.anomaly.learned.corrupt import TEXTURED, Corrupt
from jaxqc.config import OptimConfig
from jaxqc.errors import UserError
from jaxqc.fields import check_positive

if TYPE_CHECKING:
    from jaxqc.anomaly.retrieval.cascade import Cascading
    from jaxqc.anomaly.retrieval.neighbourhood import Neighbourly


class References(NamedTuple):
    """The heads' parameters, the words, and of each reference image histograms and descriptors."""

    params: Any
    words: Float[Array, "k c"]
    histograms: Float[Array, "n blocks k"]
    descriptors: tuple[Float[Array, "n h w d"], ...]


class PartReferences(NamedTuple):
    """`References`, with the discriminant of part and background, and the references' parts."""

    params: Any
    words: Float[Array, "k c"]
    histograms: Float[Array, "n blocks k"]
    descriptors: tuple[Float[Array, "n h w d"], ...]
    weight: Float[Array, " c"]
    offset: Float[Array, ""]
    parts: Float[Array, "n h w"]


class Neighbourhood(NamedTuple):
    """PNI's memory: patches, the word of each, the words that each place allows, and the network's parameters."""

    params: Any
    bank: Float[Array, "n d"]
    words: Int[Array, " n"]
    places: Bool[Array, "h w m"]


ADAM = OptimConfig("adamw", lr=1e-3, weight_decay=1e-2, decay="all", warmup_epochs=0.0, schedule="constant", clip=0.0)
CPR = TrainingConfig(70.0, 32, ADAM)
"""About 500 steps of 32 on 230 images, as the authors train on textures; they take 40,000 steps on objects."""
FALLING = replace(ADAM, name="adam", weight_decay=0.0, schedule="step", milestones=(0.3334, 0.6667))
PNI = TrainingConfig(15.0, 1, FALLING)
"""A step sees all cells of an image, where the authors draw 2,048 of all."""


@dataclass(frozen=True)
class Cpr:
    """CPR, cascade patch retrieval (arXiv 2308.06748): first the good images that are most alike, then in these the
    cell about the same place that is most alike, by a metric learned from synthetic defects.
    """

    words: int = 12
    """Words that the finest layer's cells are sorted into; an image is known by how often each occurs in its blocks."""
    blocks: int = 5
    """Blocks of an image along each side."""
    alike: float = 0.8
    """Share of the blocks, the most alike ones, by which images are compared: a defect may fill the others."""
    images: int = 10
    """Good images that are retrieved for each image."""
    references: int = 100
    """Good images at most that are kept to retrieve from, as different as can be; 0 = all."""
    reach: int = 1
    """Cells of the finest layer to each side of the same place that are looked at; half as many a layer on."""
    width: int = 384
    """Numbers that describe a cell."""
    corrupt: Corrupt = "texture"
    """Synthetic defects that train: as of `DistillConfig`."""
    pictures: str = ""
    """A folder of textures for `corrupt`, all of which are taken; "" = 64 generated ones."""
    foreground: bool = False
    """True: distances count by how far a cell is part and not background, which is what most of the rim shows."""
    sigma: float = 4.0
    """Standard deviation of the map's smoothing, in pixels."""
    top: float = 512.0
    """Highest pixels whose mean is the image's score; below 1 a share of all pixels."""
    training: TrainingConfig = CPR

    states = (References, PartReferences)
    advice = ASTRAY

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        self.training.check(f"{where}.training")
        numbers = {"words": self.words, "blocks": self.blocks, "images": self.images, "width": self.width}
        check_positive(numbers, where)
        check_top(self.top, where)
        if not 0 < self.alike <= 1:
            raise UserError(f"{where}: alike={self.alike!r} is a share; give more than 0 and at most 1")
        if self.corrupt == "none":
            raise UserError(f"{where}: corrupt='none': the metric learns from synthetic defects; take texture")
        if self.pictures and self.corrupt not in TEXTURED:
            raise UserError(f"{where}: pictures={self.pictures!r} does not go with corrupt={self.corrupt!r}")
        if self.references < 0 or self.reach < 0:
            raise UserError(f"{where}: references={self.references}, reach={self.reach}: neither may be negative")

    def on(self, backbone: BackboneConfig) -> "Cascading":
        """This detector for a backbone."""
        from jaxqc.anomaly.retrieval.cascade import Cascading

        return Cascading(self, backbone)


@dataclass(frozen=True)
class Pni:
    """PNI (arXiv 2211.12634): distances to the nearest patches that the neighbours and the place allow.

    A network says from a cell's 80 neighbours how likely each word is there, and a histogram over all images says so
    from its place. Without the authors' refinement, whose training data are not public.
    """

    width: int = 1024
    """Channels of a patch after merging."""
    patch: int = 5
    """Side in cells of a patch, whose mean stands for it."""
    coreset: float = 0.01
    """Share of all patches that distances are taken to."""
    words: int = 2048
    """Patches at most that name the others; the first ones of the coreset."""
    reach: int = 4
    """Cells to each side that are neighbours."""
    hidden: int = 512
    """Width of the network's nine hidden layers; the authors' 2,048 take 168 million numbers in the first alone."""
    dropout: float = 0.5
    """Share of a hidden layer's values that a training step leaves out."""
    temperature: float = 2.0
    """Divides the network's logits before they become probabilities."""
    sigma: float = 8.0
    """Standard deviation of the map's smoothing, in pixels."""
    training: TrainingConfig = PNI

    states = (Neighbourhood,)
    advice = ODD_FEATURES

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        self.training.check(f"{where}.training")
        numbers = {"width": self.width, "coreset": self.coreset, "words": self.words, "reach": self.reach}
        check_positive(numbers | {"hidden": self.hidden, "temperature": self.temperature}, where)
        if self.coreset > 1:
            raise UserError(f"{where}: coreset={self.coreset!r} is a share; give at most 1")
        if self.patch < 1 or self.patch % 2 == 0:
            raise UserError(f"{where}: patch={self.patch} must be an odd number")
        if not 0 <= self.dropout < 1:
            raise UserError(f"{where}: dropout={self.dropout!r} must be from 0 to below 1")

    def on(self, backbone: BackboneConfig) -> "Neighbourly":
        """This detector for a backbone."""
        from jaxqc.anomaly.retrieval.neighbourhood import Neighbourly

        return Neighbourly(self, backbone)


MEMBERS: dict[str, type[Cpr] | type[Pni]] = {"cpr": Cpr, "pni": Pni}
"""By the names of `jaxqc.anomaly.detectors.DETECTORS`."""
