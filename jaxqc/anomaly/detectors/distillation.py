"""The distillations: values of one config with other defaults, by the names of `DETECTORS`."""

from dataclasses import dataclass
from typing import Literal

from jaxqc.anomaly.detectors.base import TrainingConfig
from jaxqc.anomaly.detectors.distill_config import DistillConfig, Shown, StudentKind
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
from jaxqc.anomaly.learned.discrepancy import Kind
from jaxqc.anomaly.learned.fuse import How
from jaxqc.anomaly.learned.weigh import Weigh


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
    The unrelated pictures of the penalty are generated textures, or those in `--detector.pictures FOLDER`.
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

    The map is the head's probability. The textures are generated; `--detector.pictures FOLDER` takes photographs, as
    the authors do.
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
