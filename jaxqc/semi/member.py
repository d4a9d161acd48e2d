"""The switches of the semi-supervised family: a member is a value of one configuration."""

from dataclasses import dataclass, field
from typing import Literal

from jaxqc.config import PhotometricConfig
from jaxqc.errors import UserError
from jaxqc.fields import sections
from jaxqc.semi.settings import (
    ContrastConfig,
    CutMixConfig,
    GateConfig,
    HistoryConfig,
    LanguageConfig,
    MemoryConfig,
    NoiseConfig,
    RampConfig,
    SelectConfig,
    TiersConfig,
)


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
    gate: GateConfig = field(default_factory=GateConfig)
    select: SelectConfig = field(default_factory=SelectConfig)
    unsup: RampConfig = field(default_factory=RampConfig)
    history: HistoryConfig = field(default_factory=HistoryConfig)
    contrast: ContrastConfig = field(default_factory=ContrastConfig)
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    language: LanguageConfig = field(default_factory=LanguageConfig)
    learn_weak: bool = False
    """The weak view itself is learned from, with its own labels (AllSpark); `views` may then be 0."""
    photometric: PhotometricConfig = field(default_factory=PhotometricConfig)
    labelled_photometric: bool = False
    """Labelled images, too, have the colours and the blur of strong views."""
    cutmix: CutMixConfig = field(default_factory=CutMixConfig)
    chunk: int = 0
    """Logits of so many images at once are brought to full size where losses are taken, which saves memory; 0 = all."""
    freeze: bool = False
    """The encoder stays as it starts: no backward pass goes through it, and it sees the weak view once, for teacher and
    past models too."""
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
        entropy = self.select.by == "entropy" or self.contrast.weight > 0
        return self.teachers == 2 or self.unsup.timed or entropy or self.memory.heads > 0 or bool(self.language.guide)

    @property
    def unlabelled(self) -> bool:
        """True where unlabelled images are learned from."""
        return self.views > 0 or self.learn_weak

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
        taught = self.labels == "ema" and self.teachers == 1 and self.views > 0
        if self.select.by == "entropy" and not (taught and self.views == 1 and len(self.tiers.bounds) == 1):
            raise UserError(
                f"{where}: select.by='entropy' needs labels='ema', teachers=1, views=1 and one tier; or choose"
                " 'confidence'"
            )
        if self.gate.precision and not (self.unlabelled and self.select.by == "confidence" and self.students == 1):
            raise UserError(
                f"{where}: gate.precision={self.gate.precision!r} needs labels by confidence of one student"
            )
        if self.gate.precision and self.gate.bounds[0] >= self.tiers.bounds[0]:
            raise UserError(
                f"{where}: gate.bounds={self.gate.bounds!r}: none is below the tiers' {self.tiers.bounds[0]}"
            )
        if self.select.divisor == "share" and self.select.by != "entropy":
            raise UserError(f"{where}: select.divisor='share' goes with select.by='entropy'; choose 'valid' or 'kept'")
        if self.contrast.weight and not taught:
            weight = self.contrast.weight
            raise UserError(
                f"{where}: contrast.weight={weight!r} needs labels='ema', teachers=1 and views; set it to 0"
            )
        if self.students == 2 and self.history.length:
            raise UserError(f"{where}: history.length={self.history.length}: a queue needs one student; set it to 0")
        if self.learn_weak and (self.labels != "self" or self.views or self.perturbation != "none"):
            raise UserError(
                f"{where}: learn_weak needs labels='self', views=0 and perturbation='none'; set it to False"
            )
        if self.memory.heads and not self.learn_weak:
            raise UserError(f"{where}: memory.heads={self.memory.heads} needs learn_weak=True; set it to 0")
        second = self.select.by == "entropy" or self.contrast.weight > 0
        plain = self.students == 1 and not (second or self.learn_weak or self.language.guide)
        if (self.chunk or self.freeze) and not plain:
            name = "chunk" if self.chunk else "freeze"
            raise UserError(
                f"{where}: {name}={getattr(self, name)!r} needs one student, labels by confidence, and neither"
                " contrast, learn_weak nor a guide; leave it"
            )
        if self.language.decoder and (self.memory.heads or self.contrast.weight or self.noise.eps):
            raise UserError(f"{where}: language.decoder goes without memory, contrast and noise; set them to 0")
        if self.language.guide and (self.students > 1 or not self.views):
            raise UserError(f"{where}: language.guide labels one student's views; it needs students=1 and views")
        if self.labels == "none" and self.views:
            raise UserError(f"{where}: views={self.views} with labels='none'; strong views need labels")
        if self.perturbation == "complementary" and self.views != 2:
            raise UserError(f"{where}: perturbation='complementary' needs views=2, not {self.views}; choose 'none'")
        if not self.unlabelled and (
            self.labels in ("self", "other") or self.perturbation != "none" or self.history.length
        ):
            raise UserError(
                f"{where}: views=0 learns from labelled images only: labels='none' (or 'ema', to measure their moving"
                " average), no perturbation, no history"
            )
