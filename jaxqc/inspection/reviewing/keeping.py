"""A calibration by people's verdicts kept: in the model's folder, or a copy of it, and in the ledger."""

import datetime
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from jaxqc.data.problems import printable
from jaxqc.error_rates import keep, kept, settle
from jaxqc.inspection.ledger.database import NotWritable
from jaxqc.inspection.ledger.store import Ledger, ModelInfo
from jaxqc.inspection.reviewing.calibrate import Calibration
from jaxqc.inspection.rules import GradeRules
from jaxqc.inspection.scorers import calling, make_scorer
from jaxqc.kinds import load
from jaxqc.lock import LOCK, WRITING, locked
from jaxqc.scorer import Scorer
from jaxqc.training import moved


def write(
    source: Path, out: Path, found: Calibration, scorer: Scorer, rules: GradeRules, ledger: str, which: str = "best"
) -> None:
    """Keeps rates and moved thresholds in a model's folder, or in a copy of it; the former ones stay, named.

    Rates that are kept there and name no thresholds get the name of the former ones: at the new ones they do not hold.

    Args:
      source: the model's folder. out: the same, or the copy to make.
      scorer: the model's, as it was calibrated. rules: of the inspection. ledger: its name.

    Raises:
      UserError: the folder is damaged, or another program holds it. OSError: it cannot be written.
    """
    with locked(out, wait=WRITING):
        if out != source:
            shutil.copytree(source, out, ignore=shutil.ignore_patterns(LOCK), dirs_exist_ok=True)
        _write(out, found, scorer, rules, ledger, which)


def _write(out: Path, found: Calibration, scorer: Scorer, rules: GradeRules, ledger: str, which: str) -> None:
    former = calling(scorer, rules)
    keep(out, replace(found.before, holds_for=former))
    if found.moved is None:
        return
    last = moved.moved(out)
    more = {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "ledger": printable(ledger),
        "times_the_former": found.moved.factor,
        "rates_at_the_former": [asdict(rates) for rates in kept(out)],
    }
    factor = found.moved.factor * (last.factor if last else 1.0)
    settle(out, calling(scorer, GradeRules()))  # first: no kill may leave them to hold for the moved ones
    moved.keep(out, moved.Moved(factor, f"people's verdicts: {found.moved.how}", scorer.weights, more))
    now = make_scorer(load(out, which), devices=1)
    keep(out, replace(found.after, holds_for=calling(now, rules)))


def refresh(ledger: Ledger, found: Calibration, former: str, note: Callable[[str], None]) -> None:
    """Brings the rates to the model in the ledger, whose lots are corrected by them from now on.

    former: what the rates hold for. note: takes a line where the ledger may not be written.

    Raises:
      UserError: what the database says.
    """
    rates = replace(found.before, holds_for=former).to_dict()
    try:
        for model in ledger.models():
            if model.digest in found.digests:
                details = {**model.details, "error_rates": [rates]}
                ledger.refresh(ModelInfo(model.digest, model.name, details))
    except NotWritable as e:
        note(f"{e}; its lots are not corrected by these rates")
