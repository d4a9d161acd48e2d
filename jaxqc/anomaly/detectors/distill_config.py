"""The config of every distillation: a student that imitates a frozen teacher."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from jaxqc.anomaly.detectors.base import ASTRAY, BackboneConfig, TrainingConfig, check_top
from jaxqc.anomaly.detectors.trainings import STFPM_TRAINING
from jaxqc.anomaly.learned.corrupt import TEXTURED, Corrupt
from jaxqc.anomaly.learned.discrepancy import Kind, MapKind
from jaxqc.anomaly.learned.fuse import How
from jaxqc.anomaly.learned.weigh import Weigh
from jaxqc.errors import UserError
from jaxqc.fields import check_positive

if TYPE_CHECKING:
    from jaxqc.anomaly.distillation.described import Described
    from jaxqc.anomaly.distillation.ensemble import Ensembled
    from jaxqc.anomaly.distillation.score import Distilled
    from jaxqc.anomaly.distillation.segmented import Segmented

StudentKind = Literal[
    "mirror",
    "reverse",
    "projected",
    "cloner",
    "full_cloner",
    "linear_vit",
    "prototype_vit",
    "pdn",
    "ensemble",
    "denoising",
]
Shown = Literal[MapKind, "gradient"]

MARRED = ("projected", "denoising")
"""Students that learn from an image and from the same one with synthetic defects."""


@dataclass(frozen=True)
class DistillConfig:
    """A student that imitates a frozen teacher, the backbone, on normal images; where it fails, something is wrong."""

    student: StudentKind = "mirror"
    """`mirror`: a network of the teacher's architecture, which sees the image. `reverse`: an embedding of the teacher's
    features and a mirrored decoder. `projected`: the same behind projections of the features, which learn to keep what
    noise in the image changes little. `cloner`: a thin network of VGG16's grids, or a `full_cloner` of its channels.
    `linear_vit`: a decoder of a transformer's tokens, from their mean; `prototype_vit`: from few prototypes of them.
    `pdn`: a network of descriptions beside an autoencoder, whose loss and maps are its own; fields but `sigma` and
    `top` do not act on it. `ensemble`: several networks of descriptions; so it is of it, but for `copies`.
    `denoising`: a network that sees synthetic defects and gives the features without, and a head that finds these; so
    it is of it, but for `corrupt` and `alone`."""
    copies: int = 3
    """Students of each teacher in an `ensemble`."""
    recentre: bool = False
    """A transformer's tokens: patches alone, without what their class token says."""
    distance: Kind = "unit_l2"
    """The distance that is trained, summed over layers (`jaxqc.anomaly.learned.discrepancy`)."""
    values: float = 0.0
    """Weight of the features' mean squared error beside it."""
    own: float = 0.0
    """Weight of the loss that a `prototype_vit` has of its own: of tokens that are far from every prototype."""
    weigh: Weigh = "none"
    """Weights on the gradient of a cell: `loose` takes a tenth of those that are imitated well already; `adaptive` goes
    by the cube of the distance; `margin` lowers the distance of normal cells and raises that of synthetic defects, most
    where it is wrong most."""
    corrupt: Corrupt = "none"
    """Synthetic defects in the images that train: rectangles of white noise (`patches`), areas under another `texture`,
    a box of `fractal` noise, or another of `jaxqc.anomaly.learned.corrupt`."""
    pictures: str = ""
    """A folder of pictures of anything else, all of which are taken: textures for `corrupt`, or those that a `pdn`
    student must not imitate. "" = 64 generated ones. They are held in memory, three bytes a pixel of `data.size`."""
    alone: float = 0.2
    """Share of the training in which a `denoising` student learns alone; then its head does."""
    easy: float = 0.9
    """Share of a batch's cells that `loose` takes for such, reached after 1,000 steps."""
    map: Shown = "unit_l2"
    """The distance that makes the map, or the size of the loss's `gradient` by the image's pixels."""
    fuse: How = "product"
    """The way from the layers' maps to one: `product`, large where all differ, `sum` or `mean`, where any does. With
    `mean` so is the loss."""
    aligned: bool = False
    """True: maps are enlarged with corner pixels aligned; else with centres half a pixel in."""
    sigma: float = 0.0
    """Standard deviation of the map's smoothing, in pixels; 0 = none."""
    score: Literal["map", "loss"] = "map"
    """An image's score: of its map (`top`), or the `loss` of all layers but the finest."""
    top: float = 1.0
    """Highest pixels whose mean is the image's score; below 1 a share of all pixels."""
    training: TrainingConfig = STFPM_TRAINING

    advice = ASTRAY

    @property
    def states(self) -> tuple[type, ...]:
        """The named tuples that a training may give."""
        return self.on(BackboneConfig()).states

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        self.training.check(f"{where}.training")
        check_positive({"copies": self.copies}, where)
        for name, value in (("values", self.values), ("own", self.own)):
            if not value >= 0:
                raise UserError(f"{where}: {name}={value!r} is a weight; give 0 or more")
        check_top(self.top, where)
        if (self.weigh == "margin" or self.student in MARRED) != (self.corrupt != "none"):
            what = f"student={self.student!r}, weigh={self.weigh!r}"
            raise UserError(f"{where}: {what} does not go with corrupt={self.corrupt!r}")
        if self.weigh == "margin" and self.training.cache != "none":
            raise UserError(f"{where}: training.cache={self.training.cache!r}: no image stays as it is; set it to none")
        if self.weigh == "margin" and (self.values or self.student in MARRED):
            what = f"student={self.student!r}, values={self.values!r}"
            raise UserError(f"{where}: weigh='margin' is the whole loss and leaves out {what}; set weigh to none")
        if self.own and self.student != "prototype_vit":
            raise UserError(f"{where}: own={self.own!r}: student={self.student!r} has no loss of its own; set own to 0")
        if self.pictures and self.corrupt not in TEXTURED and self.student != "pdn":
            what = f"student={self.student!r}, corrupt={self.corrupt!r}"
            raise UserError(f"{where}: pictures={self.pictures!r}: {what} shows none; leave it out")
        for name, share in (("easy", self.easy), ("alone", self.alone)):
            if not 0 <= share < 1:
                raise UserError(f"{where}: {name}={share!r} is a share; give at least 0 and less than 1")

    def on(self, backbone: BackboneConfig) -> "Distilled | Described | Ensembled | Segmented":
        """This detector for a backbone."""
        from jaxqc.anomaly.distillation.pairs import PAIRS

        return PAIRS[self.student](self, backbone)
