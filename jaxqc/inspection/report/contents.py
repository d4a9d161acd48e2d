"""Contents of a report: lots with their pictures, suppliers, classes of defects, and all that is said of them."""

from dataclasses import dataclass, field

from jaxqc.inspection.acceptance.suppliers import Chart, Supplier
from jaxqc.inspection.findings import LotFinding, Verdict
from jaxqc.inspection.ledger.copies import Copy
from jaxqc.inspection.ledger.listings import Listing
from jaxqc.inspection.ledger.queries import Lot
from jaxqc.inspection.manifest import LeftOut
from jaxqc.inspection.outcomes.rates import OutcomeReport
from jaxqc.inspection.report.acceptance import Acceptance
from jaxqc.inspection.report.model_card import ModelCard
from jaxqc.inspection.report.picture_files import Picture
from jaxqc.inspection.rules import GradeRules


@dataclass
class LotView:
    """A lot as the page shows it. `number`: its place on the page from 1 on, the worst lot first."""

    number: int
    lot: Lot
    figures: LotFinding
    acceptance: Acceptance | None = None
    stopped: bool = False
    """Sampling was discontinued before it: all of it is to be inspected."""
    listing: Listing | None = None
    pictures: list[Picture] = field(default_factory=list)
    said: dict[str, Verdict] = field(default_factory=dict)
    """People's verdicts on its pictures, by SHA-256; the pictures' findings have them too."""
    kept: int = 0
    """Pictures of it that are worth showing; not all of them may be in `pictures`."""

    @property
    def passed(self) -> int:
        """Pieces that are neither rejected nor wait for review."""
        return self.figures.pieces - self.figures.rejected - self.figures.waiting

    @property
    def action(self) -> str:
        """The action that costs least (`Decision.action`); "" where nothing could be decided."""
        return self.figures.decision.action if self.figures.decision else ""


@dataclass(frozen=True)
class SupplierView:
    """A supplier with its control charts; `lots` in order of time, as the charts are."""

    figures: Supplier
    lots: list[LotView]
    p: Chart
    ewma: Chart


@dataclass(frozen=True)
class ClassView:
    """A class of defects: how many there are, and on 100 images of each supplier."""

    name: str
    defects: int
    per_hundred: dict[str, float]


@dataclass(frozen=True)
class Report:
    """Everything that a page shows. Counts of images, pieces and classes hold images without a lot too, each as a piece
    of its own, and a picture in each lot that holds it."""

    images: int
    pieces: int
    rejected: int
    waiting: int
    every_lot: list[LotView]
    """The worst first."""
    lots: list[LotView]
    """Those that the page lists: the worst."""
    loose: LotView | None
    """Pictures of images without a lot; their lot has no figures that would mean anything."""
    loose_images: int
    copies: list[Copy]
    """Pictures that stand in several places, the most alarming first."""
    lost: list[LeftOut]
    """Entries of deliveries that could not be inspected."""
    listings: dict[str, Listing]
    """Counts of what deliveries listed, by lot; "" = entries without one."""
    unseen: list[str]
    """Lots of which no image could be inspected."""
    suppliers: list[SupplierView]
    classes: list[ClassView]
    cards: list[ModelCard]
    """The models whose findings count."""
    proved: bool
    """All of these models' misses were measured on real defects; else the page shows nothing in green."""
    outcomes: OutcomeReport | None
    """Returns and complaints by class and grade; None where no outcomes were imported."""
    chosen: tuple[str, ...] | None
    """Lots that the report was asked for; None = all, and the images without a lot."""
    rules: GradeRules
    aql: float
    picture_bytes: int
    pictures: int
    kept: int

    @property
    def all_lots(self) -> int:
        return len(self.every_lot)
