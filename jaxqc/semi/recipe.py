"""The switches of the semi-supervised family, its members as presets, and the data they learn from."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from jaxqc import plugins
from jaxqc.config import DataConfig, ModelConfig, OptimConfig, Phase, PhotometricConfig, TrainConfig
from jaxqc.errors import UserError
from jaxqc.fields import check_positive, sections
from jaxqc.semi.settings import CutMixConfig, HistoryConfig, NoiseConfig, RampConfig, SelectConfig, TiersConfig


@dataclass(frozen=True)
class SemiConfig:
    """One member of the family: every method is a value of this."""

    students: int = 1
    """Independently initialised students."""
    labels: Literal["none", "ema", "self", "other"] = "ema"
    """The weak view's labeller: nobody, the student's moving average (then also what is measured and used), the student
    itself, or the other student."""
    teachers: int = 1
    """Moving averages that label together, by the mean of their logits; of two each follows the student in every other
    epoch, and the first is what is measured and used."""
    views: int = 2
    """Strong views of an unlabelled image; 0 = learns from labelled images only."""
    perturbation: Literal["none", "complementary", "weak"] = "complementary"
    """Perturbation of the student's features: `complementary` channel dropout of the two strong views (UniMatch V2), or
    channel dropout of the `weak` view's in a loss of its own, half of the unsupervised loss (UniMatch V1)."""
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    tiers: TiersConfig = field(default_factory=TiersConfig)
    select: SelectConfig = field(default_factory=SelectConfig)
    unsup: RampConfig = field(default_factory=RampConfig)
    history: HistoryConfig = field(default_factory=HistoryConfig)
    photometric: PhotometricConfig = field(default_factory=PhotometricConfig)
    labelled_photometric: bool = False
    """Labelled images, too, have the colours and the blur of strong views."""
    cutmix: CutMixConfig = field(default_factory=CutMixConfig)
    ema: float = 0.996
    """Highest decay of the teacher."""
    balance: float = 0.0
    """Rare classes weigh more in every loss, of labels and of pseudo-labels: (1 / share of the labelled pixels)^balance
    (`jaxqc.semi.losses.balanced_weights`); 0 = all classes the same."""
    ohem: bool = False
    """Count only the hard labelled pixels (`jaxqc.semi.losses.ohem_loss`)."""
    ohem_threshold: float = 0.7
    """Labelled pixels below this probability of their class count with `ohem`."""
    ohem_kept: int = 200_000
    """Least number of labelled pixels that count with `ohem`."""

    @property
    def several(self) -> bool:
        """True where what is used is the first of two networks."""
        return max(self.students, self.teachers) > 1

    @property
    def timed(self) -> bool:
        """True where something depends on the epoch."""
        return self.teachers == 2 or self.unsup.timed

    def check(self, where: str) -> None:
        """Checks what no single field's type can, of this and of its sections. Raises UserError."""
        for name in sections(type(self)):
            getattr(self, name).check(f"{where}: {name}")
        if not 0 < self.ema < 1:
            raise UserError(f"{where}: ema={self.ema!r} must be between 0 and 1")
        if self.balance > 1:
            raise UserError(f"{where}: balance={self.balance!r} is an exponent; give 0 to 1")
        if not 0 <= self.ohem_threshold <= 1:
            raise UserError(f"{where}: ohem_threshold={self.ohem_threshold!r} is a probability; give at most 1")
        if self.students != (2 if self.labels == "other" else 1):
            need = "labels='other' needs 2" if self.labels == "other" else f"labels={self.labels!r} needs 1"
            raise UserError(f"{where}: students={self.students}; {need}")
        if self.teachers not in (1, 2) or (self.teachers == 2 and (self.labels != "ema" or self.history.length)):
            raise UserError(f"{where}: teachers={self.teachers}: give 1, or 2 with labels='ema' and history.length=0")
        if self.noise.eps and (self.labels != "ema" or not self.views):
            raise UserError(f"{where}: noise.eps={self.noise.eps!r} needs labels='ema' and views; set it to 0")
        if self.students == 2 and self.history.length:
            raise UserError(f"{where}: history.length={self.history.length}: a queue needs one student; set it to 0")
        if self.labels == "none" and self.views:
            raise UserError(f"{where}: views={self.views} with labels='none'; strong views need labels")
        if self.perturbation == "complementary" and self.views != 2:
            raise UserError(f"{where}: perturbation='complementary' needs views=2, not {self.views}; choose 'none'")
        if not self.views and (self.labels in ("self", "other") or self.perturbation != "none" or self.history.length):
            raise UserError(
                f"{where}: views=0 learns from labelled images only: labels='none' (or 'ema', to measure their moving"
                " average), no perturbation, no history"
            )


