"""A model's card in words: data, threshold, misses and false alarms, what was measured and what was not."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxqc.error_rates import ORIGINS, ErrorRates, best
from jaxqc.inspection.acceptance.shares import lack_of
from jaxqc.inspection.ledger.store import ModelInfo
from jaxqc.inspection.report.templating import flat, many, plural, span, value_text
from jaxqc.metrics.words import in_words

COUNTS = {"fit": "Fitted on", "train": "Trained on"}
"""Detail that counts the images a model was made from, and the words for it."""
HELD = {"calibrate": "held out to set the threshold", "val": "held out to choose the checkpoint"}
NESTED = ("metrics", "images", "error_rates", "classes", "evaluated")
WORDED = {*COUNTS, *HELD, *NESTED, "dataset", "date", "threshold", "threshold_is", "held_out_scores", "held_out_folds"}
"""Details that the card's sentences hold, and what only the search for drift reads; the others are folded away.
`NESTED` ones are no single values."""


@dataclass(frozen=True)
class ModelCard:
    """A model for people. All texts are plain; data's own words are in them."""

    info: ModelInfo
    lines: tuple[tuple[str, str], ...]
    """(term, sentence)."""
    metrics: tuple[tuple[str, str], ...]
    """Measured ones, named in words: those of all images together."""
    measured_on: str
    """"" where it is not recorded."""
    unmeasured: tuple[str, ...]
    """Things that it has not been measured on, a sentence each."""
    folded: tuple[tuple[str, Any], ...]
    """(dotted name, value): digests, settings, versions, further metrics."""


def rates_of(details: Mapping[str, Any]) -> ErrorRates | None:
    """The most telling of a model's misses and false alarms; None where none are there.

    Examples:
      >>> rates_of({"error_rates": [ErrorRates(9, 10, 0, 5, "labelled images").to_dict()]}).tpr
      0.9
      >>> rates_of({}) is None
      True
    """
    found = details.get("error_rates", ())
    return best(ErrorRates.from_dict(one) for one in found) if isinstance(found, list) else None


def proved(rates: ErrorRates | None) -> bool:
    """True where misses and false alarms were measured on real images, and correct the lots' shares: only then may a
    page show anything in green.

    Examples:
      >>> [proved(ErrorRates(9, 10, 0, 5, origin)) for origin in ("pasted defects", "labelled images")], proved(None)
      ([False, True], False)
      >>> proved(ErrorRates(1, 3, 0, 3, "labelled images"))  # that may be chance
      False
    """
    return not lack_of(rates)


def certainty(details: Mapping[str, Any]) -> str:
    """The name of what the model records as a defect's `probability`; "" where it is none, or where nobody knows.

    Examples:
      >>> certainty({"probability_is": "share of pixels"}), certainty({})
      ('share of pixels', '')
    """
    found = details.get("probability_is")
    return found if isinstance(found, str) else ""


def model_card(info: ModelInfo, confidence: float = 0.95) -> ModelCard:
    """The card of a model. confidence: of the intervals of its rates.

    Examples:
      >>> card = model_card(ModelInfo("a" * 64, "gaussian", {"fit": 19, "dataset": "boards", "threshold": 0.5}))
      >>> dict(card.lines)["Fitted on"]
      '19 images of boards; the date is not recorded.'
    """
    details, rates = info.details, rates_of(info.details)
    metrics = details.get("metrics")
    named = flat(metrics) if isinstance(metrics, Mapping) else []
    return ModelCard(
        info,
        lines=(_what(details), _made(details), _threshold(details), *_rates(rates, confidence)),
        metrics=tuple((in_words(str(k)), _number(v)) for k, v in named if not _fine(str(k))),
        measured_on=_evaluated(details),
        unmeasured=_unmeasured(rates, bool(named)),
        folded=(
            *((name, value) for name, value in flat(details) if name.split(".")[0] not in _worded(details)),
            *((f"metrics.{k}", v) for k, v in named if _fine(str(k))),
        ),
    )


def _fine(name: str) -> bool:
    """True for a metric of one kind of defect, and for a bound or a threshold: only those who ask for it need it."""
    return "/" in name or name == "threshold" or name.endswith(("_bound", "_threshold"))


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else value_text(value)


