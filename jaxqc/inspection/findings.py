"""Results of an inspection: a defect, an image's finding, a lot's figures; frozen values that go to JSON and back.

Coordinates are pixels of the original image, x to the right and y down, measured at pixel edges: the pixel in column j
and row i covers [j, j + 1) x [i, i + 1). So a box is half-open, a lone first pixel has the centroid (0.5, 0.5), and the
area inside a polygon is about the number of its pixels.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, get_args

from jaxqc.errors import UserError, suggest
from jaxqc.inspection.stamps import unstamped

Verdict = Literal["pass", "review", "reject"]
Grade = Literal["A", "B", "C", "D"]
Risk = Literal["low", "medium", "high"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
GRADES: tuple[Grade, ...] = get_args(Grade)
RISKS: tuple[Risk, ...] = get_args(Risk)
Action = Literal["accept", "review", "refuse"]

T = TypeVar("T")


PLACE_OF_SCORE = "place of the score"
"""Class of a box that only shows which part of the image made its score."""
ALARM = 0.01
"""Probability that drift is ever named where there is none, by default; here, where flags find it without NumPy."""


@dataclass(frozen=True)
class Defect:
    """One connected region of an image's decided mask; or the place of a score that alone calls the image."""

    class_name: str
    """Name of its class; `defect` where the model knows none; `place of the score` where nothing is marked."""
    probability: float
    """Sureness of the class, in [0, 1]; 1 where the model knows only one."""
    box: tuple[int, int, int, int]
    """Smallest upright box (x0, y0, x1, y1), half-open."""
    centroid: tuple[float, float]
    """Centre of gravity (x, y)."""
    area: int
    """Area in pixels; 0 of a place of the score."""
    length: float
    """Longer side of the smallest rectangle, turned any way, that holds all its pixels; in pixels."""
    width: float
    """The shorter side of that rectangle, in pixels."""
    mean_score: float
    """Mean of the map over the defect's pixels, in [0, 1]."""
    peak_score: float
    """Largest value of the map over the defect's pixels, in [0, 1]."""
    polygon: tuple[tuple[float, float], ...]
    """Outline (x, y), open (the last point is not the first again), simplified; holes are not recorded. Empty where the
    place of the score is the whole image."""
    area_mm2: float | None = None
    """Area in square millimetres; null where the image's scale is not known."""
    length_mm: float | None = None
    """Length in millimetres; null without a scale."""
    width_mm: float | None = None
    """Width in millimetres; null without a scale."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return _plain(dataclasses.asdict(self))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Defect":
        """Inverse of `to_dict`.

        Raises:
          UserError: a key is missing or unknown.
        """
        return _build(cls, values, box=tuple, centroid=tuple, polygon=lambda p: tuple(tuple(xy) for xy in p))


@dataclass(frozen=True)
class Finding:
    """The findings on one image."""

    image: str
    """Path or id, as the manifest names it."""
    sha256: str
    """Digest of the image file's bytes, 64 hexadecimal digits."""
    height: int
    """Height of the image in pixels."""
    width: int
    """Width of the image in pixels."""
    verdict: Verdict
    """The verdict on the image."""
    score: float
    """Score of the image, in the model's own unit; higher is more defective."""
    area_ratio: float
    """Defective pixels over all pixels."""
    count: int
    """All defects, those beyond the kept ones too; a place of the score is none."""
    density: float
    """Defects per 10^4 pixels."""
    severity: float
    """Severity q in [0, 1] (`grading.severity`)."""
    composition: Mapping[str, int] = field(default_factory=dict)
    """Number of defects by class name, all of them: the values add up to `count`."""
    class_area: Mapping[str, int] = field(default_factory=dict)
    """Defective pixels by class name, of all defects."""
    defects: tuple[Defect, ...] = ()
    """The kept ones, largest first; or one place of the score."""
    mm_per_pixel: float | None = None
    """Scale of the image; null where it is not known."""
    density_m2: float | None = None
    """Defects per square metre; null without a scale."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return _plain(dataclasses.asdict(self))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Finding":
        """Inverse of `to_dict`.

        Raises:
          UserError: a key is missing or unknown, the verdict is none, or a later version.
        """
        values = unstamped(values)
        _one_of(values, "verdict", VERDICTS)
        return _build(cls, values, composition=dict, class_area=dict,
                      defects=lambda rows: tuple(Defect.from_dict(row) for row in rows))  # fmt: skip


@dataclass(frozen=True)
class Share:
    """A lot's defective share, corrected for the model's misses and false alarms, with its interval."""

    estimate: float
    """Best estimate of the share, in [0, 1]."""
    low: float
    """Lower limit of its interval."""
    high: float
    """Upper limit of its interval."""
    origin: str
    """Origin of the model's measured misses (`jaxqc.error_rates.ORIGINS`)."""


