"""Two models side by side on the same judged pictures, before anyone switches from one to the other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from jaxqc.data.labelled import Labelled
from jaxqc.error_rates import clopper_pearson, percent
from jaxqc.inspection.measuring import findings_on
from jaxqc.inspection.rules import GradeRules
from jaxqc.inspection.scorers import make_scorer
from jaxqc.metrics.ranking import area, image_groups
from jaxqc.progress import Progress

NAMES = ("old", "new")


@dataclass(frozen=True)
class Judged:
    """A model's word on the pictures, each at its place."""

    scores: Float[np.ndarray, " n"]
    called: Bool[np.ndarray, " n"]
    """True where the verdict is not `pass`."""


@dataclass(frozen=True)
class Comparison:
    """The old and the new model on the same pictures, at the thresholds and rules of an inspection.

    Examples:
      >>> bad = np.array([True, True, False, False])
      >>> old = Judged(np.array([0.9, 0.2, 0.8, 0.1]), np.array([True, False, True, False]))
      >>> new = Judged(np.array([0.9, 0.8, 0.3, 0.1]), np.array([True, True, False, False]))
      >>> both = Comparison(("a", "b", "c", "d"), bad, old, new)
      >>> both.count("old", True), both.count("new", True), both.auroc("old"), both.auroc("new")
      ((1, 2), (2, 2), 0.75, 1.0)
    """

    ids: tuple[str, ...]
    defective: Bool[np.ndarray, " n"]
    """People's word."""
    old: Judged
    new: Judged

    def count(self, which: str, defective: bool) -> tuple[int, int]:
        """Called pictures and all, of the defective or of the good ones. which: `old` or `new`."""
        own = self.defective == defective
        return int(getattr(self, which).called[own].sum()), int(own.sum())

    def auroc(self, which: str) -> float:
        """Area under the ROC curve of the pictures' scores; NaN without pictures of both kinds."""
        if self.defective.all() or not self.defective.any():
            return float("nan")
        return float(area(image_groups(getattr(self, which).scores, self.defective, np.ones(len(self.ids)))))

    def changed(self, defective: bool) -> tuple[int, int, float]:
        """Pictures that the old one alone calls, that the new one alone calls, and the exact p-value of that difference
        (McNemar, 1947: of the pictures on which they differ, each is as likely to be either's)."""
        from scipy.stats import binomtest

        own = self.defective == defective
        old = int((self.old.called & ~self.new.called & own).sum())
        new = int((self.new.called & ~self.old.called & own).sum())
        return old, new, float(binomtest(new, old + new, 0.5).pvalue) if old + new else 1.0

    def rows(self) -> list[tuple[str, ...]]:
        """A row a model: name, found, false alarms, AUROC, in words."""
        shown = lambda value: "-" if np.isnan(value) else f"{value:.4f}"
        return [(name, *(_share(*self.count(name, kind)) for kind in (True, False)), shown(self.auroc(name)))
                for name in NAMES]  # fmt: skip

    def lines(self) -> tuple[str, ...]:
        """Lines for people on what would change."""
        found = []
        for kind, what in ((True, "defective"), (False, "good")):
            old, new, p = self.changed(kind)
            of = self.count("old", kind)[1]
            if of:
                found.append(f"{what}: {new} of {of} are called by the new one alone, {old} by the old one alone"
                             f" (p {p:.2g})")  # fmt: skip
            else:
                word = "the share that is found" if kind else "false alarms"
                found.append(f"no {what} pictures among the held-out ones: {word} not compared")
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """Plain values for a JSON file; intervals of 95 %."""
        models: dict[str, Any] = {}
        for name in NAMES:
            own: dict[str, Any] = {}
            for kind, key in ((True, "found"), (False, "false_alarms")):
                called, total = self.count(name, kind)
                low, high = clopper_pearson(called, total, 0.95)
                own[key] = {"called": called, "of": total, "share": called / total if total else None,
                            "interval": [low, high]}  # fmt: skip
            area = self.auroc(name)
            models[name] = own | {"image_auroc": None if np.isnan(area) else area}
        changes = {word: dict(zip(("old_alone", "new_alone", "p"), self.changed(kind), strict=True))
                   for kind, word in ((True, "defective"), (False, "good"))}  # fmt: skip
        each = [{"id": ident, "defective": bool(self.defective[i]),
                 **{f"{name}_{key}": getattr(getattr(self, name), field)[i].item() for name in NAMES
                    for key, field in (("score", "scores"), ("called", "called"))}}
                for i, ident in enumerate(self.ids)]  # fmt: skip
        return {"pictures": len(self.ids), "models": models, "called_by_one_alone": changes, "each": each}


def compare(
    old: Any, new: Any, images: Sequence[Labelled], rules: GradeRules | None = None, progress: bool = True
) -> Comparison:
    """Inspects the same pictures with two loaded models. rules: of an inspection; None takes the usual ones.

    Raises:
      UserError: a picture cannot be decoded or judged.
    """
    rules = rules or GradeRules()
    ids = tuple(one.sample.id for one in images)
    both = [_judged(model, images, rules, f"comparing, the {name} one", progress)
            for name, model in zip(NAMES, (old, new), strict=True)]  # fmt: skip
    return Comparison(ids, np.array([one.defective for one in images], bool), *both)


def _judged(model: Any, images: Sequence[Labelled], rules: GradeRules, what: str, progress: bool) -> Judged:
    place: Mapping[str, int] = {one.sample.id: i for i, one in enumerate(images)}
    scores, called = np.zeros(len(images)), np.zeros(len(images), bool)
    with Progress(what, len(images), progress) as counter:
        for one, finding in findings_on(make_scorer(model, devices=1), images, rules):
            scores[place[one.sample.id]], called[place[one.sample.id]] = finding.score, finding.verdict != "pass"
            counter.add(1)
    return Judged(scores, called)


def _share(count: int, total: int) -> str:
    if not total:
        return "-"
    low, high = clopper_pearson(count, total, 0.95)
    return f"{count} of {total}: {percent(count / total)} % ({percent(low)} to {percent(high)} %)"
