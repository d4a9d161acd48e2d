"""The scores of good images beside the threshold, as a drawing: earlier ones as a line, the last ones as bars."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from jaxqc.inspection.ledger.recent import Scores
from jaxqc.inspection.report.charts import BOTTOM, HIGH, LEFT, RIGHT, TOP, WIDE, Tick, nice, percent

BARS = 36
"""Classes of the histogram."""
NEWEST = 500
"""Last images whose scores are the bars; the earlier ones are the line."""
FEWEST = 10
"""Good images from which on there is a distribution to show."""


@dataclass(frozen=True)
class Bar:
    """A class of the histogram: its place and height in the drawing."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Distribution:
    """The drawing, with the figures that its text has."""

    bars: list[Bar]
    line: str
    """SVG's path of the earlier scores; "" = there are too few."""
    threshold: float
    """Its x; `at` is its value."""
    at: float
    x: list[Tick]
    y: list[Tick]
    good: int
    """Good ones of the last images."""
    earlier: int
    middle: float
    """Median of the last good ones."""
    upper: float
    """Their 95th percentile."""
    above: int
    """Those of the last good ones at or above the threshold: people passed them, or too little was marked on them."""


def distribution(scores: Scores, threshold: float) -> Distribution | None:
    """The distribution of the good images' scores; None of fewer than `FEWEST`."""
    last = scores.values[-NEWEST:][scores.good[-NEWEST:]]
    before = scores.values[:-NEWEST][scores.good[:-NEWEST]]
    if len(last) < FEWEST:
        return None
    everything = np.concatenate([last, before, [threshold]])
    low = min(0.0, float(everything.min()))
    step, width = nice(float(everything.max() - low) * 1.02 or 1.0)
    edges = np.linspace(low, low + width, BARS + 1)
    shares = [_shares(values, edges) for values in (last, before)]
    tall, top = nice(min(1.0, float(max(share.max() for share in shares))))
    x = lambda value: LEFT + (np.asarray(value) - low) / width * (WIDE - LEFT - RIGHT)
    y = lambda share: HIGH - BOTTOM - np.asarray(share) / top * (HIGH - TOP - BOTTOM)
    across, up = x(edges), y(shares[0])
    bars = [
        Bar(round(float(a), 1), round(float(h), 1), round(float(b - a) - 0.8, 2), round(HIGH - BOTTOM - float(h), 1))
        for a, b, h in zip(across, across[1:], up, strict=False)
        if h < HIGH - BOTTOM - 0.05
    ]
    corners = [f"{a:.1f} {h:.1f}L{b:.1f} {h:.1f}" for a, b, h in zip(across, across[1:], y(shares[1]), strict=False)]
    return Distribution(
        bars,
        "M" + "L".join(corners) if len(before) >= FEWEST else "",
        round(float(x(threshold)), 1),
        threshold,
        [Tick(round(float(x(v)), 1), f"{v:.4g}") for v in np.arange(low, low + width + step / 2, step).tolist()],
        [Tick(round(float(y(v)), 1), percent(v, tall)) for v in np.arange(0, top + tall / 2, tall).tolist()],
        len(last),
        len(before),
        float(np.median(last)),
        float(np.quantile(last, 0.95)),
        int((last >= threshold).sum()),
    )


def _shares(values: Float[np.ndarray, " n"], edges: Float[np.ndarray, " m"]) -> Float[np.ndarray, " k"]:
    counts = np.histogram(values, edges)[0]
    return counts / max(1, len(values))
