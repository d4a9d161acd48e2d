"""The config of every distillation, and its members: values with other defaults, by the names of `DETECTORS`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from jaxqc.anomaly.detectors.base import ASTRAY, BackboneConfig, TrainingConfig, check_top
from jaxqc.anomaly.detectors.trainings import (
    CDO_TRAINING,
    DESTSEG_TRAINING,
    DINOMALY_TRAINING,
    EFFICIENT_AD_TRAINING,
    INP_FORMER_TRAINING,
    RD4AD_TRAINING,
    SALEHI_TRAINING,
    STFPM_TRAINING,
    UNINFORMED_TRAINING,
)
from jaxqc.anomaly.learned.corrupt import Corrupt
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
        for name, share in (("easy", self.easy), ("alone", self.alone)):
            if not 0 <= share < 1:
                raise UserError(f"{where}: {name}={share!r} is a share; give at least 0 and less than 1")

    @property
    def advice(self) -> str:
        """The way out where distances are not finite."""
        return ASTRAY

    def on(self, backbone: BackboneConfig) -> "Distilled | Described | Ensembled | Segmented":
        """This detector for a backbone."""
        from jaxqc.anomaly.distillation.pairs import PAIRS

        return PAIRS[self.student](self, backbone)


@dataclass(frozen=True)
class Stfpm(DistillConfig):
    """Squared distance of normalised features of a teacher and a student of the same architecture (arXiv 2103.04257).

    The layers' maps are brought to the finest grid. `product`, the authors' choice, is given as the geometric mean, of
    the same order and of the layers' own unit. The loss is the authors' code's, which has no factor of a half.
    """

    training: TrainingConfig = STFPM_TRAINING


@dataclass(frozen=True)
class Rd4ad(DistillConfig):
    """Reverse distillation: the student sees an embedding of the teacher's features alone (arXiv 2201.10703).

    The loss is over the whole map of a layer as one vector, as in the authors' code; the paper's formula is a cell's.
    """

    student: StudentKind = "reverse"
    distance: Kind = "cosine_flat"
    map: Shown = "cosine_cell"
    fuse: How = "sum"
    aligned: bool = True
    sigma: float = 4.0
    training: TrainingConfig = RD4AD_TRAINING


@dataclass(frozen=True)
class Dinomaly(DistillConfig):
    """A transformer's tokens rebuilt from their mean over blocks, loosely: in two groups (arXiv 2405.14325).

    It needs a transformer and its tokens: `--backbone.name dinov2_vitb14_reg --backbone.tokens --backbone.layers
    3,4,5,6,7,8,9,10 --data.size 392`. With `recentre` it is Dinomaly2 (arXiv 2510.17611). The authors cut 392 pixels
    out of 448; here whole images are resized.
    """

    student: StudentKind = "linear_vit"
    distance: Kind = "cosine_flat"
    weigh: Weigh = "loose"
    map: Shown = "cosine_cell"
    fuse: How = "mean"
    aligned: bool = True
    sigma: float = 2.0
    top: float = 0.01
    training: TrainingConfig = DINOMALY_TRAINING


@dataclass(frozen=True)
class InpFormer(Dinomaly):
    """A transformer's tokens rebuilt from prototypes of the same image's normal places (arXiv 2503.02424).

    It needs what `Dinomaly` needs. The decoder's hidden layers have no bias, as Dinomaly's; the authors' code has one.
    """

    student: StudentKind = "prototype_vit"
    own: float = 0.2
    weigh: Weigh = "adaptive"
    training: TrainingConfig = INP_FORMER_TRAINING


@dataclass(frozen=True)
class EfficientAd(DistillConfig):
    """A student of descriptions of 33 pixels, an autoencoder for what only the whole image shows (arXiv 2303.14535).

    It needs a network of descriptions: `--backbone.name pdn_small --backbone.weights FILE --backbone.layers 1
    --data.size 256`; with `pdn_medium` it is EfficientAD-M. `scripts/distill_pdn.py` makes such a file of any backbone.
    The unrelated pictures of the penalty are generated textures.
    """

    student: StudentKind = "pdn"
    distance: Kind = "mse"
    map: Shown = "mse"
    fuse: How = "mean"
    training: TrainingConfig = EFFICIENT_AD_TRAINING


@dataclass(frozen=True)
class Salehi(DistillConfig):
    """Multiresolution distillation of VGG16 into a network of a fortieth of its weights (arXiv 2011.11108).

    It needs `--backbone.name vgg16 --backbone.layers 1,2,3,4 --data.size 128`. `--detector.map gradient` gives the
    authors' map, without the image's own minimum and maximum, which no threshold survives; it keeps the teacher beside
    the student. They hand images over as they are; here they are normalised, as VGG16 was trained.
    """

    student: StudentKind = "cloner"
    distance: Kind = "cosine_flat"
    values: float = 0.5
    map: Shown = "cosine_cell"
    fuse: How = "sum"
    sigma: float = 4.0
    score: Literal["map", "loss"] = "loss"
    training: TrainingConfig = SALEHI_TRAINING


@dataclass(frozen=True)
class Uninformed(DistillConfig):
    """Students of descriptions of several sizes, which err and disagree on what is new to them (arXiv 1911.02357).

    It needs networks of descriptions: `--backbone.name pdn_17+pdn_33+pdn_65 --backbone.weights FOLDER --backbone.layers
    1 --data.size 256`, or some of them; FOLDER has `pdn_17.npz` and so on, as `scripts/distill_pdn.py` makes them.
    EfficientAD's networks and files will do, too. A description stands for 4 x 4 pixels, where the authors have one a
    pixel.
    """

    student: StudentKind = "ensemble"
    distance: Kind = "mse"
    map: Shown = "mse"
    fuse: How = "mean"
    training: TrainingConfig = UNINFORMED_TRAINING


@dataclass(frozen=True)
class Cdo(DistillConfig):
    """Collaborative discrepancy optimisation: the student learns to fail on synthetic defects (arXiv 2302.08769).

    Teacher and student both see them. The map is the mean over layers, enlarged as such: the authors enlarge features.
    """

    weigh: Weigh = "margin"
    corrupt: Corrupt = "patches"
    map: Shown = "cosine_cell"
    fuse: How = "mean"
    aligned: bool = True
    sigma: float = 4.0
    top: float = 0.01
    training: TrainingConfig = CDO_TRAINING


@dataclass(frozen=True)
class RdPlusPlus(Rd4ad):
    """RD++ (CVPR 2023): reverse distillation behind projections that learn from a box of noise in each image.

    The published term of optimal transport is left out. It compares a batch with its own shuffle, which is the same
    set of points, so that it is 0 and so is its gradient.
    """

    student: StudentKind = "projected"
    corrupt: Corrupt = "fractal"


@dataclass(frozen=True)
class DeStSeg(DistillConfig):
    """DeSTSeg: a student that takes synthetic defects away, and a head that finds where (arXiv 2211.11317).

    The map is the head's probability. The textures are generated, where the authors take photographs.
    """

    student: StudentKind = "denoising"
    distance: Kind = "cosine_cell"
    map: Shown = "cosine_cell"
    corrupt: Corrupt = "texture"
    top: float = 100.0
    training: TrainingConfig = DESTSEG_TRAINING


MEMBERS: dict[str, type[DistillConfig]] = {
    "stfpm": Stfpm,
    "rd4ad": Rd4ad,
    "dinomaly": Dinomaly,
    "inp_former": InpFormer,
    "efficient_ad": EfficientAd,
    "cdo": Cdo,
    "rdpp": RdPlusPlus,
    "destseg": DeStSeg,
    "uninformed": Uninformed,
    "salehi": Salehi,
}
"""By the names of `jaxqc.anomaly.detectors.DETECTORS`."""