def _worded(details: Mapping[str, Any]) -> set[str]:
    """Names of the details that sentences hold; one of another shape than they read stays among the folded."""
    return {name for name in WORDED & {*details} if name in NESTED or not isinstance(details[name], Mapping | list)}


def _what(details: Mapping[str, Any]) -> tuple[str, str]:
    classes = details.get("classes")
    names = [str(name) for name in classes] if isinstance(classes, list) else []
    made = "Fitted to good images: whatever differs from them is a defect." if "fit" in details else ""
    if not made:
        made = "Trained on images in which defects are marked." if {"train", "images"} & set(details) else ""
    if len(names) > 1:
        made += f" It names classes of defects: {', '.join(names)}."
    elif names:
        made += " It names no classes of defects."
    return "What it is", made.strip() or "Not recorded."


def _made(details: Mapping[str, Any]) -> tuple[str, str]:
    term = next((words for name, words in COUNTS.items() if name in details), "Made from")
    data = value_text(details["dataset"]) if details.get("dataset") else "data whose name is not recorded"
    date = value_text(details["date"]) if details.get("date") else ""
    when = f" on {date}" if date else "; the date is not recorded"
    images = details.get("images")
    counts = [details[name] for name in COUNTS if isinstance(details.get(name), int)]
    if counts:
        number = f"{plural(counts[0], 'image')} of "
    else:
        number = f"{value_text(images)} images of " if isinstance(images, Mapping) and images else ""
    kept = {name: n for name in HELD if isinstance(n := details.get(name), int) and n}
    held = [f"{many(n)} more were {HELD[name]}" for name, n in kept.items()]
    return term, f"{number}{data}{when}." + "".join(f" {text}." for text in held)


def _threshold(details: Mapping[str, Any]) -> tuple[str, str]:
    value, how = details.get("threshold"), details.get("threshold_is")
    if value is None:
        return "Threshold", "Not recorded."
    number = f"{value:.4g}" if isinstance(value, int | float) else value_text(value)
    return "Threshold", f"{number} of the defect map, from 0 to 1{f': {how}' if how else ''}."


def _evaluated(details: Mapping[str, Any]) -> str:
    found = details.get("evaluated")
    if not isinstance(found, Mapping) or not {"data", "split", "images"} <= {*found}:
        return ""
    return f"on {many(found['images'])} images of {found['data']} ({found['split']})"


def _rates(rates: ErrorRates | None, confidence: float) -> list[tuple[str, str]]:
    if rates is None:
        return [("Misses", "Not measured."), ("False alarms", "Not measured.")]
    where = f"measured on {rates.origin}{f' ({rates.data})' if rates.data else ''}"

    def line(count: int, total: int, what: str, limits: tuple[float, float]) -> str:
        if not total:
            return "Not measured."
        share, interval = f"{100 * count / total:.1f} %", f"{100 * confidence:g} % interval {span(*limits)}"
        if rates.origin == ORIGINS[0]:  # weighed counts, not numbers of pictures
            return f"{share} of {what} ({interval}), {where}."
        return f"{many(count)} of {many(total)} {what} ({share}; {interval}), {where}."

    low, high = rates.interval("tpr", confidence)
    missed = line(rates.defective - rates.found, rates.defective, "defective images passed", (1 - high, 1 - low))
    if rates.origin == ORIGINS[-1] and rates.defective:
        missed += " Real defects may be missed more often."
    good = f"good {rates.unit} were called defective"
    alarms = line(rates.false, rates.good, good, rates.interval("fpr", confidence))
    return [("Misses", missed), ("False alarms", alarms)]


def _unmeasured(rates: ErrorRates | None, metrics: bool) -> tuple[str, ...]:
    out = []
    if rates is None or not rates.defective:
        out.append("Defective images: nobody knows how many it misses. "
                   "jaxqc evaluate on labelled images measures it.")  # fmt: skip
    elif rates.origin == ORIGINS[-1]:
        out.append("Real defects: those that it was tried on were pasted into good images.")
    if rates is None or not rates.good:
        out.append("Good images that it has not seen: nobody knows how many it calls.")
    if rates is not None and rates.origin != ORIGINS[0]:
        out.append("The inspected lots: no person's verdicts on them have been counted. "
                   "jaxqc review, then jaxqc calibrate, does so.")  # fmt: skip
    if not metrics:
        out.append("Metrics of maps and masks: none are kept with it.")
    return tuple(out)
