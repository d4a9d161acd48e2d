"""Settings of the parts that members of the semi-supervised family are made of."""

import itertools
import math
from dataclasses import dataclass
from typing import Literal

from jaxqc.errors import UserError
from jaxqc.fields import check_positive


@dataclass(frozen=True)
class CutMixConfig:
    """The box that a strong view takes of its partner's (`jaxqc.data.augment.cutmix`)."""

    probability: float = 0.5
    """Probability that a view takes such a box."""
    area_min: float = 0.02
    """Share of the view that the box covers: U(area_min, area_max)."""
    area_max: float = 0.4
    """Largest share of the view that the box covers."""
    aspect: float = 0.3
    """Height / width of the box comes from U(aspect, 1 / aspect)."""

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        if self.probability > 1:
            raise UserError(f"{where}: probability={self.probability!r}; give at most 1")
        if not 0 < self.area_min <= self.area_max < 1:
            raise UserError(f"{where}: area_min={self.area_min!r}, area_max={self.area_max!r}; give 0 < min <= max < 1")
        if not 0 < self.aspect <= 1:
            raise UserError(f"{where}: aspect={self.aspect!r} must be above 0 and at most 1")


@dataclass(frozen=True)
class TiersConfig:
    """The confidences that count, and their weights (`jaxqc.semi.tiers`)."""

    bounds: tuple[float, ...] = (0.95,)
    """Rising; a confidence belongs to a tier if it is strictly above its bound."""
    weights: tuple[float, ...] = (1.0,)
    """One a tier, rising, with sum 1."""
    cumulative: bool = False
    """Nested tiers: the weights add up, and the top one weighs 1."""

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        bounds, weights = self.bounds, self.weights
        if not bounds or len(bounds) != len(weights):
            raise UserError(f"{where}: {len(bounds)} bounds and {len(weights)} weights; give one weight a bound")
        if not (_rising(bounds) and bounds[0] >= 0 and bounds[-1] < 1):
            raise UserError(f"{where}: bounds={bounds!r} must rise within [0, 1)")
        if not (_rising(weights) and weights[0] > 0):
            raise UserError(f"{where}: weights={weights!r} must rise from above 0: more confidence weighs more")
        if not math.isclose(sum(weights), 1, abs_tol=1e-6):
            raise UserError(f"{where}: weights={weights!r} have the sum {sum(weights):g}; it must be 1")


@dataclass(frozen=True)
class GateConfig:
    """A threshold that is lowered while pseudo-labels below it prove right (`jaxqc.semi.gate`)."""

    precision: float = 0.0
    """Share of right labels on the selection images that each band of confidence needs; 0 = no gate."""
    bounds: tuple[float, ...] = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9)
    """Rising confidences to which the lowest tier's bound may sink; those that are not below it are left out."""

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        if self.precision >= 1:
            raise UserError(f"{where}: precision={self.precision!r} is a share; give below 1")
        if not (self.bounds and _rising(self.bounds) and self.bounds[0] >= 0 and self.bounds[-1] < 1):
            raise UserError(f"{where}: bounds={self.bounds!r} must rise within [0, 1)")


@dataclass(frozen=True)
class HistoryConfig:
    """The queue of past models (`jaxqc.semi.history`)."""

    length: int = 0
    """Most models held; 0 = no queue."""
    most: int = 3
    """At each step 1 to this many models, drawn anew, label together."""
    threshold: float = 0.95
    """Their confidence has to be strictly above it."""
    mix: Literal["logits", "probabilities"] = "logits"
    """Averaging of the models' answers: of logits or of probabilities."""
    mu: float = 0.5
    """Weight of their loss beside the teacher's."""
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """The type that they are stored in."""

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        if self.length and not 1 <= self.most <= self.length:
            raise UserError(f"{where}: most={self.most} must be 1 to length={self.length}")
        if self.threshold >= 1:
            raise UserError(f"{where}: threshold={self.threshold!r} must be below 1: nothing is more certain than 1")


@dataclass(frozen=True)
class SelectConfig:
    """Pseudo-labels that count, their weights, and what their loss is divided by."""

    by: Literal["confidence", "entropy"] = "confidence"
    """A pseudo-label counts by its confidence, or where the teacher's entropy on the strong view is not among the
    highest (U2PL)."""
    share: float = 0.2
    """Share of pixels of highest entropy that `entropy` leaves out at the start; it falls to 0 at the end."""
    weight: Literal["tiers", "confidence"] = "tiers"
    """A pseudo-label of a tier weighs as its tier says, or as much as its confidence."""
    divisor: Literal["valid", "kept", "share"] = "valid"
    """The loss is a mean over all pixels that are not padding; over those that count; or the latter over the share of
    pixels that count."""

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        if not 0 <= self.share < 0.5:
            raise UserError(f"{where}: share={self.share!r} must be 0 to below 0.5")
        if self.by == "entropy" and self.weight != "tiers":
            raise UserError(f"{where}: by='entropy' with weight={self.weight!r}: entropy weighs all alike; set 'tiers'")