@dataclass(frozen=True)
class SemiDataConfig:
    """The images that are learnt from, and the way they are cut; split files are made by `jaxqc data split`."""

    splits: str = ""
    """Folder of `labeled.txt`, `unlabeled.txt`, `select.txt` and `val.txt`; "" = the data's own folder."""
    manifest: str = ""
    """File with class names and colours; "" = the one beside the split files, or else the data's own."""
    scale_min: float = 0.5
    """The long side is scaled by U(scale_min, scale_max) before the crop."""
    scale_max: float = 2.0
    """Largest factor of that scale."""
    flip: float = 0.5
    """Probability of a horizontal flip."""

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        check_positive({"scale_min": self.scale_min}, where)
        if self.scale_min > self.scale_max:
            raise UserError(f"{where}: scale_min={self.scale_min!r} is above scale_max={self.scale_max!r}")
        if self.flip > 1:
            raise UserError(f"{where}: flip={self.flip!r} is a probability; give at most 1")


REFERENCE_OPTIM = OptimConfig("adamw", lr=5e-6, weight_decay=0.01, warmup_epochs=0, schedule="poly", power=0.9, clip=0)
"""UniMatch V2's, for a batch of 16."""
TIERS = TiersConfig((0.85, 0.90, 0.95), (0.1, 0.2, 0.7))
"""MvpMatch's: τ_h = 0.95, τ_b = 0.05, so τ_m = τ_h − τ_b and τ_l = τ_h − 2 τ_b."""
HISTORY = HistoryConfig(length=8)
PS_MT = SemiConfig(
    teachers=2,
    views=1,
    perturbation="none",
    tiers=TiersConfig((0.6,), (1.0,)),
    select=SelectConfig(weight="confidence", divisor="kept"),
    unsup=RampConfig(weight=1.5, warm_epochs=5.0, ramp_epochs=12.0, halve=False),
    labelled_photometric=True,
    cutmix=CutMixConfig(1.0, 0.2, 0.8, 1.0),
)
"""PS-MT (arXiv 2111.12903) with its weight for VOC; 0.06 to 3 for other sets."""

PRESETS: dict[str, SemiConfig] = {
    "supervised": SemiConfig(labels="none", views=0, perturbation="none"),
    # What averaging brings without unlabelled images: the others are measured by their average.
    "supervised_ema": SemiConfig(views=0, perturbation="none"),
    "fixmatch": SemiConfig(views=1, perturbation="none"),
    "unimatch_v2": SemiConfig(),
    "tiers_only": SemiConfig(tiers=TIERS),
    "history_only": SemiConfig(history=HISTORY),
    "mvpmatch": SemiConfig(tiers=TIERS, history=HISTORY),
    "unimatch_v1": SemiConfig(labels="self", perturbation="weak"),
    # ps_mt without its noise, which the authors' code computes too finely for it to move anything.
    "ps_mt_released": PS_MT,
    "ps_mt": dataclasses.replace(PS_MT, noise=NoiseConfig(eps=2.0)),
    # PrevMatch lets mu rise with the epochs and keeps its threshold lower; here mu is constant.
    "prevmatch": SemiConfig(
        labels="self", perturbation="weak", history=dataclasses.replace(HISTORY, threshold=0.9, mu=1.0)
    ),
    "cps": SemiConfig(
        students=2,
        labels="other",
        views=1,
        perturbation="none",
        tiers=TiersConfig((0.0,), (1.0,)),
        photometric=PhotometricConfig(jitter=0.0, grey=0.0, blur=0.0),
        cutmix=CutMixConfig(probability=1.0),
    ),
}
"""By name. The paper's Table 2: `unimatch_v2`, `tiers_only`, `history_only`, `mvpmatch`."""


def preset(name: str, **changes: Any) -> SemiConfig:
    """The member of the family of this name, with some fields replaced; checked.

    name: a key of `PRESETS`, or what an installed package registers in the group `jaxqc.methods`
    (docs/develop/add_a_method.md). A run folder holds the member's fields, so that using it needs no such package.

    Raises:
      UserError: an unknown name (with a suggestion), a package that is missing or broken, or fields that do not go
        together.

    Examples:
      >>> preset("mvpmatch").history.length, preset("fixmatch").history.length
      (8, 0)
    """
    config = dataclasses.replace(plugins.resolve("methods", name, PRESETS, field="method", want=SemiConfig), **changes)
    config.check(name)
    return config


