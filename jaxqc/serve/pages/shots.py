"""Pictures as the pages show them small: a finding, people's word on it, and the lot in which it lies."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxqc.inspection.findings import Finding, Verdict
from jaxqc.inspection.ledger.pictures import Inspected
from jaxqc.inspection.ledger.queries import lots_of
from jaxqc.inspection.ledger.store import Ledger


@dataclass(frozen=True)
class Shot:
    """A picture for a page."""

    finding: Finding
    model: str
    """Digest."""
    inspected: str
    lots: tuple[str, ...]
    """All that hold it."""
    person: Verdict | None = None

    @property
    def verdict(self) -> Verdict:
        """The one that counts: a person's before the model's."""
        return self.person or self.finding.verdict


def shots_of(ledger: Ledger, found: Sequence[Inspected]) -> list[Shot]:
    """The pictures of some inspections, in their order."""
    held = lots_of(ledger, [one.finding.sha256 for one in found])
    return [
        Shot(one.finding, one.model, one.inspected, tuple(filter(None, held.get(one.finding.sha256, {}))), one.person)
        for one in found
    ]
