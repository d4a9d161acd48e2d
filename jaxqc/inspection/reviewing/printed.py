"""A calibration by people's verdicts as lines for people."""

from jaxqc.error_rates import percent
from jaxqc.inspection.findings import VERDICTS
from jaxqc.inspection.reviewing.calibrate import Calibration

SHOWN = 5


def lines(found: Calibration) -> list[str]:
    """The counts behind the rates, and the thresholds before and after.

    Examples:
      >>> from jaxqc.inspection.reviewing.rates import Stratum, measured
      >>> seen = {"pass": Stratum(90, missed=1, sound=29, called=False), "review": Stratum(8, found=2, false=6,
      ...     called=True), "reject": Stratum(2, found=2, called=True)}
      >>> rates = measured(tuple(seen.values()))
      >>> print(*lines(Calibration(("a1",), seen, rates, rates, None, "not asked for", (0.1, 0.1), ())), sep="\\n")
      pass: 90 inspected, 30 reviewed, 1 defective
      review: 8 inspected, 8 reviewed, 6 good
      reject: 2 inspected, 2 reviewed, 0 good
      thresholds stay: not asked for
    """
    out = []
    for verdict in VERDICTS:
        s = found.strata[verdict]
        wrong = f"{s.missed} defective" if verdict == "pass" else f"{s.false} good"
        out.append(f"{verdict}: {s.pictures} inspected, {s.reviewed} reviewed, {wrong}")
    how = ["rates by leaving one out: the piece that set the thresholds counts as the others alone would have it"]
    if found.moved is None:
        return [*out, f"thresholds stay: {found.why}", *how * found.by_others]
    before, after = found.before, found.after
    out.append(f"thresholds times {found.moved.factor:.4g}: {found.moved.how}")
    out.append(f"called: {percent(found.share[0])} % -> {percent(found.share[1])} % of the inspected pictures")
    rate = lambda value, total: f"{percent(value)} %" if total else "not measured"
    out.append(f"TPR: {rate(before.tpr, before.defective)} -> {rate(after.tpr, after.defective)}")
    out.append(f"FPR: {rate(before.fpr, before.good)} -> {rate(after.fpr, after.good)}")
    return [*out, *how]


def notes(found: Calibration) -> list[str]:
    """Points that deserve a look: what nobody has looked at, and what could not be scored again."""
    out = []
    unseen = {verdict: s.pictures for verdict, s in found.strata.items() if s.pictures and not s.reviewed}
    if "pass" in unseen:
        out.append(
            "misses cannot be measured: nobody has looked at passed pictures; `jaxqc review --sample N` brings some"
        )
    elif not any(s.found + s.missed for s in found.strata.values()):
        out.append("misses cannot be measured: people found no defective picture yet")
    elif not found.before.defective:
        out.append("misses cannot be measured: too few of the passed pictures were looked at to say anything; "
                   "`jaxqc review --sample N` brings more")  # fmt: skip
    if "reject" in unseen:
        out.append(f"nobody has looked at the {unseen['reject']} rejected pictures, so the rates are less sure; "
                   "`jaxqc review --sample-rejected N` brings some")  # fmt: skip
    if "review" in unseen:
        out.append(f"nobody has looked at the {unseen['review']} pictures that wait for review")
    if found.left_out:
        first = "; ".join(found.left_out[:SHOWN])
        out.append(f"{len(found.left_out)} reviewed pictures could not be scored again and do not count for the "
                   f"thresholds: {first}")  # fmt: skip
    return out