@dataclass(frozen=True)
class RampConfig:
    """The weight of what is learned from unlabelled images, in time (`jaxqc.semi.schedule`)."""

    weight: float = 1.0
    """Factor of the unsupervised loss beside that of the labels."""
    warm_epochs: float = 0.0
    """Epochs from the start in which it has no weight, and teachers are copies of the student."""
    ramp_epochs: float = 0.0
    """Epochs after these over which it rises from 0 along half a cosine."""
    halve: bool = True
    """The loss is half the sum of both, or their sum."""

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        check_positive({"weight": self.weight}, where)

    @property
    def timed(self) -> bool:
        """True where the weight depends on the epoch."""
        return bool(self.warm_epochs or self.ramp_epochs)


@dataclass(frozen=True)
class NoiseConfig:
    """Noise on the student's features that moves the teachers' answer most (`jaxqc.semi.noise`)."""

    eps: float = 0.0
    """Length of an image's noise over all its features; 0 = none."""
    xi: float = 0.1
    """Length of the random step at which its direction is found."""
    labelled: bool = True
    """Features of the labelled images have it, too."""

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        if self.eps:
            check_positive({"xi": self.xi}, where)


@dataclass(frozen=True)
class ContrastConfig:
    """A loss that draws a pixel's features to its class and away from a bank of others (`jaxqc.semi.contrast`)."""

    weight: float = 0.0
    """Factor of it; 0 = none."""
    positives: Literal["mean", "clean"] = "mean"
    """`mean`: towards the mean of the class's certain pixels, away from pixels that might be of it and are not (U2PL).
    `clean`: towards labelled pixels of the class that the teacher calls rightly, away from those of the others."""
    low: int = 0
    """A labelled pixel is kept for a class that is not its own and is among this many likeliest; 0 = 3, and with fewer
    than 12 classes a quarter of them, but 1 at least."""
    high: int = 0
    """An uncertain pixel is kept for the classes from the likeliest number `low` (from 0) to below this; 0 = all."""
    anchors: int = 256
    """Pixels of each class and step that are compared."""
    negatives: int = 50
    """Rows of the bank that each is compared with (`mean`; `clean` takes all)."""
    temperature: float = 0.5
    """Cosines are divided by it."""
    sure: float = 0.3
    """The teacher gives a compared pixel's class more than this."""
    share: float = 0.2
    """Share of unlabelled pixels of lowest entropy that are certain, and of highest that are uncertain, at the start;
    both fall to 0 at the end."""
    length: int = 2048
    """Rows of the bank for each class."""
    push: int = 64
    """Most rows a class has anew in a step."""
    width: int = 256
    """Length of a pixel's features."""

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        if not self.weight:
            return
        names = ("anchors", "negatives", "temperature", "length", "push", "width")
        check_positive({name: getattr(self, name) for name in names}, where)
        if self.sure >= 1 or self.share > 0.5:
            raise UserError(f"{where}: sure={self.sure!r}, share={self.share!r}; give below 1, and at most 0.5")
        if self.push > self.length:
            raise UserError(f"{where}: push={self.push} is more than the bank holds, length={self.length}")

    def ranks(self, classes: int) -> tuple[int, int]:
        """The ranks `low` and `high` with so many classes.

        Raises:
          UserError: none between them.

        Examples:
          >>> ContrastConfig().ranks(2), ContrastConfig(low=3, high=20).ranks(21)
          ((1, 2), (3, 20))
        """
        low, high = self.low or min(3, max(1, classes // 4)), min(self.high or classes, classes)
        if self.weight and self.positives == "mean" and low >= high:
            raise UserError(
                f"semi.contrast: low={low} of {classes} classes leaves no class from there to high={high}, so that its"
                " loss would be 0 throughout; lower low, or set it to 0"
            )
        return low, high


@dataclass(frozen=True)
class MemoryConfig:
    """Attention of labelled images to unlabelled ones' channels, and a memory of these (`jaxqc.semi.channels`)."""

    heads: int = 0
    """Heads of the attention on the encoder's deepest feature; 0 = none."""
    start_epochs: float = 5.0
    """Epochs after which labelled images attend to the memory, and no more to the batch."""

    def check(self, where: str) -> None:
        """Any two go together."""


@dataclass(frozen=True)
class LanguageConfig:
    """CLIP as encoder, a decoder of likenesses to phrases, and a guide that labels by them (SemiVL)."""

    decoder: bool = False
    """The network is CLIP's vision transformer and the decoder of phrases (`jaxqc.models.language_decoder`)."""
    embeddings: str = ""
    """File of the phrases' embeddings (`jaxqc convert --text`)."""
    guide: str = ""
    """File of a CLIP that stays as it is and labels the weak view, too; "" = none."""
    guide_weight: float = 0.1
    """Factor of its labels' loss at the start; it falls to 0 at the end."""
    guide_confidence: float = 0.9
    """Its labels count above this."""
    train: Literal["attention", "all"] = "attention"
    """Parts of the encoder that learn: attention and positions, or all of it."""

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        if (self.guide or self.embeddings) and not self.decoder:
            raise UserError(f"{where}: embeddings and guide go with decoder=True; leave them empty, or set it")
        if self.guide and not self.embeddings:
            raise UserError(f"{where}: guide={self.guide!r} needs embeddings of phrases; name their file")
        if self.guide_confidence >= 1:
            raise UserError(f"{where}: guide_confidence={self.guide_confidence!r} must be below 1")


def _rising(values: tuple[float, ...]) -> bool:
    return all(a < b for a, b in itertools.pairwise(values))