@dataclass(frozen=True)
class Decision:
    """The decision on a lot that costs least."""

    action: Action
    """The action to take."""
    more: int
    """Pieces that people should look at first; 0 unless `action` is `review`."""
    cost: Mapping[str, float]
    """Expected cost of each action, in the rules' unit."""
    why: str
    """One sentence."""


@dataclass(frozen=True)
class LotFinding:
    """The figures of a lot's pieces and images (`grading.lot_figures`)."""

    lot: str
    """Name of the lot."""
    images: int
    """Pictures of the lot that were inspected, each once."""
    defective: float
    """Pieces rejected, and those that wait for review by their weight (`LotRules.review_weight`)."""
    fraction: float
    """Share of pieces so counted, not corrected for misses."""
    low: float
    """Lower limit of that share's Clopper–Pearson interval."""
    high: float
    """Upper limit of that share's Clopper–Pearson interval."""
    confidence: float
    """Confidence of the intervals."""
    mean_area_ratio: float
    """Mean over images of defective pixels over all."""
    p95_area_ratio: float
    """95th percentile over images of defective pixels over all."""
    mean_density: float
    """Mean over images of defects per 10^4 pixels."""
    quality: float
    """Q = 100 (1 - mean severity of the pieces): a description; no grade comes from it."""
    severe: float
    """Share of pieces not passed whose worst view's q is above the rules' severe one."""
    grade: Grade
    """Grade of the lot by the rules."""
    risk: Risk
    """Risk of the lot by the rules."""
    verdicts: Mapping[str, int] = field(default_factory=dict)
    """Pieces by verdict, all three named."""
    composition: Mapping[str, int] = field(default_factory=dict)
    """Defects by class name."""
    supplier: str = ""
    """Supplier that the manifest names."""
    product: str = ""
    """Product that the manifest names."""
    pieces: int = 0
    """Pieces that its images show; what is counted in shares, intervals, plans and charts."""
    rejected: int = 0
    """Pieces rejected, by the model or by people."""
    waiting: int = 0
    """Pieces that wait for people's review."""
    share: Share | None = None
    """Defective share corrected for misses and false alarms; null where misses were not measured, or not enough."""
    decision: Decision | None = None
    """The decision that costs least."""
    reasons: tuple[str, ...] = ()
    """Rules that decided grade and risk, in words."""
    copies: int = 0
    """Its images that are copies of another one, in it or in another lot."""
    uninspected: int = 0
    """Images that the delivery lists, and that are missing, broken or left out for another reason."""
    reused: int = 0
    """Pieces whose photos all stand for other pieces or lots too: not all of them were seen."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return _plain(dataclasses.asdict(self))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "LotFinding":
        """Inverse of `to_dict`.

        Raises:
          UserError: a key is missing or unknown, grade or risk is none, or a later version.
        """
        values = unstamped(values)
        _one_of(values, "grade", GRADES)
        _one_of(values, "risk", RISKS)
        return _build(cls, values, verdicts=dict, composition=dict, reasons=tuple,
                      share=lambda v: v and Share(**v), decision=lambda v: v and Decision(**v))  # fmt: skip


def _plain(value: Any) -> Any:
    """Tuples as lists, which is what JSON gives back."""
    if isinstance(value, Mapping):
        return {key: _plain(v) for key, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


def _one_of(values: Mapping[str, Any], key: str, known: tuple[str, ...]) -> None:
    if key in values and values[key] not in known:
        raise UserError(f"{key}={values[key]!r}{suggest(str(values[key]), known)}")


def _build(kind: type[T], values: Mapping[str, Any], **turn: Any) -> T:
    """A `kind` of plain values; `turn` holds what makes a field's own type of them."""
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            raise UserError(f"{kind.__name__}: unknown key {key!r}{suggest(key, fields)}")
    for name, f in fields.items():
        if name not in values and f.default is f.default_factory is dataclasses.MISSING:
            raise UserError(f"{kind.__name__}: key {name!r} is missing")
    return kind(**{key: turn[key](value) if key in turn else value for key, value in values.items()})
