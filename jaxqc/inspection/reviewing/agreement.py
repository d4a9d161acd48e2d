"""Agreement of a model with people: how many of its rejects are defective, and how many defective ones it calls.

Precision is that of the rejects that people looked at: within one verdict of the model's, which pictures people see has
nothing to do with what is on them. Recall is weighed by how many pictures each verdict stands for (`rates`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa

from jaxqc.error_rates import ErrorRates, clopper_pearson
from jaxqc.inspection.findings import VERDICTS, Verdict
from jaxqc.inspection.ledger.reviews import latest
from jaxqc.inspection.ledger.schema import inspections, models
from jaxqc.inspection.ledger.store import Ledger
from jaxqc.inspection.reviewing.rates import Stratum, measured, stratum_of


@dataclass(frozen=True)
class Share:
    """A share with its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Agreement:
    """People's words on the pictures that a model inspected."""

    strata: Mapping[Verdict, Stratum]
    """By the model's verdict."""
    precision: Share | None
    """Defective ones of its rejects; None where nobody looked at one."""
    recall: Share | None
    """Pictures that it calls (reject or review), of the defective ones; None where that is not known."""
    alarms: Share | None
    """Pictures that it calls, of the good ones; None where that is not known."""
    confidence: float
    """Confidence of the intervals."""

    @property
    def reviewed(self) -> int:
        """Pictures that people judged."""
        return sum(stratum.reviewed for stratum in self.strata.values())


def agreement(ledger: Ledger, model: str, confidence: float = 0.95) -> Agreement:
    """The agreement of a model with people's verdicts that count now. model: digest."""
    c, said = inspections.c, latest().subquery()
    query = sa.select(c.verdict, said.c.verdict.label("said"), sa.func.count().label("n"))
    query = query.select_from(inspections.join(models).outerjoin(said, said.c.sha256 == c.sha256))
    query = query.where(models.c.digest == model).group_by(c.verdict, said.c.verdict)
    with ledger.database.reading() as connection:
        count = {(line.verdict, line.said): line.n for line in connection.execute(query)}
    return agreement_of({v: {word: count.get((v, word), 0) for word in ("reject", "pass", None)} for v in VERDICTS},
                        confidence)  # fmt: skip


def agreement_of(counts: Mapping[Verdict, Mapping[str | None, int]], confidence: float = 0.95) -> Agreement:
    """The agreement by numbers of pictures: of each verdict of the model's, by people's word (None = none yet).

    Examples:
      >>> counts = {"reject": {"reject": 9, "pass": 1, None: 0}, "review": {"reject": 2, "pass": 2, None: 0},
      ...           "pass": {"reject": 1, "pass": 35, None: 0}}
      >>> found = agreement_of(counts)
      >>> found.precision.value, round(found.recall.value, 3), round(found.alarms.value, 3)
      (0.9, 0.917, 0.079)
    """
    strata: dict[Verdict, Stratum] = {
        v: stratum_of(v, sum(own.values()), own["reject"], own["pass"]) for v, own in counts.items()
    }
    rejects, rates = strata["reject"], None
    precision = _share(rejects.found, rejects.reviewed, confidence) if rejects.reviewed else None
    if any(stratum.reviewed for stratum in strata.values()):
        rates = measured(tuple(strata.values()))
    recall = _of(rates, "tpr", confidence) if rates and rates.defective else None
    alarms = _of(rates, "fpr", confidence) if rates and rates.good else None
    return Agreement(strata, precision, recall, alarms, confidence)


def _share(count: int, total: int, confidence: float) -> Share:
    return Share(count / total, *clopper_pearson(count, total, confidence))


def _of(rates: ErrorRates, of: Literal["tpr", "fpr"], confidence: float) -> Share:
    return Share(getattr(rates, of), *rates.interval(of, confidence))
