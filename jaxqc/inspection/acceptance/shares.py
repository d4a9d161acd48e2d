"""A lot's defective share from its pieces, the model's rates and people's looks, and what is lacking to know it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from jaxqc.error_rates import UNMEASURED, ErrorRates, clopper_pearson
from jaxqc.inspection.acceptance.misses import CHANCE, Looked, by_chance, corrected_share, looked_at
from jaxqc.inspection.findings import Share

PASTED = "misses were measured on pasted defects only; real ones may be missed more often"
"""The lack of a model that was measured on nothing else."""
UNCOUNTED = f"{UNMEASURED} well enough to count them in"
"""Words for any lack by which no share is corrected."""


@dataclass(frozen=True)
class Judged:
    """A lot's pieces by what the model and people say of them.

    rejected, waiting: pieces by the present verdict. called: by the model. seen: by people. images: all of the lot's.
    """

    rejected: int
    waiting: int
    called: Bool[np.ndarray, " n"]
    seen: Bool[np.ndarray, " n"]
    defective: Bool[np.ndarray, " n"]
    """Rejected, where people have seen them."""
    images: int

    @property
    def pieces(self) -> int:
        """Number of pieces."""
        return len(self.called)

    @property
    def views(self) -> float:
        """Images a piece, on the average."""
        return max(1.0, self.images / self.pieces)

    @property
    def looked(self) -> Looked:
        """Counts of what people have seen."""
        return looked_at(self.called, self.seen, self.defective)


def lot_share(found: Judged, rates: ErrorRates | None, confidence: float) -> tuple[Share | None, str]:
    """A lot's share corrected for misses and false alarms, and what it lacks, as `ratings.Evidence.lack`.

    Where people have seen all pieces, the share is theirs, and nothing is corrected.

    Examples:
      >>> nobody, called = np.zeros(200, bool), np.arange(200) < 12
      >>> rates = ErrorRates(found=45, defective=50, false=2, good=100, origin="labelled images")
      >>> share, lack = lot_share(Judged(12, 0, called, nobody, called, 200), rates, 0.95)
      >>> round(share.estimate, 3), lack
      (0.045, '')
    """
    if found.seen.all():
        low, high = clopper_pearson(found.rejected, found.pieces, confidence)
        return Share(found.rejected / found.pieces, low, high, "people's verdicts"), ""
    lack = lack_of(rates)
    if lack not in ("", PASTED):
        return None, lack
    count, looked = found.rejected + found.waiting, found.looked
    return corrected_share(count, found.pieces, rates, confidence, views=found.views, looked=looked), lack


def lack_of(rates: ErrorRates | None) -> str:
    """Reason why a model's rates correct nothing, or (`PASTED`) not enough for low risk; "" = none.

    Examples:
      >>> lack_of(ErrorRates(found=1, defective=3, false=0, good=3, origin="labelled images"))
      'it called 1 of 3 defective images and 0 of 3 good ones: that may be chance'
    """
    if rates is None or not rates.defective:
        return UNMEASURED
    if not rates.good:
        return "this model's false alarms have not been measured"
    if by_chance(rates) > CHANCE:
        counts = f"{rates.found} of {rates.defective} defective images and {rates.false} of {rates.good} good ones"
        return f"it called {counts}: that may be chance"
    return PASTED if rates.origin == "pasted defects" else ""