@dataclass(frozen=True)
class SemiTrainConfig(TrainConfig):
    """A training run of the family: a `TrainConfig`, the member and its data.

    A phase's `size` is the side of the training crop (and of the views), its `batch` the number of unlabelled images a
    step, beside which stand as many labelled ones; an epoch is one pass over the unlabelled images.
    """

    method: Literal["saliency", "classifier", "semi"] = "semi"
    model: ModelConfig = field(default_factory=lambda: ModelConfig("dinov2_vits14"))
    """`name`: the encoder, one of `jaxqc.models.segmenter`'s."""
    data: DataConfig = field(default_factory=lambda: DataConfig(mode="stream"))
    """The fields `mode` and `workers` count: `resident` keeps all decoded images in the host's memory."""
    optim: OptimConfig = field(default_factory=lambda: REFERENCE_OPTIM)
    """`lr` is the encoder's for a batch of `lr_batch`."""
    phases: tuple[Phase, ...] = (Phase(epochs=60, size=518, batch=16),)
    eval_size: int = 0
    """Selection images are measured at their own size, which costs a compiled program for every size among them; a
    number of pixels: in a square of this side (long side scaled to it, the rest ignored), one program for all."""
    eval_batch: int = 1
    eval_every_epochs: float = 1.0
    checkpoint_every_epochs: float = 1.0
    best_metric: str = "miou"
    semi: SemiConfig = field(default_factory=lambda: PRESETS["mvpmatch"])
    """The member of the family."""
    views: SemiDataConfig = field(default_factory=SemiDataConfig)
    weights: str = ""
    """The encoder's: a file, or a short name of `jaxqc weights`; "" = drawn at random."""
    attention: Literal["auto", "xla", "cudnn", "cpu"] = "auto"
    """Implementation of the transformers' attention; `auto` goes by the device."""
    layers: int = 4
    """Number of a ResNet's layers that are used, 2 to 4; of transformers always four."""
    hidden: int = 0
    """Width of the head; 0 = what goes with the encoder."""
    head_rate: float = 40.0
    """The head's learning rate over the encoder's."""
    lr_batch: int = 16
    """The batch that the learning rate is for; it is scaled by the batch of the first phase over this. 0 = not."""
    peak_tflops: float = 0.0
    """TFLOP/s that one device can do in `model.dtype`, of its data sheet or measured: the log then records the
    share of it that the model's FLOPs reach (MFU). 0 = not known."""
    long_side: int = 0
    """Long side in pixels of the images that the network sees when it is measured; 0 = their own."""
    window: bool = False
    """Measure large images by a sliding window."""

    renamed = {"fast": "long_side"}  # noqa: RUF012 - no field: as earlier versions stored it

    @property
    def unused(self) -> Mapping[str, str]:
        """Fields that a run of few labels does not use, each with what to do instead."""
        lists = "the lists in views.splits name the images and masks (jaxqc data split makes them)"
        names = ("protocol", "layout", "skip_bad", "image_key", "mask_key", "label_key", "foreground")
        views = "views.scale_min, views.scale_max, views.flip, semi.photometric and semi.cutmix change the images"
        windows = "views are cut at the images' own size, and --window measures large ones in overlapping windows"
        tiles = dict.fromkeys(("data.tile", "data.overlap", "data.tile_defects"), windows)
        return {"augment": views, **tiles, **{f"data.{name}": lists for name in names}}

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        super().check(where)
        if self.method != "semi":
            raise UserError(f"{where}: method={self.method!r}; a recipe with few labels has 'semi'")
        self.semi.check(f"{where}: semi")
        self.views.check(f"{where}: views")
        if self.semi.noise.eps and self.model.dtype != "float32":
            raise UserError(f"{where}: semi.noise.eps={self.semi.noise.eps!r} needs model.dtype='float32'; set it to 0")
        check_positive({"head_rate": self.head_rate}, where)
        if not 0 <= self.peak_tflops < math.inf:
            raise UserError(f"{where}: peak_tflops={self.peak_tflops} must be TFLOP/s of a device, or 0 = not known")
        if self.data.size:
            raise UserError(
                f"{where}: data.size={self.data.size}; views are cut at phases.0.size and selection images measured by"
                " eval_size, so leave it at 0"
            )

    @property
    def lr_scale(self) -> float:
        """The factor on the learning rate for the batch."""
        return self.phases[0].batch / self.lr_batch if self.lr_batch else 1.0
